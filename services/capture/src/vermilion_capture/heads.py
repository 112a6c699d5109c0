"""Flow heads: the first ``depth`` bytes of each direction, and the segments that open and close it.

A flow's records are numbered here, 0 for its first (``ordinal``); the number is how a reader tells
a new flow from the rest of one it has finished with. Memory is bounded by the number of flows.
"""

from collections import OrderedDict
from typing import NamedTuple

from vermilion_capture.packet import Segment

FIN, SYN, RST, ACK = 1, 2, 4, 16
DEPTH = 16 * 1024
# A segment this far from where a direction began belongs to it; further off, it is another one.
_WINDOW = 1 << 30


class Kept(NamedTuple):
    """What of a segment to publish."""

    ordinal: int
    payload: bytes
    missing: int


class _Flow:
    __slots__ = ("bases", "ordinal")

    def __init__(self) -> None:
        self.ordinal = 0
        self.bases: dict[bool, int] = {}


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

    def keep(self, segment: Segment) -> Kept | None:
        """What to publish of ``segment``; None when all of it lies beyond the flow's head."""
        source, target = (segment.src_ip, segment.src_port), (segment.dst_ip, segment.dst_port)
        up = source <= target
        key = (segment.vlans, source, target) if up else (segment.vlans, target, source)
        flow = self._flows.get(key)
        opens = segment.flags & (SYN | ACK) == SYN
        first = segment.seq + (segment.flags & SYN != 0) & 0xFFFFFFFF
        if flow is None or (opens and self._is_new(flow.bases.get(up), first)):
            flow = self._flows[key] = _Flow()
            if len(self._flows) > self._limit:
                self._flows.popitem(last=False)
                self.evicted += 1
        self._flows.move_to_end(key)
        base = flow.bases.setdefault(up, first)
        offset = _distance(first, base)
        if segment.flags & SYN or (offset < 0 and -offset < _WINDOW):
            flow.bases[up], offset = first, 0
        payload, missing = segment.payload, segment.size - len(segment.payload)
        if self._depth:
            if offset >= self._depth and not segment.flags & (FIN | RST):
                return None
            beyond = max(0, min(offset + segment.size - self._depth, segment.size))
            if beyond > missing:
                payload, missing = payload[: segment.size - beyond], beyond
        ordinal, flow.ordinal = flow.ordinal, flow.ordinal + 1
        return Kept(ordinal, payload, missing)

    def _is_new(self, base: int | None, first: int) -> bool:
        """Whether a SYN opens another connection than the one whose data began at ``base``.

        A retransmitted SYN has the same number; one that arrives after its data has a lower, near
        one.
        """
        return base is not None and not 0 <= _distance(base, first) < (self._depth or DEPTH)


def _distance(a: int, b: int) -> int:
    """a - b in sequence space: 32 bits, signed."""
    return ((a - b + 0x80000000) & 0xFFFFFFFF) - 0x80000000
