"""``make scaling``: how much more two and four replicas of classify do, each on a quarter of a core.

A backlog lies evenly in all partitions of ``fingerprints``, one for each number of replicas; what they take
from it is counted by their own metrics. They are measured in turns, the others stopped meanwhile: a machine
whose speed changes from one half minute to the next does so for all of them. Needs root, for control groups
(version 1 or 2).
"""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
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
_TURNS, _TURN_SECONDS = 16, 2.0
"""Who waits for the turns of two others is still in its group, and in its transaction."""
_BACKLOG_OF_ONE = 300_000
"""Events for each replica to answer: more than it can before the last turn is over."""
_ENVIRONMENT = {"VERMILION_BATCH_RECORDS": "500"}


def main() -> int:
    """Measure each number of replicas; 0 when enough, and the lag is zero afterwards, else 1."""
    # Whoever ends this must not leave brokers and services behind.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    with (
        tempfile.TemporaryDirectory(prefix="vermilion-scaling-", ignore_cleanup_errors=True) as scratch,
        Cluster(Path(scratch, "kafka"), port=find_ports(1)) as cluster,
    ):
        rates = _rates(cluster.bootstrap, Path(scratch))
    for count, rate in rates.items():
        sys.stdout.write(f"{count} x 1/4 core: {rate:,.0f} events/s, {rate / rates[1]:.2f} x one\n")
    return 0 if all(rates[count] >= factor * rates[1] for count, factor in WANTED.items()) else 1


@dataclass
class _Measured:
    """So many replicas, with a backlog of their own."""

    replicas: Sequence[Replica]
    backlog: int
    answered: float = 0.0
    """Events, in all its turns."""
    seconds: float = 0.0

    def signal(self, number: signal.Signals) -> None:
        """Stop or go on."""
        for one in self.replicas:
            os.kill(one.pid, number)

    def turn(self) -> None:
        """Go on for a while."""
        self.signal(signal.SIGCONT)
        began, before = time.monotonic(), _consumed(self.replicas)
        time.sleep(_TURN_SECONDS)
        after = _consumed(self.replicas)
        if after >= self.backlog:
            raise NotHit(f"the backlog of {self.backlog} events was too small for {len(self.replicas)}")
        self.answered += after - before
        self.seconds += time.monotonic() - began
        self.signal(signal.SIGSTOP)

    def settle(self) -> None:
        """Answer what is left."""
        until(
            lambda: all(one.metric("consumer_lag") == 0 for one in self.replicas)
            and _consumed(self.replicas) >= self.backlog,
            "the backlog to be answered, and the exported lag to be zero again", 300.0,
        )  # fmt: skip
        done = _consumed(self.replicas)
        sys.stderr.write(f"{len(self.replicas)} replicas: lag zero after {done:,.0f} events\n")


def _rates(bootstrap: str, scratch: Path) -> dict[int, float]:
    """Events a second, by the number of replicas that answer them."""
    for count in COUNTS:
        _fill(bootstrap, _prefix(count), count * _BACKLOG_OF_ONE)
    with ExitStack() as stack:
        measured = {}
        with ExitStack() as quotas:
            for count in COUNTS:
                measured[count] = _started(count, bootstrap, scratch, stack)
                for one in measured[count].replicas:
                    quotas.enter_context(_quarter_of_a_core(one))
            time.sleep(_WARM_UP_SECONDS)
            for each in measured.values():
                each.signal(signal.SIGSTOP)
            for _ in range(_TURNS):
                for each in measured.values():
                    each.turn()
            for each in measured.values():
                each.signal(signal.SIGCONT)
        for each in measured.values():
            each.settle()
    return {count: each.answered / each.seconds for count, each in measured.items()}


def _prefix(count: int) -> str:
    return f"scaling-{count}."


def _started(count: int, bootstrap: str, scratch: Path, stack: ExitStack) -> _Measured:
    """So many replicas, each with as many partitions."""
    folder = scratch / str(count)
    folder.mkdir()
    fleet = Fleet(folder, bootstrap, _prefix(count), _ENVIRONMENT, launcher=False)
    stack.callback(fleet.kill)
    fleet.scale("classify", count)
    replicas = fleet.of("classify")
    until(
        lambda: [one.metric("partitions_assigned") for one in replicas] == [PARTITIONS / count] * count,
        f"the partitions to be shared out among {count}",
    )
    return _Measured(replicas, count * _BACKLOG_OF_ONE)


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
