"""Small knowledge for tests, with numbers that a person can follow."""

import gzip
import json
from pathlib import Path
from typing import Any

from vermilion_classify.destinations import Domains, Networks
from vermilion_classify.inference import Entry
from vermilion_classify.knowledge import Knowledge
from vermilion_pipeline.records import Fingerprint

FP = "(0303)(c02f)()"


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


def knowledge(rows: list[dict[str, Any]], families: dict[str, str] | None = None) -> Knowledge:
    """Knowledge of one fingerprint."""
    return Knowledge(
        {"name": "test", "version": "1"},
        {FP: Entry(sum(item["count"] for item in rows), rows)},
        Domains(frozenset({"co.uk", "github.io"})),
        Networks("198.51.100.0/24\t64500\n", {"64500": "64500:Example"}),
        families or {},
    )


def event(
    fingerprint: str = FP,
    server_name: str | None = "www.example.com",
    ip: str = "198.51.100.7",
    port: int = 443,
) -> Fingerprint:
    """A tls event, as far as inference looks at it."""
    return {
        "event_start": 0,
        "type": "tls", "fingerprints": {"tls": fingerprint}, "tls": {"server_name": server_name},
        "dst_ip": ip, "dst_port": port,
    }  # type: ignore[typeddict-item]  # fmt: skip
