from collections.abc import Mapping
from typing import Any

from vermilion_fingerprint.decryption import Decrypting
from vermilion_fingerprint.limits import Limits as Limits
from vermilion_fingerprint.protocols import Recognised

class FlowTable:
    events: list[dict[str, Any]]
    held: int
    @property
    def flows(self) -> int: ...
    def __init__(
        self,
        limits: Limits,
        recognised: Recognised,
        readable: bool = False,
        decrypting: Decrypting | None = None,
    ) -> None: ...
    def segment(self, offset: int, record: dict[str, Any]) -> None: ...
    def mark(self, offset: int, sensor: str, run: str, time: int) -> None: ...
    def end(self, sensor: str, run: str) -> None: ...
    def low_water(self) -> int | None: ...
    def take_counts(self) -> Mapping[tuple[str, ...], int]: ...
