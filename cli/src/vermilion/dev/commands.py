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

from vermilion.dev import registry as registries
from vermilion.dev.kafka import Cluster, DevError, default_data, fetch

app = typer.Typer(
    help="For developers: an Apache Kafka and a schema registry without containers.", no_args_is_help=True
)
kafka = typer.Typer(help="Apache Kafka on 127.0.0.1, without containers.", no_args_is_help=True)
app.add_typer(kafka, name="kafka")
registry = typer.Typer(
    help="A schema registry (Apicurio, which answers as Confluent's) on 127.0.0.1.", no_args_is_help=True
)
app.add_typer(registry, name="registry")


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


RegistryData = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Where the registry keeps its data.",
        show_default=".tools/registry/data",
    ),
]


@registry.command("fetch")
def fetch_registry() -> None:
    """Fetch the registry's archive with Maven; does nothing where it is."""
    with _told("fetching the schema registry"):
        _say(f"the schema registry is in {registries.fetch()}")


@registry.command("start")
def start_registry(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its port.")] = 8081, data: RegistryData = None
) -> None:
    """Start the registry and wait until it answers; prints VERMILION_REGISTRY_URL."""
    with _told("starting the schema registry"):
        one = registries.Registry(data or registries.default_data(), port)
        url = one.start()
        _say(f"the schema registry runs, its data is in {one.folder}")
        typer.echo(f"VERMILION_REGISTRY_URL={url}")


@registry.command("stop")
def stop_registry(data: RegistryData = None) -> None:
    """Stop the registry; its data stays."""
    with _told("stopping the schema registry"):
        if registries.Registry.at(data or registries.default_data()).stop():
            _say("it did not end when asked to and was killed")
        _say("the schema registry is stopped")


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
