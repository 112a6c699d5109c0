"""Weighted naive Bayes, by hand; destinations; and what is unknown."""

import math

import pytest
from classify.databases import FP, event, knowledge, row

from vermilion_classify.destinations import Domains, port_class
from vermilion_classify.stage import ClassifyStage, classify
from vermilion_pipeline.stage import Incoming

NEVER, RARELY = -18.42068, -4.60517


def analyse(rows: list[dict[str, object]], n: int = 0, **more: object) -> dict[str, object]:
    found = knowledge(rows, {"b.exe": "Family B"}).analyse(event(**more), n)  # type: ignore[arg-type]
    assert found is not None
    return dict(found)


def test_by_hand() -> None:
    rows = [
        row("a", 60, classes_ip_as={"64500:Example": 30}, classes_hostname_domains={"example.com": 1}),
        row("b.exe", 40, classes_ip_as={"64500:Example": 40}, classes_hostname_domains={"example.com": 20},
            classes_port_applications={"https": 40}),
    ]  # fmt: skip
    a = 3 * math.log(0.6) + math.log(0.5) + math.log(1 / 60) + NEVER
    b = 3 * math.log(0.4) + math.log(1.0) + math.log(0.5) + math.log(1.0)
    score = math.exp(b) / (math.exp(a) + math.exp(b))
    found = analyse(rows, 1)
    assert found["process"] == "Family B"
    assert found["score"] == pytest.approx(score, abs=1e-12)
    assert found["match"] == "exact"
    assert found["probable_processes"] == [{"process": "b.exe", "score": found["score"], "sha256": "B.EXE"}]
    assert found["knowledge"] == {"name": "test", "version": "1"}


def test_bounds() -> None:
    """A class seen in fewer than 1 % counts as 1 %; a process of 1e-9 counts as 1e-8."""
    rows = [row("a", 10**9, classes_ip_as={"64500:Example": 1}), row("b", 1)]
    a = 0.0 + RARELY + 2 * NEVER
    b = 3 * NEVER + 3 * NEVER
    found = analyse(rows)
    assert found["score"] == pytest.approx(math.exp(a) / (math.exp(a) + math.exp(b)), abs=1e-12)


def test_equal_processes_keep_the_databases_order() -> None:
    rows = [row(name, 5) for name in ("first", "second", "third")]
    found = analyse(rows, 9)
    assert [item["process"] for item in found["probable_processes"]] == ["first", "second", "third"]  # type: ignore[attr-defined]
    assert found["score"] == pytest.approx(1 / 3)


def test_unknown_is_unknown() -> None:
    found = analyse([row("a", 1)], fingerprint="(0303)(1301)()")
    assert (found["process"], found["score"], found["match"]) == ("Unknown", 0.0, "none")


def test_unknown_stays_unknown_on_second_sight() -> None:
    known = knowledge([row("a", 1)])
    first, second = (known.analyse(event("(0303)(1301)()")) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("www.example.com", "example.com"),
        ("example.com", "example.com"),
        ("localhost", "localhost"),
        ("a.b.co.uk", "b.co.uk"),
        ("co.uk", "co.uk"),
        ("x.y.github.io", "y.github.io"),
        ("WWW.CO.UK", "CO.UK"),
        (None, "None"),
        ("", ""),
        (".", "."),
    ],
)
def test_domains(name: str | None, domain: str) -> None:
    assert Domains(frozenset({"co.uk", "github.io"})).domain(name) == domain


def test_ports() -> None:
    assert [port_class(port) for port in (443, 8443, 9001, 993, 80)] == [
        "https",
        "alt-https",
        "tor",
        "email",
        "unknown",
    ]


def test_addresses_without_an_as() -> None:
    rows = [row("a", 5, classes_ip_as={"unknown": 5}), row("b", 5)]
    assert analyse(rows, ip="2001:db8::1")["process"] == "a"
    assert analyse(rows, ip="10.0.0.1")["process"] == "a"


def test_the_stage_answers_rejects_and_counts() -> None:
    stage = ClassifyStage(knowledge([row("a", 1)]))
    good, bad, other = event(), event(ip="no address"), {**event(), "type": "http", "tls": None}
    batch = [Incoming(i, b"k", item) for i, item in enumerate([good, bad, other])]
    handled = stage.task().handle(batch)
    assert [
        output.record["analysis"] and output.record["analysis"]["process"] for output in handled.outputs
    ] == ["a", None]
    assert [offset for offset, _ in handled.rejected] == [1]
    assert handled.counts == {("answers", "exact"): 1}
    assert classify(good, None)["analysis"] is None
    assert FP in good["fingerprints"].values()
