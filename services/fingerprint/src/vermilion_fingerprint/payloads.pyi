from collections.abc import Mapping
from typing import Any

class InvalidRecord(ValueError):
    field: str

def check(record: Mapping[str, Any]) -> None: ...
