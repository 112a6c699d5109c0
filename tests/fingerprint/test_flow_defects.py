"""A defect that shows when a flow is finished costs that flow alone, and is counted."""

from typing import Any

import pytest
from fingerprint.flowrecords import START, end, fresh, mark, numbered, record
from fingerprint.hellos import recorded

from vermilion_fingerprint import protocols
from vermilion_pipeline.records import Payload
from vermilion_pipeline.stage import Handled, Incoming

BAD = 153
"""Bytes of the hello on which a form fails."""


@pytest.fixture
def defect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fingerprint forms that fail on a message of BAD bytes."""
    real = protocols._TLS_FORMS["ja4"]

    def form(message: Any) -> str:
        if message.end == BAD:
            raise RuntimeError("a defect")
        return real(message)

    monkeypatch.setitem(protocols._TLS_FORMS, "ja4", form)


def cut_off(number: int) -> list[Payload]:
    """A flow of which a hello's first bytes came."""
    source = (bytes([192, 0, 2, number]), 40_000)
    return numbered([record(8, recorded()[0][: 149 + number], source=source)])


@pytest.mark.parametrize("last", [end(), mark(START + 61_000_000)], ids=["end", "mark"])
def test_the_other_flows_of_a_mark_are_told(defect: None, last: Payload) -> None:
    records = [one for number in range(1, 11) for one in cut_off(number)]
    task = fresh()
    handled = task.handle([Incoming(i, b"", one) for i, one in enumerate([*records, last])])
    assert len(handled.outputs) == 9
    assert handled.rejected == []
    assert handled.counts["flows_failed", "RuntimeError"] == 1
    assert task.low_water() is None


def test_a_flow_that_makes_way_for_a_new_one_does_not_take_it_along(defect: None) -> None:
    old, new = cut_off(BAD - 149)[0], numbered([record(8, recorded()[0], source=(b"\xc0\0\2\4", 40_000))])[0]
    task = fresh()
    handled: Handled = task.handle([Incoming(0, b"", old), Incoming(1, b"", new)])
    assert [output.record["type"] for output in handled.outputs] == ["tls"]
    assert handled.counts["flows_failed", "RuntimeError"] == 1
    assert task.low_water() == 1
