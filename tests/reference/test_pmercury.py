"""Against what the peer really wrote for the same captures.

The recorded outputs are not part of the project; where the folder beside it is absent, these
tests skip.
"""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from vermilion import scan
from vermilion.events import scan_json
from vermilion_classify.knowledge import load
from vermilion_classify.sources import sources

DATA = Path(__file__).parents[3] / "shared" / "data"
NAME = "mercury_top_100_fingerprints"

pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(not DATA.is_dir(), reason="the peers' recorded outputs are not here (../shared/data)"),
]


def golden(variant: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / "golden/pmercury-0.2.1.3" / variant / f"{NAME}.jsonl.gz", "rt") as file:
        return [event for line in file if "tls" in (event := json.loads(line))["fingerprints"]]


def scanned(alternatives: int) -> list[dict[str, Any]]:
    knowledge = load(sources()[0])
    found = scan(DATA / "pcaps" / f"{NAME}.pcap", knowledge, alternatives=alternatives, types={"tls"})
    return [json.loads(scan_json(event)) for event in found]


def difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str | None:
    """The kind of difference between two answers; None when there is none."""
    if ours["fingerprints"]["tls"] != theirs["fingerprints"]["tls"]:
        return "fingerprint"
    if ours.get("tls") != theirs.get("tls"):
        return "context"
    one, two = ours["analysis"], theirs["analysis"]
    if one["match"] == "none":
        # Behaviour reference 9.2: the peer's approximate match is degenerate, and names with
        # certainty what it has never seen. Ours says that it does not know.
        assert (one["process"], one["score"]) == ("Unknown", 0.0)
        return "9.2 approximate match"
    lists = [
        [
            (item["process"], item["sha256"], pytest.approx(item["score"], abs=1e-9))
            for item in each.get("probable_processes", [])
        ]
        for each in (two, one)
    ]
    same = (
        one["process"] == two["process"]
        and abs(one["score"] - two["score"]) < 1e-9
        and lists[0] == [(name, digest, score.expected) for name, digest, score in lists[1]]
    )
    return None if same else "answer"


@pytest.mark.parametrize(("variant", "alternatives"), [("a", 0), ("a_n5", 5)])
def test_every_event_and_every_exact_answer(variant: str, alternatives: int) -> None:
    ours, theirs = scanned(alternatives), golden(variant)
    assert len(ours) == len(theirs) == 100
    key = ("src_ip", "src_port", "dst_ip", "dst_port", "protocol")
    for one, two in zip(ours, theirs, strict=True):
        assert [one[name] for name in key] == [two[name] for name in key]
        assert one["event_start"] == pytest.approx(two["event_start"], abs=1e-6)
    kinds = Counter(difference(one, two) for one, two in zip(ours, theirs, strict=True))
    assert kinds == {None: 88, "9.2 approximate match": 12}
