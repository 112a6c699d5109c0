from collections.abc import Callable, Iterator
from mmap import mmap

from vermilion_capture.frame import Frame

Wanted = Callable[[bytes, int], bool]

BLOCK_HEADER: int
PACKET_HEADER: int

class Block:
    link_type: int
    longest: int
    damaged: bool
    done: bool
    wanted: Wanted | None
    def __init__(
        self,
        memory: bytes | bytearray | memoryview,
        link_type: int,
        longest: int = ...,
        wanted: Wanted | None = None,
    ) -> None: ...
    def __iter__(self) -> Iterator[Frame]: ...

class Ring:
    def __init__(self, memory: bytearray | mmap, block_size: int, blocks: int) -> None: ...
    def next(self, link_type: int, longest: int, wanted: Wanted | None = None) -> Block | None: ...
    def release(self) -> None: ...
