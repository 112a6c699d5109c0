"""What bounds ``replay --speed max``, reading or Kafka, in one run: ``make bench-replay``.

Three figures of one capture, records a second, and CPU time of the thread that reads: reading, choosing
and encoding alone, to a broker that takes everything at once; Kafka alone, which is given the same
records, encoded before, as fast as it takes them; and both together, which is what ``vermilion replay``
does. Then a capture of 60 s with random gaps is replayed at ``--speed 1``: how long it takes, and how far
each gap between records (by Kafka's timestamps, which are whole milliseconds) is from the capture's.
"""

import argparse
import itertools
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
RECORDING = ROOT / "cli/src/vermilion/recordings/programs.pcap"


class Seconds(NamedTuple):
    """What something took; the quickest is the one with the least ``wall``."""

    wall: float
    cpu: float


class Clocks:
    """When something began."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.thread_time()

    def passed(self) -> Seconds:
        """Since then."""
        return Seconds(time.perf_counter() - self._wall, time.thread_time() - self._cpu)


class Nowhere:
    """A broker, and its producer, that takes everything at once."""

    def __init__(self, *, keep: bool = False) -> None:
        self.delivered = 0
        self.failures: Mapping[str, int] = {}
        self.kept: list[tuple[bytes | None, bytes | None, int | None]] | None = [] if keep else None

    def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        """As many as topics usually have."""
        return dict.fromkeys(topics, 12)

    def producer(self) -> "Nowhere":
        """Itself, whoever asks."""
        return self

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Any = (),
        partition: int | None = None,
    ) -> None:
        """Taken."""
        self.delivered += 1
        if self.kept is not None and topic.endswith("payloads"):
            self.kept.append((key, value, partition))

    def flush(self, timeout: float) -> int:
        """Nothing is on its way."""
        return 0

    def close(self) -> None:
        """Nothing to do."""


def enlarged(path: Path, copies: int) -> None:
    """The recording again and again, each time other clients and a later time."""
    data = RECORDING.read_bytes()
    packets, at = [], 24
    while at < len(data):
        seconds, fraction, captured, wire = struct.unpack_from("<IIII", data, at)
        packets.append((seconds, fraction, wire, data[at + 16 : at + 16 + captured]))
        at += 16 + captured
    with path.open("wb") as file:
        file.write(data[:24])
        for copy in range(copies):
            net = struct.pack(">BH", 10, copy)
            for seconds, fraction, wire, frame in packets:
                # The first three bytes of both IPv4 addresses; IPv6 packets stay alike.
                if frame[12:14] == b"\x08\x00":
                    frame = frame[:26] + net + frame[29:30] + net + frame[33:]  # noqa: PLW2901
                file.write(struct.pack("<IIII", seconds + 60 * copy, fraction, len(frame), wire) + frame)


def reading(path: Path, *, keep: bool) -> tuple[Seconds, int, Nowhere]:
    """Time, records and where they went."""
    from vermilion_capture.replay import ReplayPublisher, ReplaySource
    from vermilion_pipeline.codec import Codec

    broker = Nowhere(keep=keep)
    publisher = ReplayPublisher(broker, Codec(), "bench.")  # type: ignore[arg-type]
    source = ReplaySource(path, "bench", resumable=True)
    begin = Clocks()
    publisher.publish(source)
    return begin.passed(), publisher.produced, broker


def kafka_alone(records: list[Any], bootstrap: str) -> Seconds:
    """Time to have all of them acknowledged."""
    from vermilion_pipeline.kafka import KafkaBroker
    from vermilion_pipeline.ports import QueueFull

    producer = KafkaBroker({"bootstrap.servers": bootstrap}).producer()
    begin = Clocks()
    for key, value, partition in records:
        while True:
            try:
                producer.produce("bench.payloads", key, value, (), partition)
                break
            except QueueFull:
                producer.flush(6.0)
    producer.flush(60.0)
    seconds = begin.passed()
    if producer.delivered != len(records):
        sys.exit(f"Kafka did not take all: {producer.failures}")
    producer.close()
    return seconds


def together(path: Path, bootstrap: str) -> Seconds:
    """Time of a replay at ``--speed max``, its last record acknowledged."""
    from vermilion_capture.replay import ReplayPublisher, ReplaySource
    from vermilion_pipeline.codec import Codec
    from vermilion_pipeline.kafka import KafkaBroker

    publisher = ReplayPublisher(KafkaBroker({"bootstrap.servers": bootstrap}), Codec(), "bench.")
    source = ReplaySource(path, "bench", resumable=True)
    begin = Clocks()
    publisher.publish(source)
    seconds = begin.passed()
    publisher.close()
    return seconds


def timing(path: Path, bootstrap: str) -> tuple[float, float, float]:
    """Seconds for 60 s, and the median and the greatest error of a gap in milliseconds."""
    from e2e.test_replay import timed

    from vermilion.topicreading import between, numbered
    from vermilion_capture.pacing import Pace
    from vermilion_capture.replay import ReplayPublisher, ReplaySource
    from vermilion_pipeline.codec import Codec
    from vermilion_pipeline.kafka import KafkaBroker

    moments = timed(path, 60.0)
    broker = KafkaBroker({"bootstrap.servers": bootstrap, "linger.ms": "0"})
    before = numbered(broker.ends(["bench.payloads"]))
    publisher = ReplayPublisher(broker, Codec(), "bench.")
    begin = time.perf_counter()
    publisher.publish(ReplaySource(path, "bench", pace=Pace(1.0)))
    seconds = time.perf_counter() - begin
    publisher.close()
    ends = broker.ends(["bench.payloads"])
    written = sorted(one.timestamp_ms for one in between(broker, "bench.payloads", before, ends) if one.key)
    gaps = [later - earlier for earlier, later in itertools.pairwise(written)]
    wanted = [1000 * (later - earlier) for earlier, later in itertools.pairwise(moments)]
    errors = [abs(gap - want) for gap, want in zip(gaps, wanted, strict=True)]
    return seconds, statistics.median(errors), max(errors)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copies", type=int, default=300, help="of the recording of 1,220 packets")
    parser.add_argument("--bootstrap", help="a Kafka with the bench. topics; else one is started")
    parser.add_argument("--rounds", type=int, default=3)
    told = parser.parse_args()
    from vermilion.dev.kafka import Cluster
    from vermilion_pipeline.kafka import KafkaBroker

    with tempfile.TemporaryDirectory(prefix="vermilion-bench-") as folder:
        capture = Path(folder, "bench.pcap")
        enlarged(capture, told.copies)
        cluster = None
        if not told.bootstrap:
            cluster = Cluster(Path(folder, "kafka"), port=24392)
            told.bootstrap = cluster.__enter__().bootstrap
        try:
            KafkaBroker({"bootstrap.servers": told.bootstrap}).create(
                ["bench.payloads", "bench.sensors"], 12, None
            )
            _, count, broker = reading(capture, keep=True)
            sys.stdout.write(f"{count} records; best of {told.rounds} rounds\n")
            best: dict[str, Seconds] = {}
            for _ in range(told.rounds):
                figures = {
                    "reading alone": reading(capture, keep=False)[0],
                    "Kafka alone": kafka_alone(broker.kept or [], told.bootstrap),
                    "both: replay": together(capture, told.bootstrap),
                }
                best = {name: min(seconds, best.get(name, seconds)) for name, seconds in figures.items()}
            for name, took in best.items():
                each = took.cpu / count * 1e6
                sys.stdout.write(
                    f"{name:<16}{count / took.wall:>12,.0f} records/s{each:>8.2f} us of CPU each\n"
                )
            seconds, median, greatest = timing(Path(folder, "timed.pcap"), told.bootstrap)
            sys.stdout.write(
                f"--speed 1 of 60 s: {seconds:.3f} s; "
                f"gaps are off by {median:.2f} ms (median), {greatest:.1f} ms (most)\n"
            )
        finally:
            if cluster:
                cluster.__exit__(None, None, None)


if __name__ == "__main__":
    main()
