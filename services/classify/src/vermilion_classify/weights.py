"""What speaks for a process: the rules that databases were made to be weighed by, as sums.

A rule gives each process a base and, for each class of destination that it was seen with, a gain.
The sums are logarithms; docs/inference.md derives them.
"""

from collections.abc import Callable, Iterator, Mapping
from math import log
from typing import Any, NamedTuple

from vermilion_classify.index import hash_of, hash_of_number

# Seeds of hashing.pxd: as what a key is filed.
SEED_STRING, SEED_SYSTEM, SEED_DOMAIN, SEED_PORT_CLASS, SEED_NAME = 1, 2, 3, 4, 5
SEED_ADDRESS, SEED_PORT, SEED_SUFFIX = 6, 7, 8

MODELS = ("pmercury-0.2", "pmercury-0.5", "mercury")
"""The rules by name; a rule's number in a knowledge file is its place here."""

# Bounds of pmercury 0.2 as its makers had them, decimals included: scores must agree to 1e-9.
_NEVER = -18.42068
_RARELY = -4.60517
_PRIOR_WEIGHT = 3.0

_WEIGHTS = {"as": 0.13924, "domain": 0.15590, "port": 0.00528, "ip": 0.56735, "sni": 0.96941, "ua": 1.0}


class Gain(NamedTuple):
    """What a class of destination adds to a process (its number in the entry)."""

    key: int
    row: int
    value: float


SystemName = Callable[[str], int | None]
"""From an AS as a database has it to its number; None for one that no destination can be in."""


def system_number(text: str, names: Mapping[str, str]) -> int | None:
    """``64500`` of ``64500`` and of ``64500:Example``, 0 of ``unknown``.

    A name with it must be the one in ``names``, unless that is empty: the look-up gives no other.
    """
    if text == "unknown":
        return 0
    number, colon, _ = text.partition(":")
    if colon and names and names.get(number) != text:
        return None
    return int(number) if number.isdecimal() and int(number) < 1 << 32 else None


def weigh(
    model: str,
    total: int,
    rows: list[dict[str, Any]],
    weights: Mapping[str, float] | None,
    system: SystemName,
) -> tuple[list[float], list[Gain]]:
    """The bases of an entry's processes, and their gains."""
    if model == "pmercury-0.2":
        return _pmercury_02(total, rows, system)
    return _additive(model, total, rows, weights or _WEIGHTS, system)


def _pmercury_02(
    total: int, rows: list[dict[str, Any]], system: SystemName
) -> tuple[list[float], list[Gain]]:
    """3 ln(c/T), and ln(n/c) for AS, domain and kind of port; what was never seen counts as 1e-8."""
    bases = [_PRIOR_WEIGHT * max(log(row["count"] / total), _NEVER) + 3 * _NEVER for row in rows]
    gains = [
        Gain(key, number, max(log(seen / row["count"]), _RARELY) - _NEVER)
        for number, row in enumerate(rows)
        for key, _, seen in _classes(row, ("as", "domain", "port_class"), system)
    ]
    return bases, gains


def _additive(
    model: str, total: int, rows: list[dict[str, Any]], weights: Mapping[str, float], system: SystemName
) -> tuple[list[float], list[Gain]]:
    """ln(c/T), at least ln 0.1, and for each class w (ln(n/T) - ln(b/T)), b being 0.1 or, before, 1.

    What was never seen with a class is the same for each process of a fingerprint, and cancels.
    """
    mercury = model == "mercury"
    never = log((0.1 if mercury else 1.0) / total)
    kinds = ("as", "domain", "sni", "ip", "port") if mercury else ("as", "domain", "port_class")
    bases = [max(log(row["count"] / total), log(0.1)) for row in rows]
    gains = [
        Gain(key, number, weights["port" if kind == "port_class" else kind] * (log(seen / total) - never))
        for number, row in enumerate(rows)
        for key, kind, seen in _classes(row, kinds, system)
    ]
    return bases, gains


_FIELDS = {
    "as": "classes_ip_as",
    "domain": "classes_hostname_domains",
    "port_class": "classes_port_applications",
    "sni": "classes_hostname_sni",
    "ip": "classes_ip_ip",
    "port": "classes_port_port",
}
_SEEDS = {"domain": SEED_DOMAIN, "port_class": SEED_PORT_CLASS, "sni": SEED_NAME, "ip": SEED_ADDRESS}


def _classes(
    row: dict[str, Any], kinds: tuple[str, ...], system: SystemName
) -> Iterator[tuple[int, str, int]]:
    """(key, kind, how often) of each class of destination that a process was seen with."""
    for kind in kinds:
        for value, seen in (row.get(_FIELDS[kind]) or {}).items():
            if kind == "as":
                number = system(value)
                if number is not None:
                    yield hash_of_number(number, SEED_SYSTEM), kind, seen
            elif kind == "port":
                if value.isdecimal():
                    yield hash_of_number(int(value), SEED_PORT), kind, seen
            else:
                yield hash_of(value.encode("utf-8", "surrogatepass"), _SEEDS[kind]), kind, seen
