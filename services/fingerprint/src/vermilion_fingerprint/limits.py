"""How much a partition remembers of unfinished flows."""

from dataclasses import dataclass

from vermilion_pipeline.flowid import FLOW_IDLE, FLOW_LIFE


@dataclass(frozen=True)
class Limits:
    """Bounds of a partition's memory. Times are packet time in microseconds."""

    head: int = 1 << 16
    """Bytes of a direction's stream that are kept at once."""
    idle: int = FLOW_IDLE
    """A flow that has been quiet for longer is over."""
    life: int = FLOW_LIFE
    """So is one that began longer ago."""
    flows: int = 100_000
    held: int = 1 << 28
    """Bytes of all flows together."""
    span: int = 1_000_000
    """So many offsets after its last record a run counts as over. It bounds what a rebuild reads when a
    source died without its end mark, so that no clock of the run goes on."""
