from typing import Any

class Syn:
    ip_version: int
    ttl: int
    ip_id: int
    window: int
    options: bytes
    acknowledges: bool
    def __init__(
        self, ip_version: int, ttl: int, ip_id: int, window: int, options: bytes, acknowledges: bool
    ) -> None: ...
    def readable(self) -> dict[str, Any]: ...

def fingerprint(syn: Syn) -> str: ...
def npf(syn: Syn) -> str: ...
