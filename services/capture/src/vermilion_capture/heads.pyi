from typing import NamedTuple

from vermilion_capture.packet import Segment

DEPTH: int
DATAGRAMS: int

class Kept(NamedTuple):
    ordinal: int
    payload: bytes
    missing: int

class FlowHeads:
    evicted: int
    def __init__(self, depth: int = ..., flows: int = ...) -> None: ...
    @property
    def remembered(self) -> int: ...
    def keep(self, segment: Segment, time: int = 0) -> Kept | None: ...
