"""What is known: fingerprints, their processes, and the tables that class a destination.

One immutable structure a version; a batch of events is answered by one.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from vermilion_classify.destinations import (
    Domains,
    Networks,
    load_domains,
    load_families,
    load_networks,
    port_class,
)
from vermilion_classify.inference import Entry
from vermilion_classify.sources import Source
from vermilion_pipeline.records import Analysis, Fingerprint, KnowledgeVersion, ProbableProcess

DATABASE = "fingerprint_db.json.gz"
# A database's line is one fingerprint; the longest of the 2019 one has 90 kB.
_MAX_LINE = 1 << 24


class KnowledgeError(Exception):
    """A knowledge file that is missing or wrong; says file, line and reason."""


class Knowledge:
    """Answers which process a fingerprint belongs to. Immutable."""

    def __init__(
        self,
        version: KnowledgeVersion,
        entries: dict[str, Entry],
        domains: Domains,
        networks: Networks,
        families: dict[str, str],
    ) -> None:
        self.version = version
        self.entries = entries
        self._domains = domains
        self._networks = networks
        self._families = families

    def analyse(self, event: Fingerprint, alternatives: int = 0) -> Analysis | None:
        """The answer for one event, with up to ``alternatives`` probable processes.

        None for an event of a kind the database does not cover. Raises ValueError when the
        destination is no IP address.
        """
        if event["type"] != "tls" or (tls := event["tls"]) is None:
            return None
        entry = self.entries.get(event["fingerprints"].get("tls", ""))
        if entry is None:
            return Analysis(
                process="Unknown", score=0.0, match="none", probable_processes=[], category=None,
                knowledge=self.version,
            )  # fmt: skip
        ranked = entry.rank(
            self._networks.system(event["dst_ip"]),
            self._domains.domain(tls["server_name"]),
            port_class(event["dst_port"]),
        )
        score, best = ranked[0]
        name = entry.names[best]
        return Analysis(
            process=self._families.get(name, name),
            score=score,
            match="exact",
            probable_processes=[
                ProbableProcess(process=entry.names[row], score=probability, sha256=entry.hashes[row])
                for probability, row in ranked[:alternatives]
            ],
            category=entry.categories[best],
            knowledge=self.version,
        )


def load(source: Source, database: Path | None = None) -> Knowledge:
    """Knowledge from a fetched source, with the user's own ``database`` in the place of its own.

    Raises KnowledgeError, TableError.
    """
    folder = source.directory
    if absent := [name for name in source.files if not (folder / name).exists()]:
        raise KnowledgeError(
            f"{folder}: {', '.join(absent)} not there; fetch knowledge with: vermilion db fetch"
        )
    version = KnowledgeVersion(name=source.name, version=source.version)
    path = folder / DATABASE
    if database is not None:
        path = database
        version = KnowledgeVersion(name=database.name, version=_digest(database))
    return Knowledge(
        version,
        load_entries(path),
        load_domains(folder / "public_suffix_list.dat.gz"),
        load_networks(folder / "pyasn.db.gz", folder / "asn_info.db.gz"),
        load_families(folder / "app_families.txt"),
    )


def load_entries(path: Path) -> dict[str, Entry]:
    """The fingerprints of a database: gzip, one JSON object a line; of two alike the last counts.

    Raises KnowledgeError.
    """
    entries = {}
    for number, line in _lines(path):
        try:
            fields = orjson.loads(line)
            entries[fields["str_repr"]] = _entry(fields)
        except orjson.JSONDecodeError as error:
            raise KnowledgeError(f"{path}: line {number}: not JSON: {error}") from None
        except KeyError as error:
            raise KnowledgeError(f"{path}: line {number}: no field {error}") from None
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise KnowledgeError(f"{path}: line {number}: {error}") from None
    if not entries:
        raise KnowledgeError(f"{path}: holds no fingerprint")
    return entries


def entry_text(source: Source, fingerprint: str, database: Path | None = None) -> str | None:
    """A database's line of ``fingerprint``, as it stands there; of several the last, which counts.

    Raises KnowledgeError.
    """
    path = database or source.directory / DATABASE
    found, wanted = None, fingerprint.encode()
    for number, line in _lines(path):
        if wanted in line:
            try:
                if orjson.loads(line).get("str_repr") == fingerprint:
                    found = line
            except (orjson.JSONDecodeError, AttributeError) as error:
                raise KnowledgeError(f"{path}: line {number}: not a JSON object: {error}") from None
    return None if found is None else found.decode().strip()


def _entry(fields: dict[str, Any]) -> Entry:
    total, rows = fields["total_count"], fields["process_info"]
    if not isinstance(fields["str_repr"], str):
        raise TypeError("str_repr is no string")
    if not isinstance(rows, list) or not rows:
        raise ValueError("process_info is no list of processes")
    if not isinstance(total, int) or total < 1:
        raise ValueError(f"total_count is {total!r}")
    for row in rows:
        if not isinstance(row["process"], str):
            raise TypeError(f"process is {row['process']!r}, no name")
        for name in ("sha256", "application_category"):
            if not isinstance(row.get(name), str | None):
                raise TypeError(f"{name} is {row[name]!r}, no text")
        for what, count in _counts(row):
            if not isinstance(count, int) or count < 1:
                raise ValueError(f"{what} is {count!r}, not a count above 0")
    return Entry(total, rows)


def _counts(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "count", row["count"]
    for field in ("classes_ip_as", "classes_hostname_domains", "classes_port_applications"):
        for value, count in row.get(field, {}).items():
            yield f"{field}[{value!r}]", count


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with gzip.open(path) as file:
            while line := file.readline(_MAX_LINE):
                number += 1
                if len(line) == _MAX_LINE:
                    raise KnowledgeError(f"{path}: line {number} is longer than {_MAX_LINE} bytes")
                if line.strip():
                    yield number, line
    except OSError as error:
        raise KnowledgeError(f"{path}: line {number + 1}: {error.strerror or error}") from None
    except (EOFError, zlib.error) as error:
        raise KnowledgeError(
            f"{path}: after line {number}: the gzip stream is damaged or cut off ({error})"
        ) from None


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise KnowledgeError(f"{path}: {error.strerror}") from None
