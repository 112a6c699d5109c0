from collections.abc import Iterable

class Stream:
    base: int
    anchored: bool
    length: int
    held: int
    def __init__(self, limit: int) -> None: ...

def in_order(segments: Iterable[tuple[int, bytes]], syn: int | None = None, limit: int = ...) -> bytes: ...
