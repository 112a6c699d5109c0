from collections.abc import Mapping
from typing import Any

from vermilion_classify.container import Container
from vermilion_classify.destination import Destination
from vermilion_pipeline.records import Analysis, KnowledgeVersion

class Knowledge:
    version: KnowledgeVersion
    meta: dict[str, Any]
    entries: int
    def __init__(self, container: Container) -> None: ...
    def key(self, entry: int) -> str: ...
    def entry_of(self, fingerprint: str) -> int | None: ...
    def processes(self, entry: int) -> list[str]: ...
    def layer_of(self, entry: int) -> int: ...
    def classes(self, system: int, domain: str | None, port: str | None) -> Destination: ...
    def raw(
        self,
        fingerprint: str,
        destination: Destination,
        without: int | None = None,
        before: int | None = None,
    ) -> tuple[str, float, int, list[tuple[str, float]], list[tuple[str, str, float]]]: ...
    def analyse(self, event: Mapping[str, Any], alternatives: int = 0) -> Analysis | None: ...
    def answer(
        self,
        fingerprint: str,
        destination: Destination,
        time: int,
        syn: str | None = None,
        alternatives: int = 0,
    ) -> Analysis: ...
