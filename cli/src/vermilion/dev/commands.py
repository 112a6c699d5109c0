"""`vermilion dev`: what a developer's machine needs besides the pipeline itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vermilion.dev.kafka import Cluster, DevError, default_data, fetch

app = typer.Typer(help="For developers: an Apache Kafka without containers.", no_args_is_help=True)
kafka = typer.Typer(help="Apache Kafka on 127.0.0.1, without containers.", no_args_is_help=True)
app.add_typer(kafka, name="kafka")


class Nodes(StrEnum):
    """How many nodes a cluster may have."""

    ONE = "1"
    THREE = "3"


Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="Where the cluster keeps its data.", show_default=".tools/kafka/data"
    ),
]


@kafka.command("fetch")
def fetch_command() -> None:
    """Fetch Apache Kafka's jars with Maven; does nothing where they are."""
    with _told("fetching Apache Kafka"):
        _say(f"Apache Kafka is in {fetch()}")


@kafka.command()
def start(
    nodes: Annotated[Nodes, typer.Option(help="One node, or three that replicate.")] = Nodes.ONE,
    port: Annotated[
        int, typer.Option(min=1, max=65400, help="The first node's port; the others' follow.")
    ] = 9092,
    data: Data = None,
) -> None:
    """Start the cluster and wait until it answers; prints bootstrap.servers."""
    with _told("starting Apache Kafka"):
        cluster = Cluster(data or default_data(), nodes=int(nodes), port=port)
        bootstrap = cluster.start()
        _say(f"Apache Kafka runs, its data is in {cluster.data}")
        typer.echo(f"bootstrap.servers={bootstrap}")


@kafka.command()
def stop(data: Data = None) -> None:
    """Stop the cluster; its data stays."""
    with _told("stopping Apache Kafka"):
        late = Cluster.at(data or default_data()).stop()
        for number in late:
            _say(f"node {number} did not end when asked to and was killed")
        _say("Apache Kafka is stopped")


@kafka.command()
def status(data: Data = None) -> None:
    """Say which nodes run; exits 1 unless all do."""
    with _told("asking"):
        cluster = Cluster.at(data or default_data())
        processes = cluster.status()
        for node in cluster.nodes:
            pid = processes[node.id]
            typer.echo(f"node {node.id} 127.0.0.1:{node.port} {'stopped' if pid is None else f'pid {pid}'}")
    if None in processes.values():
        raise typer.Exit(1)


def _say(message: str) -> None:
    typer.echo(message, err=True)


@contextmanager
def _told(doing: str) -> Iterator[None]:
    """Show on a terminal that it goes on; turn what is lacking into a message and exit code 1."""
    try:
        with Console(stderr=True).status(f"{doing} …") if sys.stderr.isatty() else nullcontext():
            yield
    except DevError as error:
        _say(f"error: {error}")
        raise typer.Exit(1) from error
