"""The numbers a service shows at ``/metrics`` (Prometheus)."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

# What tasks count (``Handled.counts``): metric -> what it tells, and its labels.
_COUNTED = {
    "events": ("Fingerprint events emitted", ["type"]),
    "answers": ("Classifications, by how the fingerprint was found", ["match"]),
    "parse_errors": ("Messages that are malformed, by the RFC's name of the field", ["protocol", "field"]),
    "messages_truncated": ("Messages whose end was never seen", ["protocol"]),
    "streams_not_recognised": ("Directions of flows that begin like no known protocol", []),
    "datagrams_not_recognised": ("UDP flows that begin like no known protocol", []),
    "datagrams_cut": ("Datagrams that the capture cut off before what was looked for", ["protocol"]),
    "quic_not_decrypted": ("QUIC that was not decrypted, by why", ["version", "reason"]),
    "segments_of_finished_flows": ("Segments of flows that were done or forgotten", []),
    "gaps_given_up": ("Directions closed with a piece missing, by what bound", ["bound"]),
    "windows_full": ("Messages that were longer than the 64 KiB that are kept", []),
    "flows_timed_out": ("Flows closed for their age, by what bound", ["bound"]),
    "flows_failed": ("Flows given up when they were finished, by a defect of ours", ["error"]),
    "flows_evicted": ("Unfinished flows dropped for lack of memory, by what bound", ["bound"]),
    "tls_connections_decrypted": ("TLS connections of which records were decrypted", ["version"]),
    "tls_records_decrypted": ("TLS records decrypted, each verified by its tag or MAC", []),
    "tls_early_data_skipped": ("TLS records passed over as early data (0-RTT)", []),
    "tls_decryption_ended": ("Directions of TLS connections not decrypted to their end, by why", ["reason"]),
    "runs_abandoned": ("Runs that fell silent without an end mark; their flows were finished", []),
}

# What a stage observes (``ObservedStage.observed``): metric -> its kind, what it tells, and its labels.
_OBSERVED: dict[str, tuple[type[GaugeMetricFamily | CounterMetricFamily], str, list[str]]] = {
    "db_info": (GaugeMetricFamily, "Constant 1, for the knowledge in use", ["name", "version"]),
    "db_age_seconds": (GaugeMetricFamily, "Time since the last day that the knowledge knows of", []),
    "db_reload_failures": (CounterMetricFamily, "New knowledge files that were refused", []),
    "key_log_readable": (GaugeMetricFamily, "1 while the key log can be read, else 0", []),
    "key_log_connections": (GaugeMetricFamily, "Connections whose secrets are remembered", []),
    "key_log_forgotten": (CounterMetricFamily, "Connections whose secrets there was no room for", []),
    "key_log_lines": (CounterMetricFamily, "Lines of the key log: secret, ignored, garbage", ["kind"]),
}


class _Observed(Collector):
    """What a stage observes, asked for when the metrics are read."""

    def __init__(self) -> None:
        self.ask: Callable[[], Mapping[tuple[str, ...], float]] = dict

    def collect(self) -> Iterator[Metric]:
        """A family for each metric, with or without a value."""
        found = self.ask()
        for name, (kind, help_text, labels) in _OBSERVED.items():
            family = kind(f"vermilion_{name}", help_text, labels=labels)
            for (metric, *values), value in found.items():
                if metric == name:
                    family.add_metric(values, value)
            yield family


class Metrics:
    """One service's metrics, in a registry of their own."""

    def __init__(self, stage: str) -> None:
        self.registry = CollectorRegistry()
        self._counted = {
            name: Counter(f"vermilion_{name}", help_text, labels, registry=self.registry)
            for name, (help_text, labels) in _COUNTED.items()
        }
        self.consumed = self._counter("records_consumed", "Records read and handled")
        self.produced = self._counter("records_produced", "Records written and committed")
        self.dead_letters = self._counter("dlq", "Records sent to the dead-letter topic", ["reason"])
        self.aborted = self._counter(
            "transactions_aborted", "Transactions aborted and handled again", ["reason"]
        )
        self.expired = self._counter(
            "records_expired", "Records that retention deleted before they were read"
        )
        self.rebuilt = self._counter("records_rebuilt", "Records read again to rebuild a partition's state")
        self.commit_seconds = Histogram(
            "vermilion_commit_seconds", "Time to commit a transaction", registry=self.registry
        )
        self.lag = Gauge(
            "vermilion_consumer_lag", "Records not yet handled, all partitions", registry=self.registry
        )
        self.partitions = Gauge(
            "vermilion_partitions_assigned", "Partitions assigned", registry=self.registry
        )
        self.registry_waiting = Gauge(
            "vermilion_registry_waiting",
            "1 while a batch waits for the schema registry, else 0",
            registry=self.registry,
        )
        self._observed = _Observed()
        self.registry.register(self._observed)
        Gauge("vermilion_build_info", "Constant 1", ["stage"], registry=self.registry).labels(stage).set(1)

    def _counter(self, name: str, help_text: str, labels: list[str] | None = None) -> Counter:
        return Counter(f"vermilion_{name}", help_text, labels or [], registry=self.registry)

    def observe(self, ask: Callable[[], Mapping[tuple[str, ...], float]]) -> None:
        """Show what ``ask`` tells, whenever the metrics are read."""
        self._observed.ask = ask

    def count(self, counts: Mapping[tuple[str, ...], int]) -> None:
        """Add what a task counted."""
        for (name, *labels), count in counts.items():
            counter = self._counted[name]
            (counter.labels(*labels) if labels else counter).inc(count)
