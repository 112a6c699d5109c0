"""``vermilion demo``: the whole chain on the bundled capture, and what came of it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vermilion.commands.options import capture_files

_RECORDINGS = Path(__file__).parent.parent / "recordings"
BUNDLED = [_RECORDINGS / "programs-2019.pcap", _RECORDINGS / "programs.pcap"]


class BrokerKind(StrEnum):
    """What the chain runs on."""

    EMBEDDED = "embedded"
    KAFKA = "kafka"


def demo(
    broker: Annotated[BrokerKind, typer.Option(help="What the chain runs on.")] = BrokerKind.EMBEDDED,
    captures: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE…", help="Captures of your own.")
    ] = None,
    partitions: Annotated[int, typer.Option(min=1)] = 4,
) -> None:
    """Run capture, fingerprint and classify on captures; show who spoke to whom with what."""
    from vermilion.chain import embedded, on_kafka
    from vermilion.commands.report import show

    paths = capture_files(captures or BUNDLED)
    result = embedded(paths, partitions) if broker is BrokerKind.EMBEDDED else on_kafka(paths, partitions)
    show(result, paths)
    if result.lost:
        raise typer.Exit(1)
