"""``vermilion replay``: puts records back into the flow."""

from enum import StrEnum
from typing import Annotated

import typer

from vermilion.commands.options import Kafka, Prefix, Servers, settings


class Origin(StrEnum):
    """What to replay."""

    DEADLETTER = "deadletter"


def replay(
    origin: Annotated[Origin, typer.Option("--from", help="What to put back: the dead letters.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Put back so many letters at most.")] = None,
    bootstrap_servers: Servers = None,
    topic_prefix: Prefix = None,
    kafka: Kafka = None,
) -> None:
    """Put dead letters back where they came from, once what was wrong is mended; each once.

    Ends with the last letter that was there at the start. Exits 1 when a letter had to be left.
    """
    from vermilion_pipeline.deadletters import put_back
    from vermilion_pipeline.service import broker_and_codec, naming_rights

    config = settings(bootstrap_servers, kafka, topic_prefix=topic_prefix)
    broker, _ = broker_and_codec(config)
    with naming_rights(broker, "replay", config.topic_prefix):
        report = put_back(broker, config.topic_prefix, limit, lambda line: typer.echo(line, err=True))
    told = ", ".join(f"{count} to {topic}" for topic, count in sorted(report.put_back.items()))
    typer.echo(
        f"{report.put_back.total()} dead letters put back{': ' if told else ''}{told}; {report.left} left",
        err=True,
    )
    if report.left:
        raise typer.Exit(1)
