from typing import Any

class Entry:
    names: list[str]
    hashes: list[str | None]
    categories: list[str | None]
    total: int
    def __init__(self, total: int, rows: list[dict[str, Any]]) -> None: ...
    def rank(self, system: str, domain: str, port: str) -> list[tuple[float, int]]: ...
