"""The numbers that ``capture`` shows at ``/metrics``; counted anyway, read when they are asked for."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from vermilion_capture.heartbeats import Tally


class CaptureMetrics(Collector):
    """A registry with one collector, which asks ``tally`` for the counts since the process began."""

    def __init__(self, tally: Callable[[], Tally]) -> None:
        self._tally = tally
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The families."""
        tally = self._tally()
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
