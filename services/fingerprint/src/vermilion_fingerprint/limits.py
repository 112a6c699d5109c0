"""How much one partition may remember."""

from vermilion_pipeline.flowid import FLOW_IDLE, FLOW_LIFE


class Limits:
    """Bounds of a partition's memory. Times are packet time in microseconds.

    ``span``: so many offsets after its last record a run counts as over. It bounds what a rebuild
    reads when a source died without its end mark, so that no clock of the run goes on.
    """

    def __init__(
        self,
        head: int = 1 << 16,
        idle: int = FLOW_IDLE,
        life: int = FLOW_LIFE,
        flows: int = 100_000,
        held: int = 1 << 28,
        span: int = 1_000_000,
    ) -> None:
        self.span = span
        self.head = head
        self.idle = idle
        self.life = life
        self.flows = flows
        self.held = held
