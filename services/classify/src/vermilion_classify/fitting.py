"""What a knowledge file's answers have shown to be worth, measured on what it was built from."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from math import exp, log
from random import Random
from typing import Any

from vermilion_classify import calibration
from vermilion_classify.calibration import Answered
from vermilion_classify.compiling import Layer, SystemTables, by_layout, day
from vermilion_classify.knowledge import Knowledge
from vermilion_classify.operating_systems import normal
from vermilion_classify.sessions import Session, draw
from vermilion_classify.systems import FAMILY_NAMES, layout_of
from vermilion_classify.weights import system_number

SEED = 20260101
_SESSIONS_EACH = 5
_FINGERPRINTS = 6000
# The least that a yearly rate is drawn from: below, a year is too far to tell from it.
_LEAST_YEARS = 0.25


def measured(knowledge: Knowledge, layers: Sequence[Layer]) -> dict[str, Any]:
    """The calibration and the yearly retention of ``knowledge``, which was compiled from ``layers``.

    Each fingerprint is held out in turn: sessions drawn from it are answered from what was known before the
    day on which it was first seen, as they would have been then.
    """
    random = Random(SEED)  # noqa: S311 (sessions to measure by, no secrets)
    processes, systems = [], []
    for layer, session, entry, before in _held_out(knowledge, layers, random):
        asked = classes(knowledge, session)
        match, _, band, found, oses = knowledge.raw(session.fingerprint, asked, entry, before)
        if match == "none":
            continue
        processes.append(Answered(band, found[0][1], same(found[0][0], layer.family(session.process))))
        if session.system is not None and oses:
            systems.append(Answered(band, oses[0][2], same_system(oses[0][:2], session.system)))
    drifted, retention = _drift(knowledge, layers, random)
    return {
        "calibration": {
            "process": calibration.curves([*processes, *drifted]),
            "system": calibration.curves(systems),
        },
        "retention": retention,
    }


def classes(knowledge: Knowledge, session: Session) -> Any:
    """A session's destination, as its database tells it."""
    number = system_number(session.as_class or "unknown", {}) or 0
    return knowledge.classes(number, session.domain, session.port)


def same(one: str, two: str) -> bool:
    """Whether two names of processes are one; the databases differ in case."""
    return one.lower() == two.lower()


def same_system(told: tuple[str, str], truth: str) -> bool:
    """Whether (name, family) is right: the release that it was, or its family where no more is told."""
    real = normal(truth)
    return told[1] == real.family and told[0] in (real.name, FAMILY_NAMES.get(told[1], told[1]))


def _held_out(
    knowledge: Knowledge, layers: Sequence[Layer], random: Random
) -> Iterator[tuple[Layer, Session, int, int | None]]:
    """Sessions, the entry each is of, and the day before which what answers it was known; None: any.

    Of fingerprints alike, however often they were seen; but for the first third, which had no past to
    be told from. Those whose day is not told are answered from all the others.
    """
    entries = [
        (layer, entry, number)
        for layer in layers
        for entry in layer.database.entries
        if (number := knowledge.entry_of(entry.keys[0])) is not None
        and layers[knowledge.layer_of(number)] is layer
    ]
    random.shuffle(entries)
    days = sorted(day(entry.first_seen) for _, entry, _ in entries)
    begin = days[len(days) // 3] if days else 0
    for layer, entry, number in entries[:_FINGERPRINTS]:
        first = day(entry.first_seen)
        if first > begin or not first:
            for session in draw(entry, _SESSIONS_EACH, random):
                yield layer, session, number, first or None


def _drift(knowledge: Knowledge, layers: Sequence[Layer], random: Random) -> tuple[list[Answered], float]:
    """How older knowledge answers the sessions of newer layers: each answer, and what a year leaves.

    With one layer there is nothing to compare, and nothing is known of what a year leaves.
    """
    answered: list[Answered] = []
    decay = years = 0.0
    for old in layers:
        for new in layers:
            span = (new.last_day - old.last_day) / timedelta(days=365.25)
            if span < _LEAST_YEARS:
                continue
            then, now = _rates(knowledge, layers, old, new, random, answered)
            if then and now:
                decay, years = decay + log(now / then), years + span
    return answered, min(1.0, exp(decay / years)) if years else 1.0


def _rates(
    knowledge: Knowledge, layers: Sequence[Layer], old: Layer, new: Layer, random: Random, out: list[Answered]
) -> tuple[float, float]:
    """How often old answers are right on the old sessions and on the new, of fingerprints in both."""
    by_key = {key: entry for entry in old.database.entries for key in entry.keys}
    right: Counter[str] = Counter()
    total = 0
    for entry in new.database.entries:
        before = by_key.get(entry.keys[0])
        number = knowledge.entry_of(entry.keys[0])
        if before is None or number is None or layers[knowledge.layer_of(number)] is not old:
            continue
        total += 1
        for name, layer, drawn in (("then", old, before), ("now", new, entry)):
            (session,) = draw(drawn, 1, random)
            _, _, _, found, _ = knowledge.raw(session.fingerprint, classes(knowledge, session))
            hit = same(_told(found[0][0], new), _told(layer.family(session.process), new))
            right[name] += hit
            if name == "now":
                out.append(Answered(0, found[0][1], hit))
    return (right["then"] / total, right["now"] / total) if total else (0.0, 0.0)


def _told(process: str, layer: Layer) -> str:
    """A name as a newer layer's families tell it, so that two layers' names can be compared."""
    return layer.family(process)


def reliability(
    tables: SystemTables, before: Mapping[str, Mapping[str, float]], years: float
) -> dict[str, float]:
    """How far a SYN's word on the family can be believed.

    ``layout``: each SYN in turn is told by the others of its layout. ``exact``: by its own row.
    ``retained``: what a year leaves, from how an older table (``before``) tells this one's.
    """
    layouts = {layout: _families(table) for layout, table in by_layout(tables).items()}
    own = {syn: families for syn, table in tables.syns.items() if (families := _families(table)).total()}
    others = {syn: layouts[layout_of(syn.encode())] - families for syn, families in own.items()}
    return {
        "exact": _mean(max(families.values()) / families.total() for families in own.values()),
        "layout": _mean(_right(others[syn], own[syn]) for syn in own if others[syn].total()),
        "retained": _retained(own, before) ** (1.0 / years) if before and years else 1.0,
    }


def _retained(own: Mapping[str, Counter[str]], before: Mapping[str, Mapping[str, float]]) -> float:
    """How often the older table's word is right on the newer's, beside the newer's own."""
    both = {syn: old for syn in own if syn in before and (old := _families(before[syn])).total()}
    kept = _mean(_right(old, own[syn]) for syn, old in both.items())
    best = _mean(_right(own[syn], own[syn]) for syn in both)
    return min(1.0, kept / best) if best else 1.0


def _right(told: Counter[str], truth: Counter[str]) -> float:
    """How much of the truth the likeliest family of what is told has."""
    return truth[told.most_common(1)[0][0]] / truth.total()


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0


def _families(table: Mapping[str, float]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for name, share in table.items():
        counts[normal(name).family] += share  # type: ignore[assignment]
    return counts
