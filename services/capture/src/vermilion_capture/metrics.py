"""The numbers that ``capture`` shows at ``/metrics``; counted anyway, read when they are asked for."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vermilion_capture.heartbeats import Tally
from vermilion_capture.source import Source, skipped


class Numbers(NamedTuple):
    """What one process, or several together, have counted.

    ``skipped``: packets that gave no record, by reason. ``merged``: frames longer than the MTU.
    ``flows``: remembered now; ``evicted``: forgotten for lack of room.
    """

    tally: Tally = Tally()
    skipped: Mapping[str, int] = {}
    merged: int = 0
    flows: int = 0
    evicted: int = 0
    produced: int = 0
    acknowledged: int = 0

    def plus(self, other: "Numbers") -> "Numbers":
        """Both together."""
        return Numbers(
            self.tally.plus(other.tally),
            dict(Counter(self.skipped) + Counter(other.skipped)),
            *(one + two for one, two in zip(self[2:], other[2:], strict=True)),
        )


def numbers(tally: Tally, source: Source | None, produced: int = 0, acknowledged: int = 0) -> Numbers:
    """What has been counted, with that of the source in hand."""
    if source is None:
        return Numbers(tally, produced=produced, acknowledged=acknowledged)
    sieve = source.sieve
    heads = sieve.heads
    return Numbers(
        tally, skipped(sieve.counts), sieve.merged, heads.remembered, heads.evicted, produced, acknowledged
    )


class CaptureMetrics(Collector):
    """A registry with one collector, which asks ``ask`` for the numbers since the process began."""

    def __init__(self, ask: Callable[[], Numbers]) -> None:
        self._ask = ask
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The families."""
        told = self._ask()
        tally = told.tally
        yield CounterMetricFamily("vermilion_capture_packets", "Packets read", value=tally.packets)
        yield CounterMetricFamily(
            "vermilion_capture_records",
            "Payload records handed to the broker's client",
            value=tally.published,
        )
        drops = CounterMetricFamily(
            "vermilion_capture_drops", "Packets and records lost, by cause", labels=["cause"]
        )
        for cause, count in tally.drops().items():
            drops.add_metric([cause], count)
        yield drops
        left = CounterMetricFamily(
            "vermilion_capture_skipped", "Packets that gave no record, by reason", labels=["reason"]
        )
        for reason, count in told.skipped.items():
            left.add_metric([reason], count)
        yield left
        yield CounterMetricFamily(
            "vermilion_capture_merged", "Frames longer than the MTU, merged by offload", value=told.merged
        )
        yield GaugeMetricFamily("vermilion_capture_flows", "Flows remembered", value=told.flows)
        yield CounterMetricFamily(
            "vermilion_capture_flows_evicted", "Flows forgotten for lack of room", value=told.evicted
        )
        yield CounterMetricFamily(
            "vermilion_capture_blind_seconds",
            "Time in which an interface was down or gone",
            value=tally.blind / 1e6,
        )
