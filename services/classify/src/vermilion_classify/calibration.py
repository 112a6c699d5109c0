"""Scores that mean what they say: how often an answer of a given share has been right.

A share is what the weighing gives the best answer among what is known. What it is worth is
measured on fingerprints that were held out: sessions are drawn from them, answered without them,
and compared with what they were. For each *band* (how the match was found, and how near it was)
the measured rate of right answers rises with the share: a monotone regression (pool adjacent
violators), drawn towards the curve of all bands together where there is little to measure.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

KNOTS = 21
ENDS = (0.0, 0.0, 0.0, 0.02, 0.04, 0.08, 0.15, 0.3, 1.0)
"""The greatest distance of each band: exact, sorted, stable, and six of approximate."""

# Answers that a band borrows from the curve of all, in each of its bins.
_BORROWED = 30.0
_BINS = 20


class Answered(NamedTuple):
    """One held-out session: the band of its answer, the answer's share, whether it was right."""

    band: int
    share: float
    right: bool


def curves(answered: Iterable[Answered]) -> list[list[float]]:
    """For each band, what a share of 0, 1/20, ... 1 is worth."""
    each: list[list[Answered]] = [[] for _ in ENDS]
    for answer in answered:
        each[answer.band].append(answer)
    whole = _curve([answer for band in each for answer in band], None)
    return [_curve(band, whole) for band in each]


def _curve(answers: Sequence[Answered], whole: Sequence[float] | None) -> list[float]:
    """A rising curve through bins of equal number."""
    bins: list[tuple[float, float, float]] = []  # (share, rate, weight)
    for part in _binned(answers):
        share = sum(answer.share for answer in part) / len(part)
        right = float(sum(answer.right for answer in part))
        weight = float(len(part))
        if whole is not None:
            right += _BORROWED * at(whole, share)
            weight += _BORROWED
        bins.append((share, right / weight, weight))
    if not bins:
        return list(whole) if whole is not None else [knot / (KNOTS - 1) for knot in range(KNOTS)]
    return _sampled(_rising(bins))


def _binned(answers: Sequence[Answered]) -> Iterator[list[Answered]]:
    """Some _BINS parts by share; answers of one share, such as 1, are never in two of them."""
    part: list[Answered] = []
    for answer in sorted(answers, key=lambda answer: answer.share):
        if len(part) * _BINS >= len(answers) and answer.share > part[-1].share:
            yield part
            part = []
        part.append(answer)
    if part:
        yield part


def _rising(bins: Iterable[tuple[float, float, float]]) -> list[tuple[float, float]]:
    """Pool adjacent violators: neighbours that fall become one at their mean."""
    pooled: list[tuple[list[float], float, float]] = []  # (shares, rate, weight)
    for share, rate, weight in bins:
        pooled.append(([share], rate, weight))
        while len(pooled) > 1 and pooled[-2][1] > pooled[-1][1]:
            (shares, rate1, weight1), (more, rate2, weight2) = pooled[-2:]
            both = weight1 + weight2
            pooled[-2:] = [([*shares, *more], (rate1 * weight1 + rate2 * weight2) / both, both)]
    return [(share, rate) for shares, rate, _ in pooled for share in shares]


def _sampled(points: Sequence[tuple[float, float]]) -> list[float]:
    """A curve through points, at the knots; level beyond the outermost, but 0 is worth nothing."""
    found = []
    for knot in range(KNOTS):
        share = knot / (KNOTS - 1)
        left = [point for point in points if point[0] <= share]
        right = [point for point in points if point[0] > share]
        if not left:
            found.append(right[0][1] * share / right[0][0] if right[0][0] else 0.0)
        elif not right or right[0][0] == left[-1][0]:
            found.append(left[-1][1])
        else:
            (x0, y0), (x1, y1) = left[-1], right[0]
            found.append(y0 + (share - x0) / (x1 - x0) * (y1 - y0))
    return [min(1.0, max(0.0, value)) for value in found]


def at(curve: Sequence[float], share: float) -> float:
    """A curve's value between its knots."""
    place = min(max(share, 0.0), 1.0) * (KNOTS - 1)
    low = min(int(place), KNOTS - 2)
    return curve[low] + (place - low) * (curve[low + 1] - curve[low])


def flat() -> dict[str, list[list[float]]]:
    """No measurement: a share is worth itself."""
    line = [knot / (KNOTS - 1) for knot in range(KNOTS)]
    return {"process": [line] * len(ENDS), "system": [line] * len(ENDS)}
