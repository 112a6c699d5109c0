from typing import NamedTuple

KINDS: tuple[str, ...]

class Around(NamedTuple):
    kind: str
    src_ip: bytes
    dst_ip: bytes
    id: int | None
