"""``make soak``: does a service's memory grow? Traffic for half an hour (VERMILION_SOAK_MINUTES).

One capture process publishes all recordings over and over, each pass a run of its own; it is stopped for
a moment whenever it is ahead of a steady rate, a little above a million flows in half an hour, or a stage
is far behind, as what waits too long expires. A machine that is too slow for a million in that time goes on
until they have passed. Each minute the stages stand still for some seconds and then catch up, with the
fullest batches they ever take, so that what these cost is in memory long before it is compared. Resident
memory is sampled each second and compared between the first third and the end, each as the median of a
minute.
"""

import os
import signal
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chaos.feeder import RECORDINGS, SMALL, Capture
from chaos.fleet import STAGES, Fleet, NotHit, Replica, until
from conftest import find_ports

from vermilion import scan
from vermilion.dev.kafka import Cluster
from vermilion_capture.capturefile import CaptureFile
from vermilion_capture.frame import MAX_CAPTURED
from vermilion_pipeline.kafka import KafkaBroker
from vermilion_pipeline.settings import Settings
from vermilion_pipeline.topics import TOPICS

LIMIT: Final = 0.02
FLOWS_A_MINUTE: Final = 1_000_000 / 30
_PARTITIONS = 12
_AHEAD = 1.1
"""Times FLOWS_A_MINUTE that are published."""
_LONGEST: Final = 2.0
"""Times the minutes asked for, in which the flows must have passed."""
_MOST_BEHIND = 100_000
"""Records that a stage may have to answer yet; what is kept of a topic is more than ten times that."""
_STILL = (50, 57)
"""Seconds of each minute in which the stages stand still."""
_TICK_SECONDS = 0.1
_PASSES = 30_000
"""More than there is time for; a command line could have ten times as many."""
_ETHERNET = 1
# As services have them; the chaos rounds' are small.
_ENVIRONMENT = {"VERMILION_BATCH_RECORDS": str(Settings.model_fields["batch_records"].default)}
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Memory:
    """Resident bytes of one process over time, and those among them that are of files."""

    pid: int
    samples: list[tuple[float, int, int]] = field(default_factory=list)

    def sample(self, now: float) -> None:
        """Look once."""
        _, resident, of_files, *_ = map(int, Path(f"/proc/{self.pid}/statm").read_text().split())
        self.samples.append((now, resident * _PAGE, of_files * _PAGE))

    def around(self, when: float, half: float) -> float:
        """The median within ``half`` seconds of ``when``."""
        return statistics.median(size for at, size, _ in self.samples if abs(at - when) <= half)

    def of_files(self, when: float, half: float) -> float:
        """Of that the pages of files, which the kernel takes and gives as it likes."""
        return statistics.median(size for at, _, size in self.samples if abs(at - when) <= half)


def main() -> int:
    """Run; 0 when no service's memory has grown or shrunk by more than LIMIT, and none lost anything."""
    minutes = float(os.environ.get("VERMILION_SOAK_MINUTES", "30"))
    # Whoever ends this must not leave brokers and services behind.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="vermilion-soak-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        with Cluster(folder / "kafka", port=find_ports(1), settings=lambda _: _RETENTION) as cluster:
            broker = KafkaBroker({"bootstrap.servers": cluster.bootstrap})
            broker.create([topic.full_name("soak.") for topic in TOPICS], _PARTITIONS, None)
            fleet = Fleet(folder, cluster.bootstrap, "soak.", _ENVIRONMENT, launcher=False)
            try:
                return _soak(fleet, folder, minutes * 60)
            finally:
                fleet.kill()


_RETENTION: Final[Mapping[str, str]] = {
    # What is answered need not be kept: a topic of half an hour would be gigabytes.
    "log.segment.bytes": str(16 << 20),
    "log.retention.bytes": str(64 << 20),
    "log.retention.check.interval.ms": "10000",
}


def _soak(fleet: Fleet, folder: Path, seconds: float) -> int:
    for stage in STAGES:
        fleet.scale(stage, 1)
    replicas = {stage: fleet.of(stage)[0] for stage in STAGES}
    until(lambda: all(one.ready() for one in replicas.values()), "both services to be ready")
    flows = _recordings(folder / "0")
    capture = Capture(["0"] * _PASSES, fleet.bootstrap, fleet.prefix, folder / "capture.log")
    try:
        return _watched(capture, replicas, fleet, flows, seconds)
    finally:
        capture.process.kill()


def _watched(
    capture: Capture, replicas: Mapping[str, Replica], fleet: Fleet, flows: int, seconds: float
) -> int:
    memory = {stage: Memory(one.pid) for stage, one in replicas.items()}
    memory["capture"] = Memory(capture.process.pid)
    pace, still = _Pace(capture, flows), _Still([one.pid for one in replicas.values()])
    wanted = FLOWS_A_MINUTE * seconds / 60
    began, sampled = time.monotonic(), 0.0
    while (now := time.monotonic() - began) < seconds or (pace.flows < wanted and now < _LONGEST * seconds):
        if capture.process.poll() is not None:
            raise NotHit(f"capture ended early: {capture.log.read_text()[-300:]}")
        still.keep(now)
        if now - sampled >= 1:
            sampled = now
            for one in memory.values():
                one.sample(now)
            if not still.stopped:  # else it does not answer
                pace.behind = max(one.metric("consumer_lag") or 0.0 for one in replicas.values())
        pace.keep(now)
        time.sleep(_TICK_SECONDS)
    pace.close()
    still.end()
    capture.process.send_signal(signal.SIGCONT)
    capture.process.send_signal(signal.SIGTERM)
    capture.process.wait(60)
    events = _settled(replicas["fingerprint"].metric, replicas["classify"].metric)
    told = replicas["fingerprint"].metric("events_total", 'type="tcp"') or 0
    lost = [f"{name}: {count:.0f}" for name, count in _lost(replicas).items()]
    if told < wanted:
        lost.append(f"fewer than {wanted:,.0f} flows")
    return _report(memory, seconds, now, told, events, [*fleet.ends, *lost])


class _Pace:
    """Stops the capture while it has published more than its rate, by the passes that it tells of.

    No time is made up for: a stage that has caught up is not flooded.
    """

    def __init__(self, capture: Capture, flows: int) -> None:
        """``flows``: in one pass."""
        self.behind = 0.0
        """Records that the stage that is further behind has to answer yet."""
        self._capture = capture
        self._told = capture.log.open("rb")
        self._flows = flows
        self._passes = 0
        self._stopped = False
        self._due = self._kept = 0.0
        self._a_second = _AHEAD * FLOWS_A_MINUTE / 60 / flows
        """Passes to publish each second."""

    @property
    def flows(self) -> int:
        """What has been published."""
        return self._passes * self._flows

    def keep(self, now: float) -> None:
        """Look, ``now`` seconds after the beginning."""
        self._passes += self._told.read().count(b"\n")
        held = self.behind > _MOST_BEHIND
        if not held:
            self._due = min(self._due, self._passes + self._a_second) + (now - self._kept) * self._a_second
        self._kept = now
        stop = held or self._passes > self._due
        if stop != self._stopped:
            self._stopped = stop
            self._capture.process.send_signal(signal.SIGSTOP if stop else signal.SIGCONT)

    def close(self) -> None:
        """No more of it."""
        self._told.close()


class _Still:
    """Stops processes for some seconds of each minute."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self.stopped = False

    def keep(self, now: float) -> None:
        """Look, ``now`` seconds after the beginning."""
        if (_STILL[0] <= now % 60 < _STILL[1]) != self.stopped:
            self._turn()

    def end(self) -> None:
        """They all go on."""
        if self.stopped:
            self._turn()

    def _turn(self) -> None:
        self.stopped = not self.stopped
        for pid in self._pids:
            os.kill(pid, signal.SIGSTOP if self.stopped else signal.SIGCONT)


def _settled(fingerprint: object, classify: object) -> tuple[float, float]:
    """Events that fingerprint told and classify answered, when both are idle."""
    assert callable(fingerprint)
    assert callable(classify)
    until(
        lambda: fingerprint("consumer_lag") == 0 == classify("consumer_lag")
        and fingerprint("records_produced_total") == classify("records_produced_total"),
        "all events to be answered, and the exported lag to be zero", 300.0,
    )  # fmt: skip
    return fingerprint("records_produced_total"), classify("records_produced_total")


def _lost(replicas: Mapping[str, Replica]) -> dict[str, float]:
    """What services count that they did not answer: none of it may be."""
    names = ("records_expired_total", "dlq_total", "flows_evicted_total", "flows_failed_total")
    found = {f"{stage} {name}": one.metric(name) or 0.0 for stage, one in replicas.items() for name in names}
    return {name: count for name, count in found.items() if count}


def _recordings(path: Path) -> int:
    """Write the Ethernet frames of all recordings into one capture at ``path``: how many flows it has.

    One, as each file's end is waited for: small ones would be a test of how soon the broker answers.
    """
    found = [frame for each in (*RECORDINGS, *SMALL) for frame in CaptureFile(each)]
    frames = sorted((frame for frame in found if frame.link_type == _ETHERNET), key=lambda frame: frame.time)
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, MAX_CAPTURED, _ETHERNET))
        for frame in frames:
            times = divmod(frame.time, 1_000_000)
            file.write(struct.pack("<IIII", *times, len(frame.data), frame.wire_length) + frame.data)
    return sum(1 for _ in scan(path, types={"tcp"}))


def _report(
    memory: Mapping[str, Memory],
    seconds: float,
    lasted: float,
    flows: float,
    events: tuple[float, float],
    bad: list[str],
) -> int:
    half = min(30.0, seconds / 12)
    for at in range(0, int(lasted) - 60, 120):
        sizes = (
            f"{name} {one.around(at + 60, 30) / 2**20:.1f} ({one.of_files(at + 60, 30) / 2**20:.1f})"
            for name, one in memory.items()
        )
        sys.stdout.write(f"minute {at / 60 + 1:.0f}: {', '.join(sizes)} MiB (of files)\n")
    good = not bad
    sys.stdout.write(f"{flows:,.0f} flows in {lasted / 60:.1f} minutes; ")
    sys.stdout.write(f"{events[0]:,.0f} events, {events[1]:,.0f} answers\n")
    # Where flows were missing at the end, it went on; what it had then counts, too.
    for end in dict.fromkeys((seconds, lasted if lasted > seconds + 2 * half else seconds)):
        for name, one in memory.items():
            early, late = one.around(seconds / 3, half), one.around(end - half, half)
            good = good and abs(late / early - 1) <= LIMIT
            sys.stdout.write(
                f"{name:<12} {early / 2**20:6.1f} MiB at minute {seconds / 180:.0f}, {late / 2**20:6.1f} MiB "
                f"at minute {end / 60:.0f}: {late / early - 1:+.1%}\n"
            )
    sys.stdout.writelines(f"{each}\n" for each in bad)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
