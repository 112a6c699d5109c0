"""Databases and tables made into one knowledge file."""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

from vermilion_classify import calibration
from vermilion_classify.container import packed
from vermilion_classify.databases import Database, Entry
from vermilion_classify.forms import forms, grams, tokens
from vermilion_classify.index import hash_of, table_of
from vermilion_classify.operating_systems import OperatingSystem, normal
from vermilion_classify.systems import layout_of
from vermilion_classify.tables import CompiledTables, DestinationTables, Sections
from vermilion_classify.weights import MODELS, SEED_STRING, system_number, weigh

THRESHOLD = 0.6
"""Beyond this distance a fingerprint is like none that is known."""

NONE = 0xFFFFFFFF
Tables = DestinationTables | CompiledTables


@dataclass(frozen=True)
class Layer:
    """One database, named; of two layers that have a fingerprint the first counts.

    ``families``: process -> the name that it is told by, in lower case where ``any_case``. ``newest``:
    the day up to which it knows, YYYY-MM-DD.
    """

    name: str
    version: str
    database: Database
    families: Mapping[str, str] = field(default_factory=dict)
    any_case: bool = False
    newest: str = ""
    licence: str = ""

    def family(self, process: str) -> str:
        """What a process is told by."""
        return self.families.get(process.lower() if self.any_case else process, process)

    @property
    def last_day(self) -> datetime:
        """The day up to which it knows; today where nothing says."""
        day = self.newest or self.database.newest
        return datetime.fromisoformat(day).replace(tzinfo=UTC) if day else datetime.now(UTC)


@dataclass(frozen=True)
class SystemTables:
    """Operating systems (as the databases spell them, with shares) by SYN and by ClientHello.

    ``reliability``: how often a SYN's word on the family is right: ``exact`` for one in the table,
    ``layout`` for one whose options alone are, and ``retained`` of that after a year.
    """

    syns: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    hellos: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    reliability: Mapping[str, float] = field(
        default_factory=lambda: {"exact": 0.0, "layout": 0.0, "retained": 1.0}
    )


class _Texts:
    """Each text once, by number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str | None) -> int:
        return NONE if text is None else self._numbers.setdefault(text, len(self._numbers))

    def sections(self, offsets: str, blob: str) -> Sections:
        encoded = [text.encode("utf-8", "surrogatepass") for text in self._numbers]
        return {offsets: _offsets(map(len, encoded)), blob: b"".join(encoded)}


def _offsets(sizes: Iterable[int]) -> array:  # type: ignore[type-arg]
    at = array("I", [0])
    for size in sizes:
        at.append(at[-1] + size)
    return at


def day(text: str) -> int:
    """A day as a number, since 1970; 0 where none is told."""
    return (date.fromisoformat(text) - date(1970, 1, 1)).days if text else 0


class Compiler:
    """Gathers the sections of a knowledge file."""

    def __init__(self, layers: Sequence[Layer], tables: Tables, systems: SystemTables) -> None:
        self._layers = layers
        self._tables = tables
        self._systems = systems
        self._texts, self._names = _Texts(), dict[OperatingSystem, int]()
        self._chosen: list[tuple[int, str, Entry]] = []  # layer, key, entry
        known: set[str] = set()
        for number, layer in enumerate(layers):
            for entry in layer.database.entries:
                for key in entry.keys:
                    if key not in known:
                        known.add(key)
                        self._chosen.append((number, key, entry))

    def sections(self, months: tuple[Mapping[int, int], Mapping[int, int]]) -> Sections:
        """All of them. ``months``: of suites and extensions, counted from December 1989."""
        return {
            **self._processes(),
            **self._keys(),
            **self._likeness(),
            **self._known_systems(),
            **self._dates(*months),
            **self._tables.sections(),
            **self._texts.sections("text_at", "texts"),
        }

    @property
    def systems(self) -> list[OperatingSystem]:
        """The operating systems by number, once ``sections`` has been called."""
        return list(self._names)

    def _system(self, text: str) -> int:
        return self._names.setdefault(normal(text), len(self._names))

    def _processes(self) -> Sections:
        rows_at, gains_at = array("I", [0]), array("I", [0])
        os_at, attributes_at = array("I", [0]), array("I", [0])
        process, family, sha256, category = array("I"), array("I"), array("I"), array("I")
        base, malware = array("d"), array("b")
        gain_key, gain_row, gain = array("Q"), array("I"), array("d")
        os, os_share, attributes = array("I"), array("f"), array("I")
        text = self._texts.number
        for number, _, entry in self._chosen:
            layer = self._layers[number]
            names = self._tables.names if layer.database.model == MODELS[0] else {}
            bases, gains = weigh(
                layer.database.model, entry.total, entry.rows, entry.weights,
                lambda value, names=names: system_number(value, names),  # type: ignore[misc]
            )  # fmt: skip
            for row, at in zip(entry.rows, bases, strict=True):
                process.append(text(row["process"]))
                family.append(text(layer.family(row["process"])))
                sha256.append(text(row.get("sha256")))
                category.append(text(row.get("application_category")))
                base.append(at)
                malware.append(-1 if "malware" not in row else int(row["malware"]))
                for system, share in self._shares(row.get("os_info") or {}).items():
                    os.append(system)
                    os_share.append(share)
                os_at.append(len(os))
                attributes.extend(text(name) for name, has in (row.get("attributes") or {}).items() if has)
                attributes_at.append(len(attributes))
            for key, row_number, value in sorted(gains):
                gain_key.append(key)
                gain_row.append(row_number)
                gain.append(value)
            rows_at.append(len(process))
            gains_at.append(len(gain))
        return {
            "day": array("I", (day(entry.first_seen) for _, _, entry in self._chosen)),
            "entry_layer": bytes(number for number, _, _ in self._chosen),
            "entry_model": bytes(
                MODELS.index(self._layers[number].database.model) for number, _, _ in self._chosen
            ),
            "rows_at": rows_at, "gains_at": gains_at, "process": process, "family": family,
            "sha256": sha256, "category": category, "base": base, "malware": malware,
            "gain_key": gain_key, "gain_row": gain_row, "gain": gain,
            "os_at": os_at, "os": os, "os_share": os_share,
            "attributes_at": attributes_at, "attributes": attributes,
        }  # fmt: skip

    def _shares(self, table: Mapping[str, float]) -> dict[int, float]:
        """Operating systems by number, adding up to 1."""
        counts: Counter[int] = Counter()
        for name, count in table.items():
            counts[self._system(name)] += count  # type: ignore[assignment]
        total = sum(counts.values())
        return {number: count / total for number, count in counts.items() if total}

    def _keys(self) -> Sections:
        encoded = [key.encode("utf-8", "surrogatepass") for _, key, _ in self._chosen]
        exact: list[tuple[int, int]] = []
        wire: list[tuple[int, int]] = []
        chains: dict[str, dict[str, list[int]]] = {"sorted": {}, "stable": {}}
        for number, (_, key, _) in enumerate(self._chosen):
            (wire if key.startswith("tls/(") else exact).append(
                (hash_of(encoded[number], SEED_STRING), number)
            )
            found = forms(key)
            chains["sorted"].setdefault(found["sorted"], []).append(number)
            chains["stable"].setdefault(found["stable"], []).append(number)
        out: Sections = {"key_at": _offsets(map(len, encoded)), "keys": b"".join(encoded)}
        for name, pairs in (("exact", exact), ("wire", wire)):
            out[f"{name}_hash"], out[f"{name}_value"] = table_of(pairs)
        for name, chain in chains.items():
            pairs = [(hash_of(form.encode(), SEED_STRING), each[0]) for form, each in chain.items()]
            out[f"{name}_hash"], out[f"{name}_value"] = table_of(pairs)
            following = array("I", [NONE]) * len(self._chosen)
            for each in chain.values():
                for one, two in pairwise(each):
                    following[one] = two
            out[f"{name}_next"] = following
        unlabelled = sorted(set().union(*(layer.database.unlabelled for layer in self._layers)))
        out["unlabelled_hash"], out["unlabelled_value"] = table_of(
            (hash_of(key.encode("utf-8", "surrogatepass"), SEED_STRING), 0) for key in unlabelled
        )
        return out

    def _likeness(self) -> Sections:
        vocabulary: dict[int, int] = {}
        known: dict[int, int] = {}
        posted: list[list[int]] = []
        flat, sizes = array("I"), []
        for number, (_, key, _) in enumerate(self._chosen):
            each = tokens(key)
            sizes.append(len(each))
            flat.extend(vocabulary.setdefault(token, len(vocabulary)) for token in each)
            for gram in dict.fromkeys(grams(key)) if each else ():
                at = known.setdefault(gram, len(known))
                if at == len(posted):
                    posted.append([])
                posted[at].append(number)
        self.vocabulary = len(vocabulary)
        token_hash, token_value = table_of(vocabulary.items())
        gram_hash, gram_value = table_of(known.items())
        return {
            "tokens_at": _offsets(sizes), "tokens": flat,
            "token_hash": token_hash, "token_value": token_value,
            "posted_at": _offsets(map(len, posted)),
            "posted": array("I", (number for each in posted for number in each)),
            "gram_hash": gram_hash, "gram_value": gram_value,
        }  # fmt: skip

    def _known_systems(self) -> Sections:
        known, shares = array("I"), array("f")
        sizes: list[int] = []
        tables: dict[str, list[tuple[int, int]]] = {"syn": [], "layout": [], "hello": []}

        def put(name: str, key: bytes, table: Mapping[str, float]) -> None:
            tables[name].append((hash_of(key, SEED_STRING), len(sizes)))
            found = self._shares(table)
            known.extend(found)
            shares.extend(found.values())
            sizes.append(len(found))

        for syn, table in self._systems.syns.items():
            put("syn", syn.encode(), table)
        for layout, counts in by_layout(self._systems).items():
            put("layout", layout, counts)
        for hello, table in self._systems.hellos.items():
            put("hello", hello.encode(), table)
        out: Sections = {"known_at": _offsets(sizes), "known": known, "known_share": shares}
        for name, pairs in tables.items():
            out[f"{name}_hash"], out[f"{name}_value"] = table_of(pairs)
        return out

    def _dates(self, suites: Mapping[int, int], extensions: Mapping[int, int]) -> Sections:
        earliest, latest = array("H"), array("H")
        for _, key, _ in self._chosen:
            months = [suites.get(suite, 0) for suite in forms(key)["suites"]]
            months += [extensions.get(kind, 0) for kind in forms(key)["extensions"]]
            dated = [month for month in months if month]
            earliest.append(min(dated, default=0))
            latest.append(max(dated, default=0))
        return {
            "earliest": earliest, "latest": latest,
            "suite_month": array("H", (suites.get(code, 0) for code in range(1 << 16))),
            "extension_month": array("H", (extensions.get(code, 0) for code in range(1 << 16))),
        }  # fmt: skip


def by_layout(systems: SystemTables) -> dict[bytes, Counter[str]]:
    """What the SYNs of one order of options were sent by, each SYN alike: how often says who, not what."""
    found: dict[bytes, Counter[str]] = {}
    for syn, table in systems.syns.items():
        counts = found.setdefault(layout_of(syn.encode()), Counter())
        for name, share in table.items():
            counts[name] += share  # type: ignore[assignment]
    return found


def compiled(
    layers: Sequence[Layer],
    tables: Tables,
    systems: SystemTables,
    months: tuple[Mapping[int, int], Mapping[int, int]],
    measured: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    version: str | None = None,
) -> bytes:
    """A knowledge file. ``measured``: its calibration, as fitting.py measures it; without, none."""
    compiler = Compiler(layers, tables, systems)
    sections = compiler.sections(months)
    names = list(dict.fromkeys(layer.name for layer in layers))
    found = measured or {"calibration": calibration.flat(), "retention": 1.0}
    meta = {
        "name": name or "+".join(names),
        "version": version or "+".join(layer.version for layer in layers),
        "layers": [
            {
                "name": layer.name, "version": layer.version, "licence": layer.licence,
                "model": layer.database.model, "newest": int(layer.last_day.timestamp()),
                "day": f"{layer.last_day:%Y-%m-%d}",
                # A database that says how its scores are made has them as they are made.
                "absolute": layer.database.model != "pmercury-0.5",
                "malware": layer.database.labelled_malware,
                "fingerprints": sum(len(entry.keys) for entry in layer.database.entries),
                "sessions": sum(entry.total for entry in layer.database.entries),
                "skipped": dict(layer.database.skipped), "normalised": dict(layer.database.normalised),
            }
            for layer in layers
        ],
        "threshold": THRESHOLD, "tokens": compiler.vocabulary,
        "systems": [list(system) for system in compiler.systems],
        "calibration": {"ends": calibration.ENDS, **found["calibration"]},
        "retention": {"process": found["retention"], "syn": systems.reliability["retained"]},
        "syn": {"exact": systems.reliability["exact"], "layout": systems.reliability["layout"]},
    }  # fmt: skip
    return packed(meta, sections)
