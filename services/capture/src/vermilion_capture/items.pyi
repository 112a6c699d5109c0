from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vermilion_capture.packet import Segment
from vermilion_pipeline.records import Payload

class Origin:
    sensor: str
    run: str
    replayed: bool
    def __init__(self, sensor: str, run: str, replayed: bool) -> None: ...

class Item:
    key: bytes | None
    kind: str
    time: int
    def __init__(self, key: bytes | None, record: Payload) -> None: ...
    def __iter__(self) -> Iterator[Any]: ...
    @property
    def record(self) -> Payload: ...
    def encoded(self, header: bytes | None, encode: Callable[[Mapping[str, Any]], bytes]) -> bytes: ...

def agrees(header: bytes, encode: Callable[[Mapping[str, Any]], bytes]) -> bool: ...
def segment_item(
    key: bytes, origin: Origin, found: Segment, time: int, ordinal: int, payload: bytes, missing: int
) -> Item: ...
