"""The services of a round: as many processes as wanted, started again when they end, as Kubernetes does."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chaos.points import Points

STAGES: Final = ("fingerprint", "classify")
TRANSACTION_SECONDS: Final = 6
SESSION_SECONDS: Final = 6
_TESTS: Final = Path(__file__).parent.parent
_RESTART_SECONDS = 0.3
_STOP_SECONDS = 60.0

ENVIRONMENT: Final = {
    # Many small transactions, so that faults find them open; time-outs near the least that brokers take.
    "VERMILION_BATCH_RECORDS": "150",
    "VERMILION_KAFKA": json.dumps(
        {
            "transaction.timeout.ms": str(TRANSACTION_SECONDS * 1000),
            "session.timeout.ms": str(SESSION_SECONDS * 1000),
            "heartbeat.interval.ms": "500",
            "reconnect.backoff.max.ms": "1000",
        }
    ),
    "PYTHONPATH": str(_TESTS),
}


class NotHit(Exception):
    """A fault of which it could not be shown that it hit; says what was waited for."""


def until(
    condition: Callable[[], bool],
    what: str,
    seconds: float = 60.0,
    excused: Callable[[], bool] = lambda: False,
) -> None:
    """Wait for ``condition``; time in which it is ``excused`` does not count. Raises NotHit."""
    left, now = seconds, time.monotonic()
    while not condition():
        if left <= 0:
            raise NotHit(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)
        before, now = now, time.monotonic()
        if not excused():
            left -= now - before


@dataclass(eq=False)
class Replica:
    """One process of a stage."""

    stage: str
    number: int
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    expected_end: bool = False
    """The harness ends it, or has broken it on purpose: that it ends is no news."""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether its process has not ended."""
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; ending by it is expected."""
        self.expected_end = True
        self.process.send_signal(number)

    def log_lines(self, words: str) -> int:
        """How many lines of its log have ``words``."""
        return self.log.read_text(errors="replace").count(words)

    def ready(self) -> bool:
        """Whether /readyz says so."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def metric(self, name: str, label: str = "") -> float | None:
        """A metric's value, summed over all its labels or those with ``label``; None without an answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=2) as answer:
                text = answer.read().decode()
        except OSError:
            return None
        labels = rf"{{.*{label}.*}}" if label else r"(?:{.*})?"
        found = re.findall(rf"^vermilion_{name}{labels} (\S+)$", text, re.MULTILINE)
        return sum(map(float, found)) if found else None


@dataclass
class Fleet:
    """All replicas, and the thread that starts again what has ended."""

    folder: Path
    bootstrap: str
    prefix: str
    environment: Mapping[str, str] = field(default_factory=dict)
    launcher: bool = True
    replicas: dict[tuple[str, int], Replica] = field(default_factory=dict)
    ends: list[str] = field(default_factory=list)
    """Replicas that ended though nobody made them: which, how, and what they said last."""
    restarts: int = 0

    def __post_init__(self) -> None:
        self.points = {stage: Points(self.folder / f"{stage}.armed") for stage in STAGES}
        self.started: dict[int, Replica] = {}
        """Every process that there ever was, by its id."""
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._starts = 0
        self._thread = threading.Thread(target=self._watch, name="fleet", daemon=True)
        self._thread.start()

    def of(self, stage: str) -> list[Replica]:
        """The replicas of a stage that are wanted now."""
        with self._lock:
            return [one for (name, _), one in sorted(self.replicas.items()) if name == stage]

    def scale(self, stage: str, count: int) -> list[int]:
        """Have ``count`` replicas: start what is missing, SIGTERM the rest. The exit codes of those."""
        with self._lock:
            going = [one for one in self.of(stage) if one.number >= count]
            for one in going:
                del self.replicas[one.stage, one.number]
            for number in range(count):
                if (stage, number) not in self.replicas:
                    self.replicas[stage, number] = self.start(stage, number)
        for one in going:
            one.signal(signal.SIGTERM)
        return [self._ended(one) for one in going]

    def start(self, stage: str, number: int) -> Replica:
        """Start a process, with the stable name that its number gives it; the caller keeps it."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self._starts += 1
        log = self.folder / f"{stage}-{number}.{self._starts}.log"
        program = [str(Path(sys.executable).with_name("vermilion"))]
        if self.launcher:
            program = [sys.executable, "-m", "chaos.launcher", str(self.folder / f"{stage}.armed")]
        command = [*program, stage, "-b", self.bootstrap, "--topic-prefix", self.prefix]
        command += ["--http-port", str(port), "--instance", str(number)]
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=out, env={**os.environ, **ENVIRONMENT, **self.environment}
            )
        self.started[process.pid] = replica = Replica(stage, number, process, port, log)
        return replica

    def abandon(self, replica: Replica) -> None:
        """Wanted no more, but not ended: a replacement takes its number, and its name."""
        with self._lock:
            self.replicas[replica.stage, replica.number] = self.start(replica.stage, replica.number)

    def close(self) -> list[int]:
        """SIGTERM to all; their exit codes."""
        self._closed.set()
        self._thread.join()
        with self._lock:
            going = list(self.replicas.values())
            self.replicas.clear()
        for one in going:
            one.signal(signal.SIGTERM)
        return [self._ended(one) for one in going]

    def kill(self) -> None:
        """End everything at once, however it goes."""
        self._closed.set()
        self._thread.join()
        for one in self.started.values():  # those that were abandoned, too
            if one.running:
                one.process.kill()
            one.process.wait()

    def _ended(self, replica: Replica) -> int:
        try:
            return replica.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            replica.process.kill()
            replica.process.wait()
            raise NotHit(
                f"{replica.stage}-{replica.number} did not end within {_STOP_SECONDS:.0f} s of SIGTERM"
            ) from None

    def _watch(self) -> None:
        while not self._closed.wait(_RESTART_SECONDS):
            with self._lock:
                for key, replica in list(self.replicas.items()):
                    if replica.running:
                        continue
                    # Nobody but the harness kills.
                    if not replica.expected_end and replica.process.returncode != -signal.SIGKILL:
                        self.ends.append(_last_words(replica))
                    self.restarts += 1
                    self.replicas[key] = self.start(replica.stage, replica.number)


def _last_words(replica: Replica) -> str:
    lines = replica.log.read_text(errors="replace").strip().splitlines() or [""]
    return f"{replica.stage}-{replica.number} ended with {replica.process.returncode}: {lines[-1][:300]}"
