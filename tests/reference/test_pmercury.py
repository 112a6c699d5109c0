"""Answers, against what the peer really wrote for the same captures.

The recorded outputs are not part of the project; where the folder beside it is absent, these
tests skip.
"""

import gzip
import json
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from reference.goldens import CAPTURES, PMERCURY, needs_reference, with_grease_versions

from vermilion import scan
from vermilion.events import scan_json
from vermilion_classify.knowledge import Knowledge
from vermilion_classify.store import load

pytestmark = [pytest.mark.reference, needs_reference]

LIKENESS = "9.2: what the peer takes for similar is the first digits of what it compares"
UNKNOWN = "9.5: the peer scores an unknown fingerprint 0, and 1 from its second sight on"
GREASE = "9.1: the peer leaves GREASE versions as sent, and misses its own database"
SAME = "the same process, score and list"


def golden(capture: Path, variant: str) -> list[dict[str, Any]]:
    path = PMERCURY / variant / f"{capture.stem}.jsonl.gz"
    if not path.exists():
        return []
    with gzip.open(path, "rt") as file:
        return [event for line in file if "tls" in (event := json.loads(line))["fingerprints"]]


@cache
def knowledge() -> Knowledge:
    return load()


@cache
def databases_keys() -> frozenset[str]:
    known = knowledge()
    return frozenset(known.key(entry) for entry in range(known.entries) if known.layer_of(entry) == 0)


def scanned(capture: Path, alternatives: int) -> list[dict[str, Any]]:
    found = scan(capture, knowledge(), alternatives=alternatives, types={"tls"})
    return [json.loads(scan_json(event)) for event in found]


def kind(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """The kind of a difference between two answers to one hello. Fails for one that has none."""
    one, two = ours["analysis"], theirs["analysis"]
    if one["match"] != "exact":
        assert ours["fingerprints"]["tls"] not in databases_keys()
        if two["process"] == "Unknown":
            return UNKNOWN
        return LIKENESS
    if ours["fingerprints"]["tls"] != theirs["fingerprints"]["tls"]:
        return GREASE
    assert one["layer"] == "pmercury 0.2.1.3"
    lists = [
        [(item["process"], item["sha256"], item["score"]) for item in each.get("probable_processes", [])]
        for each in (one, two)
    ]
    assert (one["process"], len(lists[0])) == (two["process"], len(lists[1]))
    assert one["score"] == pytest.approx(two["score"], abs=1e-9)
    for mine, their in zip(*lists, strict=True):
        assert mine == (*their[:2], pytest.approx(their[2], abs=1e-9))
    return SAME


@pytest.mark.parametrize(("variant", "alternatives"), [("a", 0), ("a_n5", 5)])
def test_every_answer_of_all_captures(variant: str, alternatives: int) -> None:
    kinds: Counter[str] = Counter()
    for capture in CAPTURES:
        ours = defaultdict(list)
        for event in scanned(capture, alternatives):
            where = tuple(event[name] for name in ("src_ip", "src_port", "dst_ip", "dst_port"))
            ours[where, event["fingerprints"]["tls"]].append(event)
        for event in golden(capture, variant):
            where = tuple(event[name] for name in ("src_ip", "src_port", "dst_ip", "dst_port"))
            mine = ours[where, with_grease_versions(event["fingerprints"]["tls"])]
            if mine:  # else: a difference of the fingerprint, which test_goldens.py has
                kinds[kind(mine[0], event)] += 1
    assert kinds == {SAME: 93, GREASE: 15, LIKENESS: 14, UNKNOWN: 21}


@pytest.mark.parametrize(("variant", "alternatives"), [("a", 0), ("a_n5", 5)])
def test_every_event_and_every_exact_answer_of_the_hundred(variant: str, alternatives: int) -> None:
    (capture,) = (path for path in CAPTURES if path.stem == "mercury_top_100_fingerprints")
    ours, theirs = scanned(capture, alternatives), golden(capture, variant)
    assert len(ours) == len(theirs) == 100
    key = ("src_ip", "src_port", "dst_ip", "dst_port", "protocol")
    for one, two in zip(ours, theirs, strict=True):
        assert [one[name] for name in key] == [two[name] for name in key]
        assert one["event_start"] == pytest.approx(two["event_start"], abs=1e-6)
        assert one["fingerprints"] == two["fingerprints"]
        assert one.get("tls") == two.get("tls")
    kinds = Counter(kind(one, two) for one, two in zip(ours, theirs, strict=True))
    assert kinds == {SAME: 88, LIKENESS: 12}
