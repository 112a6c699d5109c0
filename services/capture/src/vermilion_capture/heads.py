"""Flow heads: the first ``depth`` bytes of each direction, and the segments that open and close it.

A flow's records are numbered here, 0 for its first (``ordinal``); the number is how a reader tells
a new flow from the rest of one it has finished with. Memory is bounded by the number of flows.
"""

from collections import OrderedDict
from typing import NamedTuple

from vermilion_capture.packet import Segment
from vermilion_pipeline.flowid import FLOW_IDLE, FLOW_LIFE

FIN, SYN, RST, ACK = 1, 2, 4, 16
DEPTH = 16 * 1024


class Kept(NamedTuple):
    """What of a segment to publish."""

    ordinal: int
    payload: bytes
    missing: int


class _Side:
    """One direction: where its data begins, whether its SYN told so, whether its head is full."""

    __slots__ = ("anchored", "base", "full")

    def __init__(self, base: int) -> None:
        self.base = base
        self.anchored = self.full = False


class _Flow:
    __slots__ = ("called", "last", "ordinal", "sides", "started")

    def __init__(self, time: int) -> None:
        self.started = self.last = time
        self.ordinal = 0
        self.called: int | None = None  # the SYN's sequence number, as the SYN/ACK acknowledges it
        self.sides: dict[bool, _Side] = {}


class FlowHeads:
    """Decides for each segment whether it belongs to its flow's head.

    ``depth``: bytes per direction, 0 for all; ``flows``: how many are remembered, the longest
    idle one is forgotten first (``evicted`` counts them).
    """

    def __init__(self, depth: int = DEPTH, flows: int = 1_000_000) -> None:
        self._depth = depth
        self._limit = flows
        self._flows: OrderedDict[tuple[object, ...], _Flow] = OrderedDict()
        self.evicted = 0

    def keep(self, segment: Segment, time: int = 0) -> Kept | None:
        """What to publish of a segment seen at ``time``; None when all of it lies beyond the flow's head."""
        source, target = (segment.src_ip, segment.src_port), (segment.dst_ip, segment.dst_port)
        up = source <= target
        key = (segment.vlans, source, target) if up else (segment.vlans, target, source)
        flow = self._flows.get(key)
        opens = segment.flags & (SYN | ACK) == SYN
        first = segment.seq + (segment.flags & SYN != 0) & 0xFFFFFFFF
        if (
            flow is None
            or time - flow.last > FLOW_IDLE
            or time - flow.started > FLOW_LIFE
            or (opens and self._is_new(flow, up, first))
        ):
            flow = self._flows[key] = _Flow(time)
            if len(self._flows) > self._limit:
                self._flows.popitem(last=False)
                self.evicted += 1
        self._flows.move_to_end(key)
        flow.last = max(flow.last, time)
        if segment.flags & (SYN | ACK) == SYN | ACK:
            flow.called = segment.ack
        side = flow.sides.get(up)
        if side is None:
            side = flow.sides[up] = _Side(first)
        payload, missing = self._cut(side, segment, first)
        if missing is None:
            return None
        ordinal, flow.ordinal = flow.ordinal, flow.ordinal + 1
        return Kept(ordinal, payload, missing)

    def _cut(self, side: _Side, segment: Segment, first: int) -> tuple[bytes, int | None]:
        """The payload within the head, and how much is missing behind it; (b"", None): nothing."""
        payload, missing = segment.payload, segment.size - len(segment.payload)
        if segment.flags & SYN:
            side.base, side.anchored, side.full = first, True, False
        if not self._depth:
            return payload, missing
        closes = segment.flags & (FIN | RST)
        # Once full it stays so: 2 GiB on, a sequence number looks as if it came before the head.
        if not side.full:
            offset = _distance(first, side.base)
            if offset < 0 and not side.anchored and -offset <= self._depth:
                side.base, offset = first, 0
            side.full = offset + segment.size >= self._depth
            if offset < self._depth:
                beyond = max(0, min(offset + segment.size - self._depth, segment.size))
                if beyond > missing:
                    payload, missing = payload[: segment.size - beyond], beyond
                return payload, missing
        return (b"", segment.size) if closes else (b"", None)

    def _is_new(self, flow: _Flow, up: bool, first: int) -> bool:
        """Whether a SYN, behind which data begins at ``first``, opens another connection than ``flow``.

        A retransmitted SYN has the same number; one that arrives after its data has a lower, near
        one. Of a side that has said nothing the other's SYN/ACK tells whom it answers.
        """
        side = flow.sides.get(up)
        if side is None:
            return flow.called != first
        return not 0 <= _distance(side.base, first) < (self._depth or DEPTH)


def _distance(a: int, b: int) -> int:
    """a - b in sequence space: 32 bits, signed."""
    return ((a - b + 0x80000000) & 0xFFFFFFFF) - 0x80000000
