from collections.abc import Mapping
from typing import Any

from vermilion_fingerprint.tls import ClientHello
from vermilion_fingerprint.tls_server import ServerHello

class Received:
    name: str
    hello: ClientHello | ServerHello
    time: int
    seq: int
    reassembled: bool
    @property
    def truncated(self) -> bool: ...
    def context(self) -> Mapping[str, Any] | None: ...
    def readable(self) -> dict[str, Any]: ...

class Conversation:
    done: bool
    one_sided: bool
    counts: list[tuple[str, ...]]
    def __init__(self, limit: int) -> None: ...
    def take(self, datagram: bytes, missing: int, time: int) -> list[Received]: ...
    def finish(self) -> list[Received]: ...
