from collections.abc import Mapping, Sequence
from typing import Any

from vermilion_fingerprint.tls import ClientHello
from vermilion_fingerprint.tls_server import ServerHello

class Received:
    name: str
    time: int
    seq: int
    reassembled: bool
    @property
    def hello(self) -> ClientHello | ServerHello: ...
    @property
    def truncated(self) -> bool: ...
    def context(self) -> Mapping[str, Any] | None: ...
    def readable(self) -> dict[str, Any]: ...

class Conversation:
    done: bool
    one_sided: bool
    counts: list[tuple[str, ...]]
    def __init__(self, limit: int) -> None: ...
    def take(self, datagram: bytes, missing: int, time: int) -> Sequence[Received]: ...
    def finish(self) -> Sequence[Received]: ...
