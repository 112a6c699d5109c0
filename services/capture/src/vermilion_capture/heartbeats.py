"""Heartbeats of a run: what a sensor saw and what it lost, so that a silence can be told from blindness."""

from typing import Final, NamedTuple

from vermilion_pipeline.records import Sensor

EVERY: Final = 10_000_000
"""Microseconds of packet time between two heartbeats."""


class Tally(NamedTuple):
    """Counts since some beginning; the names are the fields of ``sensor.avsc``."""

    packets: int = 0
    published: int = 0
    dropped_kernel: int = 0
    dropped_interface: int = 0
    dropped_queue: int = 0
    dropped_too_big: int = 0
    dropped_undelivered: int = 0
    blind: int = 0

    def since(self, before: "Tally") -> "Tally":
        """What was counted after ``before``."""
        return Tally(*(now - then for now, then in zip(self, before, strict=True)))

    def plus(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(*(one + two for one, two in zip(self, other, strict=True)))

    def drops(self) -> dict[str, int]:
        """Drops by cause."""
        return {
            name.removeprefix("dropped_"): count
            for name, count in self._asdict().items()
            if name.startswith("dropped_")
        }


class Heartbeats:
    """Makes the heartbeats of one run. ``start``: the counts when it began."""

    def __init__(self, sensor: str, run: str, start: Tally, *, replayed: bool) -> None:
        self._sensor, self._run, self._replayed = sensor, run, replayed
        self._told = start
        self._since = 0
        """Packet time up to which everything is told; 0 before the first packet."""

    def due(self, time: int) -> bool:
        """Whether ``time``, in packet time, is that of the next heartbeat."""
        self._since = self._since or time
        return time - self._since >= EVERY

    def next(self, time: int, counts: Tally, *, last: bool = False) -> Sensor:
        """The heartbeat at ``time``; if it is not ``told``, the next one covers its interval, too."""
        fresh = counts.since(self._told)
        return Sensor(
            sensor=self._sensor,
            run=self._run,
            replayed=self._replayed,
            time=time,
            interval=max(0, time - (self._since or time)),
            last=last,
            packets=fresh.packets,
            published=fresh.published,
            dropped_kernel=fresh.dropped_kernel,
            dropped_interface=fresh.dropped_interface,
            dropped_queue=fresh.dropped_queue,
            dropped_too_big=fresh.dropped_too_big,
            dropped_undelivered=fresh.dropped_undelivered,
            blind=fresh.blind,
        )

    def told(self, time: int, counts: Tally) -> None:
        """The heartbeat at ``time`` is on its way."""
        self._since, self._told = max(time, self._since), counts
