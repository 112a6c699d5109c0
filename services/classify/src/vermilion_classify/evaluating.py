"""How good answers are: accuracy, and whether a score means what it says.

Fingerprints are held out of a database: what is built from the rest, calibrated on the rest alone,
answers sessions drawn from them. A *fold* is a part of the fingerprints, or those first seen in one
month, answered from what was known before it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import NamedTuple

from vermilion_classify.compiling import Layer, SystemTables
from vermilion_classify.container import Container
from vermilion_classify.databases import Entry
from vermilion_classify.fitting import classes, same, same_system
from vermilion_classify.knowledge import Knowledge
from vermilion_classify.sessions import draw
from vermilion_classify.store import build
from vermilion_classify.tables import DestinationTables

FOLDS = 5
SESSIONS_EACH = 5
_BINS = 10


class Answer(NamedTuple):
    """One session: what was told of it with which score, and whether that was right.

    ``score`` is None where nothing was told; ``among``: right is one of the three best.
    """

    score: float | None
    right: bool
    among: bool
    weight: float = 1.0


class Bin(NamedTuple):
    """One line of a reliability table: scores from ``low`` on, up to a tenth more."""

    low: float
    share: float
    score: float
    right: float


@dataclass(frozen=True)
class Report:
    """What answers were worth.

    ``accuracy``, ``top3``, ``brier`` and ``error`` are of those that told something. ``error`` is the
    expected calibration error: how far score and rate of right answers are apart, bin by bin, weighted.
    """

    sessions: int
    answered: float
    accuracy: float
    top3: float
    error: float
    brier: float
    bins: tuple[Bin, ...]


def report(answers: Iterable[Answer]) -> Report:
    """Sum up answers."""
    found = list(answers)
    total = sum(answer.weight for answer in found)
    told = [(answer.score, answer) for answer in found if answer.score is not None]
    weight = sum(answer.weight for _, answer in told)
    if not weight:
        return Report(len(found), 0.0, 0.0, 0.0, 0.0, 0.0, ())

    def mean(value: Callable[[float, Answer], float]) -> float:
        return sum(answer.weight * value(score, answer) for score, answer in told) / weight

    bins = []
    for number in range(_BINS):
        part = [(s, a) for s, a in told if min(int(s * _BINS), _BINS - 1) == number]
        size = sum(answer.weight for _, answer in part)
        if size:
            score = sum(answer.weight * s for s, answer in part) / size
            right = sum(answer.weight * answer.right for _, answer in part) / size
            bins.append(Bin(number / _BINS, size / weight, score, right))
    return Report(
        sessions=len(found),
        answered=weight / total,
        accuracy=mean(lambda _, answer: answer.right),
        top3=mean(lambda _, answer: answer.among),
        error=sum(each.share * abs(each.score - each.right) for each in bins),
        brier=mean(lambda score, answer: (score - answer.right) ** 2),
        bins=tuple(bins),
    )


class Held(NamedTuple):
    """Sessions held out, as they were answered."""

    processes: list[Answer]
    systems: list[Answer]


def by_fingerprint(layer: Layer, random: Random, *, by_sessions: bool = False) -> Held:
    """Each fingerprint held out once. ``by_sessions``: it counts as often as it was seen, else once."""
    entries = list(layer.database.entries)
    random.shuffle(entries)
    held = Held([], [])
    for fold in range(FOLDS):
        out = entries[fold::FOLDS]
        rest = [entry for number, entry in enumerate(entries) if number % FOLDS != fold]
        _answer(layer, rest, out, random, held, by_sessions, layer.last_day)
    return held


def by_time(layer: Layer, random: Random, *, by_sessions: bool = False) -> Held:
    """Month by month, the fingerprints first seen in it, answered from those seen before it.

    It begins when half of all are known.
    """
    entries = sorted(layer.database.entries, key=lambda entry: entry.first_seen)
    begin = entries[len(entries) // 2].first_seen[:7] if entries else ""
    held = Held([], [])
    for month in sorted({entry.first_seen[:7] for entry in entries if entry.first_seen[:7] > begin}):
        rest = [entry for entry in entries if entry.first_seen[:7] < month]
        out = [entry for entry in entries if entry.first_seen[:7] == month]
        _answer(replace(layer, newest=f"{month}-01"), rest, out, random, held, by_sessions, None)
    return held


def _answer(
    layer: Layer,
    rest: list[Entry],
    out: list[Entry],
    random: Random,
    held: Held,
    by_sessions: bool,
    when: datetime | None,
) -> None:
    known = replace(layer, database=replace(layer.database, entries=rest, unlabelled=set()))
    data = build([known], DestinationTables(), SystemTables(), ({}, {}))
    knowledge = Knowledge(Container(memoryview(data), "a fold"))
    for entry in out:
        weight = float(entry.total) if by_sessions else 1.0
        time = when or datetime.fromisoformat(entry.first_seen).replace(tzinfo=UTC)
        for process, system in _sessions(knowledge, known, entry, int(time.timestamp() * 1e6), random):
            held.processes.append(process._replace(weight=weight))
            if system is not None:
                held.systems.append(system._replace(weight=weight))


def _sessions(
    knowledge: Knowledge, layer: Layer, entry: Entry, time: int, random: Random
) -> Iterator[tuple[Answer, Answer | None]]:
    for session in draw(entry, SESSIONS_EACH, random):
        found = knowledge.answer(session.fingerprint, classes(knowledge, session), time, alternatives=3)
        truth = layer.family(session.process)
        told = found["match"] != "none"
        yield (
            Answer(
                found["score"] if told else None,
                same(found["process"], truth),
                any(same(layer.family(each["process"]), truth) for each in found["probable_processes"]),
            ),
            None
            if session.system is None
            else Answer(
                found["os"][0]["score"] if found["os"] else None,
                bool(found["os"])
                and same_system((found["os"][0]["name"], found["os"][0]["family"]), session.system),
                any(same_system((each["name"], each["family"]), session.system) for each in found["os"][:3]),
            ),
        )
