"""What the two ways to keep flow states cost: the low-water mark, and a changelog topic.

``PYTHONPATH=tests .venv/bin/python -m chaos.mechanisms``: many passes over the recordings, interleaved
record by record so that flows live across batches, go through `fingerprint` on a one-node Apache Kafka,
(a) as it is, (b) with the states of the flows that each batch has changed written to another topic in the
same transaction. A state is here the bytes held of the flow and nothing else: the least that a changelog
could write.
"""

import itertools
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from chaos.feeder import RECORDINGS
from conftest import find_ports
from pipeline.faults import Wrapped

from vermilion.dev.kafka import Cluster
from vermilion_capture.items import Item
from vermilion_capture.source import FileSource
from vermilion_fingerprint.stage import FingerprintStage
from vermilion_pipeline import logs
from vermilion_pipeline.codec import Codec
from vermilion_pipeline.health import Health
from vermilion_pipeline.kafka import KafkaBroker
from vermilion_pipeline.metrics import Metrics
from vermilion_pipeline.ports import Broker, Committed, Consumer, Partition, QueueFull, TransactionalProducer
from vermilion_pipeline.runtime import Runtime
from vermilion_pipeline.stage import Handled, Incoming, Stage, Task
from vermilion_pipeline.topics import PAYLOADS, TOPICS

PARTITIONS: Final = 12
BATCHES: Final = (500, 5_000)
"""Records that a transaction takes: as live traffic gives them, and as a backlog does."""
_PASSES = 150
_FIN_RST = 5


class States:
    """What a changelog would hold: the bytes of each unfinished flow, and which have changed."""

    def __init__(self) -> None:
        self.held: dict[bytes, bytearray] = {}
        self.changed: set[bytes] = set()
        self.written = self.bytes = 0
        self.again = 0
        """The most records that a new owner of a partition would have had to read again."""

    def take(self, record: Mapping[str, Any], key: bytes | None) -> None:
        """A segment: its flow grows, or ends."""
        if record["kind"] != "SEGMENT":
            return
        flow = (key or b"") + record["run"].encode()
        if record["flags"] & _FIN_RST:
            self.held.pop(flow, None)
            self.changed.add(flow)
        elif record["ordinal"] == 0 or flow in self.held:
            self.held.setdefault(flow, bytearray()).extend(record["payload"])
            self.changed.add(flow)


class ChangelogStage(Wrapped):
    """The stage, whose tasks note what changes."""

    def __init__(self, inner: Stage, states: States) -> None:
        super().__init__(inner)
        self._states = states

    def task(self) -> Task:
        states = self._states

        class Noting(Wrapped):
            def handle(self, batch: Sequence[Incoming]) -> Handled:
                for _, key, record in batch:
                    states.take(record, key)
                handled: Handled = self._inner.handle(batch)
                return handled

            def low_water(self) -> None:
                """Nothing: the states are in the changelog."""

        task: Task = Noting(self._inner.task())
        return task


class ChangelogBroker(Wrapped):
    """The broker, whose transactions also carry the states that have changed."""

    def __init__(self, inner: Broker, states: States, topic: str) -> None:
        super().__init__(inner)
        self._states, self._topic = states, topic

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        states, topic = self._states, self._topic

        class Writing(Wrapped):
            def send_offsets(self, offsets: Mapping[Partition, Committed], consumer: Consumer) -> None:
                for flow in states.changed:
                    held = states.held.get(flow)
                    self._inner.produce(topic, flow, bytes(held) if held is not None else None)
                    states.bytes += len(flow) + len(held or b"")
                states.written += len(states.changed)
                states.changed.clear()
                self._inner.send_offsets(offsets, consumer)

        producer: TransactionalProducer = Writing(self._inner.transactional(transactional_id))
        return producer


class Watched(Wrapped):
    """The broker, whose transactions tell how far the low-water mark is behind."""

    def __init__(self, inner: Broker, states: States) -> None:
        super().__init__(inner)
        self._states = states

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        states = self._states

        class Watching(Wrapped):
            def send_offsets(self, offsets: Mapping[Partition, Committed], consumer: Consumer) -> None:
                behind = (int(one.metadata) - one.offset for one in offsets.values() if one.metadata)
                states.again = max(states.again, *behind, 0)
                self._inner.send_offsets(offsets, consumer)

        producer: TransactionalProducer = Watching(self._inner.transactional(transactional_id))
        return producer


def main() -> int:
    """Measure both, twice, in turn."""
    logs.configure(level="warning")
    with (
        tempfile.TemporaryDirectory(prefix="vermilion-mechanisms-", ignore_cleanup_errors=True) as scratch,
        Cluster(Path(scratch, "kafka"), port=find_ports(1)) as cluster,
    ):
        records = _interleaved()
        for batch, attempt, name in itertools.product(BATCHES, range(2), ("low-water mark", "changelog")):
            prefix = f"m{batch}-{attempt}-{name[:3]}."
            told = _measure(name, prefix, cluster.bootstrap, records, batch)
            sys.stdout.write(f"{batch:>5} a batch, {name:<14}: {told}\n")
            sys.stdout.flush()
    return 0


def _measure(
    name: str, prefix: str, bootstrap: str, records: Sequence[tuple[bytes | None, bytes]], batch: int
) -> str:
    broker = KafkaBroker({"bootstrap.servers": bootstrap})
    state_topic = f"{prefix}state.fingerprint"
    broker.create([*(topic.full_name(prefix) for topic in TOPICS), state_topic], PARTITIONS, None)
    _fill(broker, PAYLOADS.full_name(prefix), records)
    states = States()
    stage: Stage = FingerprintStage()
    around: Broker = Watched(broker, states)
    if name == "changelog":
        stage = ChangelogStage(stage, states)
        around = ChangelogBroker(broker, states, state_topic)
    runtime = Runtime(
        around, stage, Codec(), prefix=prefix, instance="0", metrics=Metrics("fingerprint"), health=Health(),
        batch_records=batch,
    )  # fmt: skip
    total = sum(PARTITIONS if key is None else 1 for key, _ in records)
    while runtime.totals.consumed == 0:
        runtime.step()
    began, cpu, first = time.monotonic(), time.process_time(), runtime.totals.consumed
    while runtime.totals.consumed < total:
        runtime.step()
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    runtime._consumer.close()
    runtime._producer.close()
    rate, per = (total - first) / seconds, 1e6 * cpu / (total - first)
    more = (
        f"{states.written:,} states of {states.bytes / 2**20:.0f} MiB written"
        if states.written
        else f"at most {states.again:,} records of a partition to read again"
    )
    return f"{rate:7,.0f} records/s, {per:.1f} us of CPU each; {more}"


def _interleaved() -> list[tuple[bytes | None, bytes]]:
    """The records of many passes, one of each in turn."""
    encode = Codec().encoder(PAYLOADS)
    passes: list[list[Item]] = [list(FileSource(RECORDINGS[i % 2], "bench")) for i in range(_PASSES)]
    rows = itertools.zip_longest(*passes)
    return [(one.key, encode(one.record)) for row in rows for one in row if one is not None]


def _fill(broker: Broker, topic: str, records: Sequence[tuple[bytes | None, bytes]]) -> None:
    producer = broker.producer()
    for key, value in records:
        for partition in range(PARTITIONS) if key is None else (None,):
            while True:
                try:
                    producer.produce(topic, key, value, (), partition)
                except QueueFull:
                    producer.flush(1)
                else:
                    break
    producer.close()


if __name__ == "__main__":
    sys.exit(main())
