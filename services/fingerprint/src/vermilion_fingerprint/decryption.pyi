from collections.abc import Mapping

from vermilion_fingerprint.decrypt.keylog import KeyLog

HELD: int

class Decrypting:
    keys: KeyLog
    held: int
    def __init__(self, keys: KeyLog, limit: int = ...) -> None: ...
    def take_counts(self) -> Mapping[tuple[str, ...], int]: ...
