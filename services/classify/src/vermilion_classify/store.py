"""The knowledge that everybody has: fetched databases and tables, compiled into one file."""

import gzip
import hashlib
import zlib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson

from vermilion_classify import container
from vermilion_classify.compiling import Layer, SystemTables, Tables, compiled
from vermilion_classify.container import Container, ContainerError
from vermilion_classify.databases import KnowledgeError, lines, read
from vermilion_classify.databases import entry_text as text_of
from vermilion_classify.fitting import measured, reliability
from vermilion_classify.knowledge import Knowledge
from vermilion_classify.sources import Source, resource_dir, sources
from vermilion_classify.tables import (
    DestinationTables,
    load_families,
    load_names,
    load_now,
    load_suffixes,
    load_then,
    tables_of,
)

DATABASE = "fingerprint_db.json.gz"
Months = tuple[Mapping[int, int], Mapping[int, int]]

# pmercury 0.5.2.44's two tables of SYNs are of April and July 2020.
_BETWEEN_SYN_TABLES = timedelta(days=98) / timedelta(days=365.25)


def default_path() -> Path:
    """Where the compiled public knowledge lies."""
    return resource_dir() / "knowledge" / "vermilion.knowledge"


def public_layers(fetched: list[Source] | None = None) -> list[Layer]:
    """The public databases that were fetched; the first is answered from first. Raises KnowledgeError."""
    layers: list[Layer] = []
    families: dict[str, str] = {}
    for source in fetched if fetched is not None else _fetched():
        if DATABASE not in source.files:
            continue
        own = load_families(source.directory / "app_families.txt")
        # Later databases write names in any case, and know families of earlier ones, too.
        families = {**{name.lower(): family for name, family in own.items()}, **families}
        database = read(source.directory / DATABASE)
        layers.append(
            Layer(source.name, source.version, database, own, licence=source.licence)
            if not layers
            else Layer(source.name, source.version, database, dict(families), True, licence=source.licence)
        )
    return layers


def _fetched() -> list[Source]:
    """The sources that are there. Raises KnowledgeError when one is not that must be."""
    found = []
    for source in sources():
        if source.present:
            found.append(source)
        elif not source.optional:
            absent = [name for name in source.files if not (source.directory / name).exists()]
            raise KnowledgeError(
                f"{source.directory}: {', '.join(absent)} not there; fetch knowledge with: vermilion db fetch"
            )
    return found


def public_tables() -> DestinationTables:
    """What destinations are classed by, of the fetched sources. Raises KnowledgeError."""
    folders = {name: source.directory for source in _fetched() for name in source.files}
    then, names = load_then(
        folders["pyasn.db.gz"] / "pyasn.db.gz", folders["asn_info.db.gz"] / "asn_info.db.gz"
    )
    suffixes = load_suffixes(folders["public_suffix_list.dat.gz"] / "public_suffix_list.dat.gz")
    if "asn-ipv4-num.csv" not in folders:
        return DestinationTables(then, names, suffixes=suffixes)
    folder = folders["asn-ipv4-num.csv"]
    now4, now6 = load_now(folder / "asn-ipv4-num.csv", folder / "asn-ipv6-num.csv")
    return DestinationTables(then, names, now4, now6, suffixes)


def compiled_tables() -> Tables:
    """The same out of the compiled public knowledge, which is quicker, where that is there."""
    if not default_path().exists():
        return public_tables()
    folders = {name: source.directory for source in _fetched() for name in source.files}
    names = load_names(folders["asn_info.db.gz"] / "asn_info.db.gz")
    return tables_of(container.mapped(default_path()), names)


def public_systems() -> SystemTables:
    """Operating systems by SYN and ClientHello, of the fetched sources. Raises KnowledgeError."""
    for source in _fetched():
        if "fingerprint-db-tcp-os.json.gz" in source.files:
            folder = source.directory
            tables = SystemTables(
                _systems(folder / "fingerprint-db-tcp-os.json.gz"),
                _systems(folder / "fingerprint-db-tls-os.json.gz"),
            )
            before = _systems(folder / "fingerprint_db_tcp.json.gz")
            found = reliability(tables, before, _BETWEEN_SYN_TABLES)
            return SystemTables(tables.syns, tables.hellos, found)
    return SystemTables()


def _systems(path: Path) -> dict[str, dict[str, float]]:
    found = {}
    for number, line in lines(path):
        try:
            fields = orjson.loads(line)
            found[str(fields["str_repr"])] = {str(name): float(n) for name, n in fields["os_info"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise KnowledgeError(f"{path}: line {number}: {error}") from None
    return found


def public_months() -> Months:
    """When suites and extensions became available, counted from December 1989. Raises KnowledgeError."""
    found: list[dict[int, int]] = []
    folders = {name: source.directory for source in _fetched() for name in source.files}
    for name, base in (("implementation_date_cs.json.gz", 16), ("implementation_date_ext.json.gz", 10)):
        path = folders[name] / name
        try:
            table: dict[str, dict[str, str]] = orjson.loads(gzip.decompress(path.read_bytes()))
            found.append(
                {
                    int(code, base): _month(each["date"])
                    for code, each in table.items()
                    if _is_code(code, base)
                }
            )
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
            raise KnowledgeError(f"{path}: {error}") from None
    return found[0], found[1]


def _is_code(text: str, base: int) -> bool:
    # The tables have each code a second time, by its name.
    return len(text) == 4 and all(c in "0123456789abcdef" for c in text) if base == 16 else text.isdecimal()


def _month(date: str) -> int:
    year, month = date.split("-")[:2]
    return 12 * (int(year) - 1990) + int(month)


def build(
    layers: list[Layer],
    tables: Tables,
    systems: SystemTables,
    months: Months,
    *,
    name: str | None = None,
    version: str | None = None,
    calibrate: bool = True,
) -> bytes:
    """A knowledge file, calibrated on its own databases."""
    data = compiled(layers, tables, systems, months, name=name, version=version)
    if not calibrate:
        return data
    found: dict[str, Any] = measured(Knowledge(Container(memoryview(data), "a build")), layers)
    return compiled(layers, tables, systems, months, found, name=name, version=version)


def build_public(path: Path | None = None) -> bool:
    """Compile what was fetched; False when that was done before. Raises KnowledgeError, OSError."""
    path = path or default_path()
    stamp = _stamp()
    beside = path.with_name(f"{path.name}.built-from")
    if path.exists() and beside.exists() and beside.read_text(encoding="utf-8") == stamp:
        return False
    container.write(path, build(public_layers(), public_tables(), public_systems(), public_months()))
    container.write(beside, stamp.encode())
    return True


def _stamp() -> str:
    """What a build depends on: the sources that are there, and the code that compiles."""
    digest = hashlib.sha256(str(container.FORMAT).encode())
    for source in _fetched():
        digest.update(repr(sorted(source.files.items())).encode())
    for code in sorted(Path(__file__).parent.glob("*.py*")):
        if code.suffix in (".py", ".pyx", ".pxd"):
            digest.update(code.read_bytes())
    return digest.hexdigest()


def load(path: Path | None = None) -> Knowledge:
    """Knowledge from ``path``, a knowledge file or a database; without, the public one.

    Raises KnowledgeError.
    """
    try:
        if path is None:
            path = default_path()
            if not path.exists():
                raise KnowledgeError(
                    f"{path}: not there; fetch and compile knowledge with: vermilion db fetch"
                )
        if container.is_container(path):
            return Knowledge(container.mapped(path))
        return Knowledge(Container(memoryview(own(path)), str(path)))
    except ContainerError as error:
        raise KnowledgeError(str(error)) from None
    except OSError as error:
        raise KnowledgeError(f"{path}: {error.strerror or error}") from None


def own(path: Path) -> bytes:
    """A person's own database as a knowledge file, in the place of the public ones. Raises KnowledgeError.

    The tables beside it are the public ones.
    """
    return build([layer_of(path)], compiled_tables(), public_systems(), public_months())


def layer_of(path: Path, *, lenient: bool = False) -> Layer:
    """A person's own database, named like its file; its version is a SHA-256. Raises KnowledgeError."""
    database = read(path, lenient=lenient)
    try:
        version = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise KnowledgeError(f"{path}: {error.strerror}") from None
    families = [source.directory for source in _fetched() if "app_families.txt" in source.files]
    return Layer(path.name, version, database, load_families(families[0] / "app_families.txt"))


def entry_text(fingerprint: str, path: Path | None = None) -> str | None:
    """A database's line of a fingerprint, as it stands there; without ``path``, of the public databases.

    Raises KnowledgeError.
    """
    paths = [path] if path else [s.directory / DATABASE for s in _fetched() if DATABASE in s.files]
    return next((found for each in paths if (found := text_of(each, fingerprint)) is not None), None)
