"""Weighted naive Bayes, by hand: pmercury's rule and mercury's; malware; destinations."""

import math
from pathlib import Path
from typing import Any

import pytest
from classify.databases import FP, database, event, knowledge, line, opened, row

from vermilion_classify.compiling import Layer
from vermilion_classify.reloading import Fixed
from vermilion_classify.stage import ClassifyStage, classify
from vermilion_pipeline.stage import Incoming

NEVER, RARELY = -18.42068, -4.60517
DAY = 86_400_000_000


@pytest.fixture
def analyse(tmp_path: Path) -> Any:
    def run(rows: list[dict[str, object]], n: int = 0, **more: object) -> dict[str, Any]:
        found = knowledge(tmp_path, rows, {"b.exe": "Family B"}).analyse(event(**more), n)  # type: ignore[arg-type]
        assert found is not None
        return dict(found)

    return run


def test_by_hand(analyse: Any) -> None:
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
    assert (found["match"], found["status"], found["distance"]) == ("exact", "labelled", None)
    assert found["probable_processes"] == [
        {"process": "b.exe", "score": found["score"], "sha256": "B.EXE", "malware": None}
    ]
    assert found["knowledge"] == {"name": "test", "version": "1"}
    assert found["layer"] == "test 1"


def test_bounds(analyse: Any) -> None:
    """A class seen in fewer than 1 % counts as 1 %; a process of 1e-9 counts as 1e-8."""
    rows = [row("a", 10**9, classes_ip_as={"64500:Example": 1}), row("b", 1)]
    a = 0.0 + RARELY + 2 * NEVER
    b = 3 * NEVER + 3 * NEVER
    found = analyse(rows)
    assert found["score"] == pytest.approx(math.exp(a) / (math.exp(a) + math.exp(b)), abs=1e-12)


def test_each_bound_where_it_decides(analyse: Any) -> None:
    """A class seen in 1 of 1,000; one never seen, against a rare process; one of 1e-9 that fits wholly."""
    seen = [row("a", 1000, classes_ip_as={"64500:Example": 1}),
            row("b", 1000, classes_ip_as={"64500:Example": 500})]  # fmt: skip
    assert analyse(seen)["score"] == pytest.approx(0.5 / (0.5 + math.exp(RARELY)), abs=1e-12)
    rare = [row("a", 999), row("b", 1, classes_ip_as={"64500:Example": 1})]
    a, b = 3 * math.log(0.999) + NEVER, 3 * math.log(0.001)
    assert analyse(rare)["score"] == pytest.approx(math.exp(a) / (math.exp(a) + math.exp(b)), abs=1e-12)
    fits = {
        "classes_ip_as": {"64500:Example": 1}, "classes_hostname_domains": {"example.com": 1},
        "classes_port_applications": {"https": 1},
    }  # fmt: skip
    assert analyse([row("a", 10**9), row("b", 1, **fits)])["score"] == pytest.approx(0.5, abs=1e-6)


def test_equal_processes_keep_the_databases_order(analyse: Any) -> None:
    rows = [row(name, 5) for name in ("first", "second", "third")]
    found = analyse(rows, 9)
    assert [item["process"] for item in found["probable_processes"]] == ["first", "second", "third"]
    assert found["score"] == pytest.approx(1 / 3)


def test_unknown_is_unknown(analyse: Any) -> None:
    found = analyse([row("a", 1)], fingerprint="(0301)(0005000a)()")
    assert (found["process"], found["score"], found["match"]) == ("Unknown", 0.0, "none")
    assert found["status"] == "never_seen"
    assert analyse([row("a", 1)], fingerprint="no fingerprint at all")["match"] == "none"


def test_unknown_stays_unknown_on_second_sight(tmp_path: Path) -> None:
    known = knowledge(tmp_path, [row("a", 1)])
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
        ("1.2.3.4.5.6.7.8.co.uk", "8.co.uk"),
        ("WWW.CO.UK", "CO.UK"),
        ("", ""),
        (".", "."),
        (None, "None"),
    ],
)
def test_domains(analyse: Any, name: str | None, domain: str) -> None:
    rows = [row("other", 9), row("there", 1, classes_hostname_domains={domain: 1})]
    assert analyse(rows, server_name=name)["process"] == "there"
    assert analyse(rows, server_name="www.example.net")["process"] == "other"


@pytest.mark.parametrize(
    ("port", "kind"), [(443, "https"), (8443, "alt-https"), (9001, "tor"), (993, "email"), (80, "unknown")]
)
def test_ports(analyse: Any, port: int, kind: str) -> None:
    rows = [row("other", 9), row("there", 1, classes_port_applications={kind: 1})]
    assert analyse(rows, port=port)["process"] == "there"
    assert analyse(rows, port=22)["process"] == ("there" if kind == "unknown" else "other")


@pytest.mark.parametrize(
    ("address", "system"),
    [
        ("198.51.100.7", "64500:Example"),
        ("198.51.100.200", "64501:Other"),  # the longest prefix
        ("198.51.101.1", "unknown"),
        ("203.0.113.1", "unknown"),  # an AS without a name
        ("2001:db8::1", "unknown"),  # the table of then has no IPv6
        ("10.0.0.1", "unknown"),
    ],
)
def test_systems_of_then(analyse: Any, address: str, system: str) -> None:
    rows = [row("other", 9), row("there", 1, classes_ip_as={system: 1})]
    assert analyse(rows, ip=address)["process"] == "there"


def test_a_system_by_another_name_is_never_met(analyse: Any) -> None:
    rows = [row("other", 9), row("there", 1, classes_ip_as={"64500:Renamed": 1})]
    assert analyse(rows)["process"] == "other"


MERCURYS: dict[str, dict[str, int]] = {
    "classes_ip_as": {}, "classes_hostname_domains": {}, "classes_hostname_sni": {}, "classes_ip_ip": {},
    "classes_port_port": {},
}  # fmt: skip


def test_mercurys_weights_by_hand(tmp_path: Path) -> None:
    weights = {"as": 0.5, "domain": 0.25, "port": 0.125, "ip": 1.0, "sni": 2.0, "ua": 1.0}
    rows = [
        row("a", 60, **{**MERCURYS, "classes_ip_as": {"64500": 20}, "classes_port_port": {"443": 60}}),
        row("b", 40, **{**MERCURYS, "classes_hostname_sni": {"www.example.com": 10},
                        "classes_hostname_domains": {"example.com": 30},
                        "classes_ip_ip": {"2001:db8::7": 5}}),
    ]  # fmt: skip
    found = opened(
        [
            Layer(
                "mine", "1", database(tmp_path, [line(rows, "tls/1/(0303)(c02f)[]", feature_weights=weights)])
            )
        ]
    )
    answer = found.analyse(event(ip="2001:db8::7"))
    assert answer is not None
    never = math.log(0.1 / 100)
    a = math.log(0.6) + 0.5 * (math.log(0.2) - never) + 0.125 * (math.log(0.6) - never)
    b = math.log(0.4) + 2 * (math.log(0.1) - never) + 0.25 * (math.log(0.3) - never)
    b += math.log(0.05) - never
    assert answer["process"] == "b"
    assert answer["match"] == "sorted"
    raw = found.raw(FP, found.classes(64500, "example.com", "https"))
    assert raw[0] == "sorted"
    assert math.exp(b) / (math.exp(a) + math.exp(b)) == pytest.approx(answer["score"], abs=1e-9)


@pytest.mark.parametrize("key", ["tls/(0303)(c02f)()", "(0303)(c02f)()"])
def test_mercurys_keys_as_sent_are_exact(tmp_path: Path, key: str) -> None:
    rows = [row("a", 3, **MERCURYS), row("b", 1, **MERCURYS)]
    found = opened([Layer("mine", "1", database(tmp_path, [{**line(rows, key), "fp_type": "tls"}]))])
    answer = found.analyse(event())
    assert answer is not None
    assert (answer["match"], answer["process"]) == ("exact", "a")
    assert answer["score"] == pytest.approx(0.75)


def test_malware_by_hand(tmp_path: Path) -> None:
    rows = [
        row("updater", 50, malware=False, classes_ip_as={"64500:Example": 50}),
        row("dropper", 30, malware=True, attributes={"evasive_vpn": True, "other": False}),
        row("miner", 20, malware=1),
    ]
    answer = knowledge(tmp_path, rows).analyse(event(ip="203.0.113.9"), 3)
    assert answer is not None
    s = [share**3 for share in (0.5, 0.3, 0.2)]
    assert (answer["process"], answer["malware"]) == ("updater", False)
    assert answer["p_malware"] == pytest.approx((s[1] + s[2]) / sum(s), abs=1e-12)
    assert [each["malware"] for each in answer["probable_processes"]] == [False, True, True]
    (attribute,) = answer["attributes"]
    assert attribute == {"name": "evasive_vpn", "probability_score": pytest.approx(s[1] / sum(s))}
    near = knowledge(tmp_path, rows).analyse(event(ip="198.51.100.7"))
    assert near is not None
    assert near["p_malware"] is not None
    assert near["p_malware"] < 1e-6


def test_traffic_of_a_dmz_gives_way_to_what_is_no_malware(tmp_path: Path) -> None:
    rows = [
        row("Generic DMZ Traffic", 60, malware=False),
        row("updater", 30, malware=False),
        row("bad", 10, malware=True),
    ]
    answer = knowledge(tmp_path, rows).analyse(event(), 3)
    assert answer is not None
    s = [share**3 for share in (0.3, 0.1)]
    assert answer["process"] == "updater"
    assert answer["score"] == pytest.approx(s[0] / sum(s))
    assert answer["p_malware"] == pytest.approx(s[1] / sum(s))
    assert [each["process"] for each in answer["probable_processes"]] == ["updater", "bad"]


def test_traffic_of_a_dmz_stays_before_malware(tmp_path: Path) -> None:
    rows = [
        row("Generic DMZ Traffic", 60, malware=False),
        row("bad", 30, malware=True),
        row("updater", 10, malware=False),
    ]
    answer = knowledge(tmp_path, rows).analyse(event(), 3)
    assert answer is not None
    s = [share**3 for share in (0.6, 0.3, 0.1)]
    assert answer["process"] == "Generic DMZ Traffic"
    assert answer["score"] == pytest.approx(s[0] / sum(s))
    assert answer["p_malware"] == pytest.approx(s[1] / sum(s))


def test_without_labels_there_is_no_word_of_malware(analyse: Any) -> None:
    found = analyse([row("a", 1)], 1)
    assert (found["malware"], found["p_malware"], found["attributes"]) == (None, None, [])
    assert found["probable_processes"][0]["malware"] is None


def test_the_stage_answers_rejects_and_counts(tmp_path: Path) -> None:
    stage = ClassifyStage(Fixed(knowledge(tmp_path, [row("a", 1)], last_seen="2019-09-20")))
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
    observed = stage.observed()
    assert observed["db_info", "test", "1"] == 1
    assert observed["db_age_seconds",] > 7 * 365 * 86_400
