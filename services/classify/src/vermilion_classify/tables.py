"""The tables that class a destination, as they are fetched, and as a knowledge file has them."""

import csv
import gzip
import warnings
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from socket import inet_aton

from vermilion_classify.container import Container
from vermilion_classify.databases import KnowledgeError
from vermilion_classify.index import hash_of, table_of
from vermilion_classify.weights import SEED_SUFFIX

with warnings.catch_warnings():
    # pyasn 1.6.2 has an invalid escape in a pattern; compiling it must not warn our users of it.
    warnings.simplefilter("ignore", SyntaxWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    import pyasn

Sections = dict[str, array | bytes]  # type: ignore[type-arg]


@dataclass(frozen=True)
class DestinationTables:
    """What destinations are classed by.

    ``then``: the AS table that belongs to pmercury 0.2's database, IPv4 alone, as ascending starts and
    numbers; ``names``: AS number -> ``number:name`` as that database has it. ``now4``, ``now6``: the AS
    tables of today; of IPv6 addresses the first 64 bits. ``suffixes``: public suffixes.
    """

    then: tuple[array, array] = field(default_factory=lambda: (array("I"), array("I")))  # type: ignore[type-arg]
    names: Mapping[str, str] = field(default_factory=dict)
    now4: tuple[array, array] = field(default_factory=lambda: (array("I"), array("I")))  # type: ignore[type-arg]
    now6: tuple[array, array] = field(default_factory=lambda: (array("Q"), array("I")))  # type: ignore[type-arg]
    suffixes: frozenset[str] = frozenset()

    def sections(self) -> Sections:
        """The sections of a knowledge file."""
        hashes, values = table_of((hash_of(name.encode(), SEED_SUFFIX), 0) for name in sorted(self.suffixes))
        return {
            "as_then_start": self.then[0], "as_then_number": self.then[1],
            "as_now4_start": self.now4[0], "as_now4_number": self.now4[1],
            "as_now6_start": self.now6[0], "as_now6_number": self.now6[1],
            "suffix_hash": hashes, "suffix_value": values,
        }  # fmt: skip


@dataclass(frozen=True)
class CompiledTables:
    """The same, out of a knowledge file that has them."""

    compiled: Sections
    names: Mapping[str, str]

    def sections(self) -> Sections:
        """The sections of a knowledge file."""
        return self.compiled


_SECTIONS = tuple(DestinationTables().sections())


def tables_of(container: Container, names: Mapping[str, str]) -> CompiledTables:
    """A knowledge file's tables; ``names`` as of DestinationTables. Raises ContainerError."""
    return CompiledTables(
        {name: array(container[name].format, container[name].tobytes()) for name in _SECTIONS}, names
    )


def flattened(table: str, known: Mapping[str, str] | None = None) -> tuple[array, array]:  # type: ignore[type-arg]
    """A table of IPv4 prefixes (``prefix TAB number`` lines) as ranges: ascending starts, and numbers.

    pyasn says which of nested prefixes holds at each border. An AS that is not in ``known`` is 0, as
    are the gaps. Raises ValueError, RuntimeError.
    """
    prefixes = pyasn.pyasn(None, ipasn_string=table)
    borders = {0}
    for line in table.splitlines():
        prefix = line.partition("\t")[0]
        if "." in prefix and not prefix.startswith(";"):
            address, _, length = prefix.partition("/")
            first = int.from_bytes(inet_aton(address), "big")
            borders.update((first, first + (1 << 32 - int(length))))
    starts, numbers = array("I"), array("I")
    for border in sorted(borders):
        if border > 0xFFFFFFFF:
            break
        text = f"{border >> 24}.{border >> 16 & 255}.{border >> 8 & 255}.{border & 255}"
        number = prefixes.lookup(text)[0] or 0
        if known is not None and str(number) not in known:
            number = 0
        if not numbers or numbers[-1] != number:
            starts.append(border)
            numbers.append(number)
    return starts, numbers


def ranges(rows: Iterable[tuple[int, int, int]], code: str) -> tuple[array, array]:  # type: ignore[type-arg]
    """Ranges (first, last, AS) as ascending starts and numbers; gaps are 0.

    Of ranges that overlap the one that begins first counts.
    """
    starts, numbers = array(code), array("I")

    def begin(start: int, number: int) -> None:
        if not numbers or numbers[-1] != number:
            starts.append(start)
            numbers.append(number)

    following = 0
    for first, last, number in sorted(rows):
        if first < following:
            continue
        if first > following:
            begin(following, 0)
        begin(first, number)
        following = last + 1
    if following < 1 << 8 * starts.itemsize:
        begin(following, 0)
    return starts, numbers


def load_then(table: Path, names: Path) -> tuple[tuple[array, array], dict[str, str]]:  # type: ignore[type-arg]
    """pmercury's AS table and AS names, both gzip. Raises KnowledgeError."""
    known = load_names(names)
    try:
        return flattened("".join(_lines(table)), known), known
    except (OSError, ValueError, RuntimeError) as error:
        raise KnowledgeError(f"{table}: {error}") from None


def load_names(names: Path) -> dict[str, str]:
    """AS number -> ``number:name``, of a table (gzip). Raises KnowledgeError."""
    return dict(line.rstrip("\n").split("\t", 1) for line in _lines(names) if "\t" in line)


def load_now(four: Path, six: Path) -> tuple[tuple[array, array], tuple[array, array]]:  # type: ignore[type-arg]
    """AS tables of IPv4 and IPv6: lines ``first,last,AS,...`` of numbers. Raises KnowledgeError."""
    return ranges(_rows(four, 0), "I"), ranges(_rows(six, 64), "Q")


def _rows(path: Path, cut: int) -> Iterator[tuple[int, int, int]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for count, row in enumerate(csv.reader(file), 1):
                try:
                    yield int(row[0]) >> cut, int(row[1]) >> cut, int(row[2])
                except (ValueError, IndexError) as error:
                    raise KnowledgeError(f"{path}: line {count}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise KnowledgeError(f"{path}: {error}") from None


def load_suffixes(path: Path) -> frozenset[str]:
    """Public suffixes (gzip), as pmercury reads them: without ``*.``. Raises KnowledgeError."""
    rules = (line.strip() for line in _lines(path))
    return frozenset(rule.removeprefix("*.") for rule in rules if rule and not rule.startswith("//"))


def load_families(path: Path) -> dict[str, str]:
    """Process name -> application family, from comma lines ``family,member,...``. Raises KnowledgeError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KnowledgeError(f"{path}: {error}") from None
    families = {}
    for line in lines:
        family, *members = line.split(",")
        families.update(dict.fromkeys(members, family))
    return families


def _lines(path: Path) -> list[str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return file.readlines()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise KnowledgeError(f"{path}: {error}") from None
