"""`make chaos` fails when its rounds fall short of the aim, and says in what."""

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from chaos import points
from chaos.faults import FAULTS
from chaos.feeder import Feeder
from chaos.fleet import NotHit, until
from chaos.report import FULL, report, shortfalls
from chaos.round import Outcome, Plan
from chaos.verify import Verdict

from vermilion_pipeline.memory import MemoryBroker

_KINDS = [fault.kind for fault in FAULTS]
_HITS = Counter([*_KINDS, *_KINDS[:4]])
_GOOD = Outcome(1, Verdict(10_020, 0, 0, 0, 0), 10_000, _HITS, Counter({"kill at begun": 2}), [], [], 480.0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"verdict": Verdict(10_020, 1, 0, 0, 0)}, "seed 1: 10020 events: 1 missing"),
        ({"troubles": ["capture ended with 1"]}, "seed 1: 1 troubles"),
        ({"hits": Counter(_KINDS)}, f"seed 1: {len(_KINDS)} of 20 faults hit"),
        ({"hits": _HITS - Counter(_KINDS[-1:]) + Counter(_KINDS[:1])}, "disk full: hit 9 times in 10 rounds"),
        ({"events": 9_999}, "seed 1: 9999 of 10000 events"),
        ({"seconds": 481.0}, "seed 1: 481 s, longer than 480 s"),
        ({"impossible": ["disk full"]}, "disk full: not possible here"),
    ],
)
def test_each_way_to_fall_short_is_told(changes: Mapping[str, Any], reason: str | None) -> None:
    outcomes = [replace(_GOOD, **changes), *[_GOOD] * (FULL - 1)]
    short = shortfalls(Plan(), outcomes)
    assert len(short) == (reason is not None), short
    assert all(one.startswith(reason or "") for one in short), short


def test_what_a_machine_cannot_do_is_told_and_excused_in_few_rounds() -> None:
    less = replace(
        _GOOD, hits=_HITS - Counter({"disk full": 9}) + Counter({"SIGTERM": 1}), impossible=["disk full"]
    )
    assert shortfalls(Plan(), [less] * (FULL - 1)) == []
    lines = report(Plan(), [less])
    assert "not possible here: disk full" in lines
    assert f"{'kill at begun':<42}    2" in lines


@pytest.mark.parametrize("refusable", [True, False])
def test_a_refused_capture_is_trouble_when_nothing_is_down(
    refusable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "capture.log"
    log.write_text("vermilion: error: no Kafka broker answers at 127.0.0.1:1\n")
    refused = SimpleNamespace(process=subprocess.Popen(["false"]), log=log, published=lambda: 0)
    feeder = Feeder(tmp_path, "127.0.0.1:1", "", None, 0.0)  # type: ignore[arg-type]
    monkeypatch.setattr(feeder, "capture", lambda _files: refused)
    if refusable:
        feeder.publish([])
    else:
        feeder.fill(1)
    assert len(feeder.trouble) == (not refusable)


def test_time_in_which_kafka_is_harmed_does_not_count() -> None:
    began = time.monotonic()
    with pytest.raises(NotHit, match=r"not within 0 s: a thing"):
        until(lambda: False, "a thing", 0.2, lambda: time.monotonic() - began < 1.0)
    assert 1.1 < time.monotonic() - began < 30


def test_who_is_held_at_a_point_goes_on_when_released(tmp_path: Path) -> None:
    armed = points.Points(tmp_path / "armed")
    producer = points.PointedBroker(MemoryBroker(), armed).transactional("one")
    armed.arm(points.BEGUN, points.HOLD)
    thread = threading.Thread(target=producer.begin)
    thread.start()
    thread.join(1.0)
    assert thread.is_alive()
    assert armed.hit() is not None
    armed.release()
    thread.join(10.0)
    assert not thread.is_alive()
