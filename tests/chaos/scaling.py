"""``make scaling``: how much more two and four replicas of classify do, each on a quarter of a core.

A backlog lies evenly in all partitions of ``fingerprints``; what each number of replicas takes from it in a
window is counted by their own metrics. Needs root, for control groups (version 1 or 2).
"""

import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from chaos.feeder import RECORDINGS, SMALL
from chaos.fleet import Fleet, NotHit, Replica, until
from conftest import find_ports

from vermilion.dev.kafka import Cluster
from vermilion_capture.source import FileSource
from vermilion_fingerprint.stage import FingerprintStage
from vermilion_pipeline.codec import Codec
from vermilion_pipeline.kafka import KafkaBroker
from vermilion_pipeline.ports import QueueFull
from vermilion_pipeline.stage import Incoming
from vermilion_pipeline.topics import FINGERPRINTS, TOPICS

COUNTS: Final = (1, 2, 4)
WANTED: Final = {2: 1.8, 4: 3.2}
"""Replicas -> times the throughput of one."""
PARTITIONS: Final = 12
_GROUPS = Path("/sys/fs/cgroup")
_QUOTA_US, _PERIOD_US = 25_000, 100_000
_WARM_UP_SECONDS = 4.0
_WINDOWS, _WINDOW_SECONDS = 3, 8.0
_BACKLOG_OF_ONE = 200_000
"""Events for each replica to answer: more than it can in the window."""
_ENVIRONMENT = {"VERMILION_BATCH_RECORDS": "500"}


def main() -> int:
    """Measure each number of replicas; 0 when enough, and the lag is zero afterwards, else 1."""
    # Whoever ends this must not leave brokers and services behind.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    with (
        tempfile.TemporaryDirectory(prefix="vermilion-scaling-", ignore_cleanup_errors=True) as scratch,
        Cluster(Path(scratch, "kafka"), port=find_ports(1)) as cluster,
    ):
        rates = {count: _measure(count, cluster.bootstrap, Path(scratch)) for count in COUNTS}
    for count, rate in rates.items():
        sys.stdout.write(f"{count} x 1/4 core: {rate:,.0f} events/s, {rate / rates[1]:.2f} x one\n")
    return 0 if all(rates[count] >= factor * rates[1] for count, factor in WANTED.items()) else 1


def _measure(count: int, bootstrap: str, scratch: Path) -> float:
    """Events a second that ``count`` replicas answer."""
    prefix = f"scaling-{count}."
    folder = scratch / str(count)
    folder.mkdir()
    backlog = count * _BACKLOG_OF_ONE
    _fill(bootstrap, prefix, backlog)
    with ExitStack() as stack:
        fleet = Fleet(folder, bootstrap, prefix, _ENVIRONMENT, launcher=False)
        stack.callback(fleet.kill)
        fleet.scale("classify", count)
        replicas = fleet.of("classify")
        until(
            lambda: [one.metric("partitions_assigned") for one in replicas] == [PARTITIONS / count] * count,
            f"the partitions to be shared out among {count}",
        )
        with ExitStack() as quotas:
            for one in replicas:
                quotas.enter_context(_quarter_of_a_core(one))
            time.sleep(_WARM_UP_SECONDS)
            # Whatever else the machine does can only make a window worse: the best one counts.
            rate = max(_rate(replicas) for _ in range(_WINDOWS))
        left = backlog - _consumed(replicas)
        if left < rate:
            raise NotHit(f"the backlog was too small: {left:.0f} of {backlog} events were left")
        until(
            lambda: all(one.metric("consumer_lag") == 0 for one in replicas)
            and _consumed(replicas) >= backlog,
            "the backlog to be answered, and the exported lag to be zero again", 300.0,
        )  # fmt: skip
        sys.stderr.write(
            f"{count} replicas: {rate:,.0f} events/s; lag zero after {_consumed(replicas):,.0f}\n"
        )
        return rate


def _rate(replicas: Sequence[Replica]) -> float:
    """Events a second in one window."""
    began, before = time.monotonic(), _consumed(replicas)
    time.sleep(_WINDOW_SECONDS)
    return (_consumed(replicas) - before) / (time.monotonic() - began)


def _consumed(replicas: Sequence[Replica]) -> float:
    values = [one.metric("records_consumed_total") for one in replicas]
    if None in values:
        raise NotHit("a replica does not answer")
    return sum(value for value in values if value is not None)


def _fill(bootstrap: str, prefix: str, backlog: int) -> None:
    """The events of all recordings, over and over, the same number in each partition."""
    broker, codec = KafkaBroker({"bootstrap.servers": bootstrap}), Codec()
    broker.create([topic.full_name(prefix) for topic in TOPICS], PARTITIONS, None)
    encode, topic = codec.encoder(FINGERPRINTS), FINGERPRINTS.full_name(prefix)
    values = [encode(event) for path in (*RECORDINGS, *SMALL) for event in _events(path)]
    producer = broker.producer()
    for number in range(backlog):
        while True:
            try:
                producer.produce(
                    topic, b"key", values[number // PARTITIONS % len(values)], (), number % PARTITIONS
                )
            except QueueFull:
                producer.flush(1)
            else:
                break
    producer.close()
    if producer.delivered != backlog:
        raise NotHit(f"{producer.delivered} of {backlog} events delivered")


def _events(path: Path) -> Iterator[Mapping[str, Any]]:
    batch = [Incoming(i, key, item) for i, (key, item) in enumerate(FileSource(path, "scaling"))]
    for output in FingerprintStage().task().handle(batch).outputs:
        yield output.record


@contextmanager
def _quarter_of_a_core(replica: Replica) -> Iterator[None]:
    """A control group that holds one process back; it is let go at the end."""
    second = (_GROUPS / "cgroup.controllers").exists()
    parent = _GROUPS if second else _GROUPS / "cpu"
    group = parent / f"vermilion-{replica.pid}"
    group.mkdir()
    try:
        if second:
            (group / "cpu.max").write_text(f"{_QUOTA_US} {_PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(_QUOTA_US))
        (group / "cgroup.procs").write_text(str(replica.pid))
        yield
    finally:
        if replica.running:
            (parent / "cgroup.procs").write_text(str(replica.pid))
        group.rmdir()


if __name__ == "__main__":
    sys.exit(main())
