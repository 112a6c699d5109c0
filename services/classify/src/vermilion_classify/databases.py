"""Fingerprint databases as they are published: lines of JSON, one fingerprint each.

pmercury's (``str_repr``, ``process_info``) and mercury's (also ``str_repr_array``, ``fp_type``,
``feature_weights``, ``malware``, ``attributes``), plain or gzip; or a list of fingerprints that
were seen and not labelled, a string a line. Every line is a stranger's.
"""

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from vermilion_pipeline.errors import VermilionError

# A database's line is one fingerprint; the longest of the public ones has 90 kB.
_MAX_LINE = 1 << 24
_GZIP = b"\x1f\x8b"
_COUNTED = (
    "classes_ip_as", "classes_ip_ip", "classes_hostname_domains", "classes_hostname_sni",
    "classes_port_applications", "classes_port_port",
)  # fmt: skip
_WEIGHTS = ("as", "domain", "port", "ip", "sni", "ua")


class KnowledgeError(VermilionError):
    """A knowledge file that is missing or wrong; says file, line and reason."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One fingerprint of a database: its strings, how often it was seen, and its processes.

    ``rows`` are the database's ``process_info``, validated; none when it is not labelled.
    """

    keys: tuple[str, ...]
    total: int
    rows: list[dict[str, Any]]
    weights: dict[str, float] | None = None
    first_seen: str = ""
    last_seen: str = ""


@dataclass
class Database:
    """A database's entries; of two with one key the last counts.

    ``unlabelled``: fingerprints that were seen, and of which no more is known. ``skipped``: lines left
    out, by reason. ``normalised``: keys written otherwise than the extractor writes them, by kind.
    """

    path: Path
    model: str
    entries: list[Entry] = field(default_factory=list)
    unlabelled: set[str] = field(default_factory=set)
    skipped: Counter[str] = field(default_factory=Counter)
    normalised: Counter[str] = field(default_factory=Counter)

    @property
    def labelled_malware(self) -> bool:
        """Whether its processes say if they are malware."""
        return any("malware" in row for entry in self.entries[-1:] for row in entry.rows[:1])

    @property
    def newest(self) -> str:
        """The last day on which something in it was seen, as YYYY-MM-DD; empty when it does not say."""
        return max((entry.last_seen for entry in self.entries), default="")


def read(path: Path, model: str | None = None, *, lenient: bool = False) -> Database:
    """A database; ``model`` says by which rule it is weighed, else it is told by its fields.

    ``lenient``: lines that are wrong are left out and counted. Raises KnowledgeError.
    """
    found: dict[tuple[str, ...], Entry] = {}
    database = Database(path, model or "")
    told = model
    for number, line in lines(path):
        try:
            if not line.lstrip().startswith((b"{", b"[")) and line.lstrip().startswith((b"(", b"tls/")):
                database.unlabelled.add(_normal(line.decode().strip(), database.normalised))
                continue
            fields = orjson.loads(line)
            if fields.get("fp_type", "tls") != "tls":
                database.skipped[f"fingerprints of type {fields['fp_type']}"] += 1
                continue
            entry = _entry(fields, database.normalised)
            told = told or _model(fields)
        except _Unproducible as error:
            database.skipped[str(error)] += 1
            continue
        except orjson.JSONDecodeError as error:
            reason = f"not JSON: {error}"
        except KeyError as error:
            reason = f"no field {error}"
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            reason = str(error)
        else:
            found[entry.keys] = entry
            continue
        if not lenient:
            raise KnowledgeError(f"{path}: line {number}: {reason}")
        database.skipped["wrong"] += 1
    database.entries = [entry for entry in found.values() if entry.rows]
    database.unlabelled.update(key for entry in found.values() if not entry.rows for key in entry.keys)
    if not found and not database.unlabelled:
        raise KnowledgeError(f"{path}: holds no fingerprint")
    database.model = told or "pmercury-0.2"
    return database


def _model(fields: dict[str, Any]) -> str | None:
    """By which rule a database was made to be weighed, as far as one line tells."""
    if {"str_repr_array", "fp_type", "feature_weights"} & fields.keys():
        return "mercury"
    systems = {system for row in fields["process_info"] for system in row.get("classes_ip_as", {})}
    if any(":" in system for system in systems):
        return "pmercury-0.2"
    return "pmercury-0.5" if any(system.isdecimal() for system in systems) else None


def _entry(fields: dict[str, Any], normalised: Counter[str]) -> Entry:
    keys = fields.get("str_repr_array") or [fields["str_repr"]]
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise TypeError("str_repr is no string")
    total, rows = fields["total_count"], fields["process_info"]
    if not isinstance(rows, list):
        raise ValueError("process_info is no list of processes")
    if not isinstance(total, int) or total < 1:
        raise ValueError(f"total_count is {total!r}")
    for row in rows:
        _check(row)
    seen = [fields.get(name, "") for name in ("first_seen", "last_seen")]
    if not all(isinstance(day, str) and re.fullmatch(r"(\d{4}-\d\d-\d\d)?", day) for day in seen):
        raise ValueError(f"first_seen and last_seen are {seen}, not days as YYYY-MM-DD")
    return Entry(
        tuple(_normal(key, normalised) for key in keys), total, rows, _weights(fields), seen[0], seen[1]
    )


def _weights(fields: dict[str, Any]) -> dict[str, float] | None:
    weights = fields.get("feature_weights")
    if weights is None:
        return None
    if set(weights) != set(_WEIGHTS) or not all(isinstance(value, int | float) for value in weights.values()):
        raise ValueError(f"feature_weights is {weights!r}, not a number each for {', '.join(_WEIGHTS)}")
    return dict(weights)


def _check(row: dict[str, Any]) -> None:
    if not isinstance(row["process"], str):
        raise TypeError(f"process is {row['process']!r}, no name")
    for name in ("sha256", "application_category"):
        if not isinstance(row.get(name), str | None):
            raise TypeError(f"{name} is {row[name]!r}, no text")
    if row.get("malware", 0) not in (0, 1):
        raise ValueError(f"malware is {row['malware']!r}, not true, false, 1 or 0")
    for name, kind in (("os_info", int | float), ("attributes", bool | int)):
        for value, what in (row.get(name) or {}).items():
            if not isinstance(what, kind) or what < 0:
                raise ValueError(f"{name}[{value!r}] is {what!r}")
    for what, count in _counts(row):
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"{what} is {count!r}, not a count above 0")


def _counts(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "count", row["count"]
    for name in _COUNTED:
        for value, count in row.get(name, {}).items():
            yield f"{name}[{value!r}]", count


class _Unproducible(Exception):
    """A key that no hello gives: it was made from one that was cut off, or by another rule."""


_WHOLE = re.compile(r"\([0-9a-f]{4}\)\((?:[0-9a-f]{4})*\)\((?:\([0-9a-f]{4,}\))*\)")
_BARE = re.compile(r"(\([0-9a-f]{4}\)\((?:[0-9a-f]{4})*\))((?:\([0-9a-f]{4,}\))?)")
_EXTENSION = re.compile(r"\(([0-9a-f]{4})([0-9a-f]*)\)")
_WITH_BODY = frozenset({
    "0001", "0005", "0007", "0008", "0009", "000a", "000b", "000d", "000f", "0010", "0011", "0013", "0014",
    "0018", "001b", "001c", "002b", "002d", "0032", "5500", "0a0a",
})  # fmt: skip


def _normal(key: str, normalised: Counter[str]) -> str:
    """A key as the extractor writes it. Raises _Unproducible."""
    if key.startswith("tls/"):
        if not re.fullmatch(r"tls/(1/)?\([0-9a-f]{4}\)\([0-9a-f]*\)[(\[](\([0-9a-f]+\))*[)\]]", key):
            raise _Unproducible("keys of another form of string")
        return key
    # The databases leave the parentheses out around no extension, or one.
    if bare := _BARE.fullmatch(key):
        normalised["parentheses of the extensions missing"] += 1
        key = f"{bare[1]}({bare[2]})"
    if re.fullmatch(r"[(0-9a-f)]+", key) and not _WHOLE.fullmatch(key):
        raise _Unproducible("keys of hellos that were cut off")
    if not _WHOLE.fullmatch(key):
        raise ValueError(f"str_repr is no fingerprint: {key[:80]!r}")
    if any(re.fullmatch(r"(.a)\1", code) and code != "0a0a" for code in _codes(key)):
        normalised["GREASE values as sent"] += 1
        key = _without_grease(key)
    for kind, body in _EXTENSION.findall(key.split(")(", 2)[2]):
        if kind in _WITH_BODY:
            if len(body) < 4 or len(body) != 4 + 2 * int(body[:4], 16):
                raise _Unproducible("keys with an extension whose body is cut off")
        elif body:
            raise _Unproducible("keys with the body of an extension that is told by its type alone")
    return key


def _codes(key: str) -> Iterator[str]:
    suites = key.split(")(", 2)[1]
    yield from (suites[i : i + 4] for i in range(0, len(suites), 4))
    for kind, body in _EXTENSION.findall(key.split(")(", 2)[2]):
        yield kind
        start = {"000a": 8, "002b": 6}.get(kind)
        if start:
            yield from (body[i : i + 4] for i in range(start, len(body), 4))


def _without_grease(key: str) -> str:
    """GREASE (RFC 8701) of suites, types, groups and versions as 0a0a."""
    version, suites, extensions = key[1:].split(")(", 2)

    def folded(codes: str) -> str:
        each = (codes[i : i + 4] for i in range(0, len(codes), 4))
        return "".join("0a0a" if re.fullmatch(r"(.a)\1", code) else code for code in each)

    def extension(found: re.Match[str]) -> str:
        kind, body = folded(found[1]), found[2]
        start = {"000a": 8, "002b": 6}.get(kind, len(body))
        return f"({kind}{body[:start]}{folded(body[start:])})"

    return f"({version})({folded(suites)})({_EXTENSION.sub(extension, extensions)}"


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, plain or gzip, that are not blank, with their numbers. Raises KnowledgeError."""
    number = 0
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == _GZIP
        with gzip.open(path) if compressed else path.open("rb") as file:
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


def entry_text(path: Path, fingerprint: str) -> str | None:
    """A database's line of ``fingerprint``, as it stands there; of several the last, which counts.

    Raises KnowledgeError.
    """
    found, wanted = None, fingerprint.encode()
    for number, line in lines(path):
        if wanted in line:
            try:
                fields = orjson.loads(line)
                if fingerprint in (fields.get("str_repr"), *fields.get("str_repr_array", ())):
                    found = line
            except (orjson.JSONDecodeError, AttributeError, TypeError) as error:
                raise KnowledgeError(f"{path}: line {number}: not a JSON object: {error}") from None
    return None if found is None else found.decode().strip()
