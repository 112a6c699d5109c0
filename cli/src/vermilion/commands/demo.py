"""``vermilion demo``: the whole chain on the bundled capture, and what came of it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

RECORDING = Path(__file__).parent.parent / "recordings" / "programs.pcap"


class BrokerKind(StrEnum):
    """What the chain runs on."""

    EMBEDDED = "embedded"
    KAFKA = "kafka"


def demo(
    broker: Annotated[BrokerKind, typer.Option(help="What the chain runs on.")] = BrokerKind.EMBEDDED,
    capture: Annotated[Path, typer.Argument(help="A capture of your own.")] = RECORDING,
    partitions: Annotated[int, typer.Option(min=1)] = 4,
) -> None:
    """Run capture, fingerprint and classify on a capture; show who spoke to whom with what."""
    from vermilion.chain import embedded, on_kafka
    from vermilion.commands.report import show

    result = embedded(capture, partitions) if broker is BrokerKind.EMBEDDED else on_kafka(capture, partitions)
    show(result, capture)
    if result.lost:
        raise typer.Exit(1)
