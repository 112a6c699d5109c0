from collections.abc import Collection, Iterable

from vermilion_capture.fragments import Fragments
from vermilion_capture.heads import FlowHeads
from vermilion_capture.items import Item, Origin
from vermilion_capture.ring import Block

TRANSPORTS: tuple[str, ...]

class Sieve:
    heads: FlowHeads
    fragments: Fragments
    merged: int
    newest: int
    def __init__(
        self,
        depth: int = ...,
        ports: Iterable[int] = (),
        networks: Collection[str] = (),
        transports: Collection[str] = ...,
        brokers: Collection[tuple[str, int]] = (),
        fragments: Fragments | None = None,
    ) -> None: ...
    @property
    def counts(self) -> dict[str, int]: ...
    def frame(self, data: bytes, link_type: int, time: int, origin: Origin) -> Item | None: ...
    def block(self, block: Block, origin: Origin, due: int) -> list[Item]: ...
