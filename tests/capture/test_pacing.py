"""When records are due, on a clock that only moves when somebody sleeps."""

import random
from bisect import bisect_left

import pytest

from vermilion_capture.pacing import LONGEST_WAIT, Pace

MICRO = 1e-6


class Clock:
    """Time that passes by sleeping, and oversleeps as systems do."""

    def __init__(self, oversleeps: float = 0.0) -> None:
        self.now, self.oversleeps = 1000.0, oversleeps

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds + self.oversleeps


def sent(pace: Pace, clock: Clock, times: list[int], costs: float = 0.0) -> list[float]:
    """Seconds after the first at which each record goes, when sending one costs ``costs``."""
    moments = []
    for time in times:
        pace.wait(time)
        moments.append(clock.now)
        clock.now += costs
    return [moment - moments[0] for moment in moments]


@pytest.mark.parametrize("speed", [0.5, 1, 10])
def test_gaps_are_the_captures_at_the_speed(speed: float) -> None:
    clock = Clock()
    times = [5_000_000, 5_400_000, 5_400_000, 7_000_000]
    gone = sent(Pace(speed, clock=clock, sleep=clock.sleep), clock, times)
    assert gone == pytest.approx([(time - 5_000_000) * MICRO / speed for time in times], abs=0.0003)


def test_what_is_overslept_and_what_sending_costs_does_not_add_up() -> None:
    clock, choose = Clock(oversleeps=0.0009), random.Random(7)
    times = [0]
    for _ in range(20_000):
        times.append(times[-1] + choose.randrange(6_000))
    gone = sent(Pace(1, clock=clock, sleep=clock.sleep), clock, times, costs=0.0004)
    late = [moment - time * MICRO for moment, time in zip(gone, times, strict=True)]
    assert min(late) > -0.0003
    assert max(late) < 0.01
    assert gone[-1] == pytest.approx(times[-1] * MICRO, abs=0.01)


def test_who_was_held_up_catches_up_and_tells_by_how_much() -> None:
    clock = Clock()
    pace = Pace(1, clock=clock, sleep=clock.sleep)
    pace.wait(0)
    clock.now += 3.0
    for time in range(1, 6):
        pace.wait(time * 1_000_000)
    assert clock.now == pytest.approx(1005.0, abs=0.001)
    assert pace.late == pytest.approx(2.0)


def test_a_huge_gap_is_cut_and_told() -> None:
    clock, told = Clock(), list[str]()
    pace = Pace(1, tell=told.append, clock=clock, sleep=clock.sleep)
    day = 86_400_000_000
    gone = sent(pace, clock, [0, 3 * day, 3 * day + 1_000_000])
    assert gone == pytest.approx([0, LONGEST_WAIT, LONGEST_WAIT + 1], abs=0.001)
    assert told == ["packet times jump ahead by 3 days, 0:00:00: waiting 60 s for it"]


def test_a_jump_back_neither_waits_nor_loses_the_timing() -> None:
    clock, told = Clock(), list[str]()
    pace = Pace(1, tell=told.append, clock=clock, sleep=clock.sleep)
    hour = 3_600_000_000
    gone = sent(pace, clock, [hour, hour + 2_000_000, 0, 1_000_000, 3_000_000])
    assert gone == pytest.approx([0, 2, 2, 3, 5], abs=0.001)
    assert len(told) == 1
    assert "back by 1:00:02" in told[0]


def test_packets_a_little_out_of_order_go_at_once() -> None:
    clock, told = Clock(), list[str]()
    pace = Pace(1, tell=told.append, clock=clock, sleep=clock.sleep)
    gone = sent(pace, clock, [1_000_000, 1_500_000, 1_400_000, 2_000_000])
    assert gone == pytest.approx([0, 0.5, 0.5, 1.0], abs=0.001)
    assert told == []


@pytest.mark.parametrize("rate", [3.0, 200.0, 50_000.0])
def test_no_second_has_more_than_the_rate(rate: float) -> None:
    clock = Clock()
    pace = Pace(rate=rate, clock=clock, sleep=clock.sleep)
    gone = sent(pace, clock, [0] * int(3 * rate))
    assert gone[-1] == pytest.approx((len(gone) - 1) / rate, abs=0.02)
    for begin in gone[:: max(1, len(gone) // 50)]:
        assert bisect_left(gone, begin + 0.999) - bisect_left(gone, begin) <= rate * 1.02 + 1


def test_a_rate_is_not_made_up_for_after_a_stall() -> None:
    clock = Clock()
    pace = Pace(rate=100, clock=clock, sleep=clock.sleep)
    pace.wait(0)
    clock.now += 10
    before = clock.now
    for _ in range(100):
        pace.wait(0)
    assert clock.now - before == pytest.approx(1, abs=0.03)


def test_a_rate_bounds_a_speed_too() -> None:
    clock = Clock()
    gone = sent(Pace(1, 2, clock=clock, sleep=clock.sleep), clock, [0, 0, 0, 5_000_000])
    assert gone == pytest.approx([0, 0.5, 1.0, 5.0], abs=0.02)


def test_waiting_ends_when_it_is_stopped() -> None:
    clock = Clock()
    pace = Pace(1, clock=clock, sleep=clock.sleep)
    pace.wait(0)
    pace.wait(50_000_000, lambda: clock.now >= 1002)
    assert 1002 <= clock.now < 1002.1
