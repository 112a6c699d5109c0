"""When a replayed record is due: by the capture's own timing, and at most so many a second.

Every record is due at a moment of one schedule, counted from the first, on the monotonic clock. What a
sleep oversleeps, or the broker delays, makes the next wait shorter: nothing adds up.
"""

import time
from collections.abc import Callable
from datetime import timedelta

LONGEST_WAIT = 60.0
"""Seconds that a silence of the capture is waited for, at most; what is longer is cut, and told."""
REORDERED = 1_000_000
"""Microseconds by which a packet's time may lie before the newest and still be of the same clock."""
_BURST = 0.01
"""Seconds' worth of records that may follow at once when a wait was too long."""
_SLICE = 0.05
"""Seconds of one sleep: a signal that only sets a flag is seen after it."""
_SHORTEST = 0.0002
"""Seconds below which sleeping costs more than it waits."""


class Pace:
    """The schedule of one pass over one capture.

    ``speed``: so many times as fast as the capture, None for as fast as can be. ``rate``: at most so
    many records a second, None for no bound; what was not sent in time is not made up for beyond it.
    ``tell`` hears of packet times that jump.
    """

    def __init__(
        self,
        speed: float | None = None,
        rate: float | None = None,
        tell: Callable[[str], object] = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._speed, self._interval = speed, 1 / rate if rate else 0.0
        self._tell, self._clock, self._sleep = tell, clock, sleep
        self._newest: int | None = None
        self._due = 0.0
        """When the record of the newest packet time was due, by the capture's timing."""
        self._slot = float("-inf")
        """When the last record went, by the rate."""
        self.late = 0.0
        """Seconds that a record was sent behind the capture's timing, at most."""

    def wait(self, packet_time: int, stopped: Callable[[], bool] = lambda: False) -> None:
        """Return when the record of ``packet_time`` (microseconds) is due, or ``stopped`` says so."""
        due = float("-inf") if self._speed is None else self._by_capture(packet_time, self._speed)
        if self._interval:
            self._slot = max(self._slot + self._interval, self._clock() - _BURST, due)
            self._until(max(due, self._slot), stopped)
        elif self._speed is not None:
            self._until(due, stopped)
        if self._speed is not None:
            self.late = max(self.late, self._clock() - due)

    def _by_capture(self, packet_time: int, speed: float) -> float:
        if self._newest is None:
            self._newest, self._due = packet_time, self._clock()
            return self._due
        gap = packet_time - self._newest
        if gap < -REORDERED:
            self._tell(
                f"packet times jump back by {_span(-gap)}: the next packets follow at once, by their own"
            )
            self._newest = packet_time
        elif gap > 0:
            seconds = gap / 1e6 / speed
            if seconds > LONGEST_WAIT:
                self._tell(f"packet times jump ahead by {_span(gap)}: waiting {LONGEST_WAIT:.0f} s for it")
                seconds = LONGEST_WAIT
            self._newest, self._due = packet_time, self._due + seconds
        return self._due

    def _until(self, moment: float, stopped: Callable[[], bool]) -> None:
        while (left := moment - self._clock()) > _SHORTEST and not stopped():
            self._sleep(min(left, _SLICE))


def _span(microseconds: int) -> str:
    return str(timedelta(microseconds=microseconds))
