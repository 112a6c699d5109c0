"""Sessions drawn from a database: what a sensor would have seen, with the truth beside it."""

from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from vermilion_classify.databases import Entry


class Session(NamedTuple):
    """One connection as a database counted it; ``system`` is as the database spells it.

    Its destination is given as classes (number of the AS, domain, kind of port), each None when the
    database does not tell.
    """

    fingerprint: str
    process: str
    system: str | None
    as_class: str | None
    domain: str | None
    port: str | None


def draw(entry: Entry, count: int, random: Random) -> Iterator[Session]:
    """Sessions of one fingerprint: processes by their counts, then a destination of the process."""
    weights = [row["count"] for row in entry.rows]
    for row in random.choices(entry.rows, weights, k=count):
        yield Session(
            entry.keys[0],
            row["process"],
            _one(row.get("os_info"), random, 0),
            _one(row.get("classes_ip_as"), random, row["count"]),
            _one(row.get("classes_hostname_domains"), random, row["count"]),
            _one(row.get("classes_port_applications"), random, row["count"]),
        )


def _one(table: dict[str, Any] | None, random: Random, count: int) -> str | None:
    """One of a table by its counts; None for what the table leaves out of ``count``."""
    if not table:
        return None
    told = sum(table.values())
    if random.random() * max(told, count) >= told:
        return None
    return random.choices(list(table), list(table.values()))[0]
