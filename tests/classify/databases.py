"""Small knowledge for tests, with numbers that a person can follow."""

import gzip
import json
from array import array
from pathlib import Path
from typing import Any

from vermilion_classify.compiling import Layer, SystemTables, compiled
from vermilion_classify.container import Container
from vermilion_classify.databases import Database, read
from vermilion_classify.knowledge import Knowledge
from vermilion_classify.tables import DestinationTables, flattened
from vermilion_pipeline.records import Fingerprint

FP = "(0303)(c02f)()"
NAMES = {"64500": "64500:Example", "64501": "64501:Other"}
TABLES = DestinationTables(
    then=flattened("198.51.100.0/24\t64500\n198.51.100.128/25\t64501\n203.0.113.0/24\t64999\n", NAMES),
    names=NAMES,
    now4=(array("I", [0, 0xC6336400, 0xC6336500]), array("I", [0, 64500, 0])),
    now6=(array("Q", [0, 0x20010DB800000000, 0x20010DB800000001]), array("I", [0, 64500, 0])),
    suffixes=frozenset({"co.uk", "github.io"}),
)
NO_MONTHS: tuple[dict[int, int], dict[int, int]] = ({}, {})


def row(process: str, count: int, **more: Any) -> dict[str, Any]:
    """A process row."""
    return {
        "process": process,
        "count": count,
        "sha256": process.upper(),
        "application_category": None,
        **more,
    }


def line(rows: list[dict[str, Any]], fingerprint: str = FP, **more: Any) -> dict[str, Any]:
    """A database line."""
    total = sum(item["count"] for item in rows)
    return {"str_repr": fingerprint, "total_count": total, "process_info": rows, **more}


def write(path: Path, lines: list[Any]) -> Path:
    """A database file; a line that is bytes goes as it is."""
    data = b"".join(item if isinstance(item, bytes) else json.dumps(item).encode() + b"\n" for item in lines)
    path.write_bytes(gzip.compress(data))
    return path


def database(tmp_path: Path, lines: list[Any], model: str | None = None) -> Database:
    """A database of these lines, read back."""
    return read(write(tmp_path / "db.gz", lines), model)


def opened(
    layers: list[Layer],
    systems: SystemTables | None = None,
    months: Any = NO_MONTHS,
    measured: dict[str, Any] | None = None,
) -> Knowledge:
    """Knowledge of these layers, not calibrated unless it is given how."""
    data = compiled(layers, TABLES, systems or SystemTables(), months, measured)
    return Knowledge(Container(memoryview(data), "test"))


def knowledge(
    tmp_path: Path, rows: list[dict[str, Any]], families: dict[str, str] | None = None, **more: Any
) -> Knowledge:
    """Knowledge of one fingerprint, weighed as pmercury 0.2 weighs."""
    found = database(tmp_path, [line(rows, **more)], "pmercury-0.2")
    return opened([Layer("test", "1", found, families or {})])


def event(
    fingerprint: str = FP,
    server_name: str | None = "www.example.com",
    ip: str = "198.51.100.7",
    port: int = 443,
    time: int = 0,
    syn: str | None = None,
) -> Fingerprint:
    """A tls event, as far as inference looks at it."""
    return {
        "event_start": time,
        "type": "tls", "fingerprints": {"tls": fingerprint}, "tls": {"server_name": server_name},
        "dst_ip": ip, "dst_port": port, "syn": syn,
    }  # type: ignore[typeddict-item]  # fmt: skip
