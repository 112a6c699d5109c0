"""``vermilion topics``: create what the flow needs, and describe it."""

from collections.abc import Mapping
from typing import Annotated

import typer
from rich.table import Table

from vermilion.commands.options import Kafka, Prefix, Servers, pairs, settings
from vermilion.commands.progress import wide_console
from vermilion_pipeline.topics import TOPICS

app = typer.Typer(help="The topics of the flow.", no_args_is_help=True)


@app.command()
def create(
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of each topic.")] = 12,
    replication: Annotated[
        int | None,
        typer.Option(min=1, help="Replicas of each partition.", show_default="the broker's default"),
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(
            "--config",
            metavar="NAME=VALUE",
            help="Kafka's setting of each topic, as retention.ms=86400000; may be repeated.",
        ),
    ] = None,
    exactly: Annotated[
        bool,
        typer.Option(
            "--exactly", help="Refuse, and create none, where one has another number of partitions."
        ),
    ] = False,
    bootstrap_servers: Servers = None,
    topic_prefix: Prefix = None,
    kafka: Kafka = None,
) -> None:
    """Create the topics that are missing. An existing one keeps its partitions and settings."""
    from vermilion_pipeline.service import broker_and_codec

    wanted = pairs(config, "--config")
    found = settings(bootstrap_servers, kafka, topic_prefix=topic_prefix)
    broker, _ = broker_and_codec(found)
    names = [topic.full_name(found.topic_prefix) for topic in TOPICS]
    if exactly:
        _refuse_others(broker.topics(), names, partitions)
    created = broker.create(names, partitions, replication, wanted)
    for name, count in broker.partitions(names).items():
        typer.echo(f"{name}: {count} partitions, {'created' if name in created else 'was there'}")


def _refuse_others(there: Mapping[str, int], names: list[str], partitions: int) -> None:
    others = [f"{name} has {there[name]}" for name in names if there.get(name, partitions) != partitions]
    if others:
        raise typer.BadParameter(
            f"{partitions}, but {', '.join(others)}, and another number tears running flows apart: leave it, "
            "or take new topics by another prefix (docs/operations.md, More partitions)",
            param_hint="--partitions",
        )


@app.command()
def describe(bootstrap_servers: Servers = None, topic_prefix: Prefix = None, kafka: Kafka = None) -> None:
    """Show the flow: each topic, what it carries, who writes and who reads it."""
    from vermilion_pipeline.service import broker_and_codec

    config = settings(bootstrap_servers, kafka, topic_prefix=topic_prefix)
    broker, _ = broker_and_codec(config)
    there = broker.topics()
    table = Table("topic", "partitions", "schema", "key", "written by", "read by", box=None)
    for topic in TOPICS:
        name = topic.full_name(config.topic_prefix)
        count = there.get(name)
        table.add_row(
            name,
            str(count) if count else "missing",
            topic.schema or "original bytes",
            topic.key,
            ", ".join(topic.written_by),
            ", ".join(topic.read_by),
        )
    wide_console().print(table)
    if any(topic.full_name(config.topic_prefix) not in there for topic in TOPICS):
        typer.echo("some topics are missing; create them with: vermilion topics create", err=True)
        raise typer.Exit(1)
