"""Faults at chosen points of a transaction, inside the service's own process.

A service that the launcher started looks, at each point, for the file that arms it: the harness writes
``POINT ACTION COUNT`` there, and the first process that comes by so many times takes it. Nothing of this is
in production code: the launcher puts its own broker in the place of the real one.
"""

import os
import random
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pipeline.faults import Wrapped

from vermilion_pipeline.ports import (
    Broker,
    Committed,
    Consumer,
    Headers,
    Partition,
    TransactionAborted,
    TransactionalProducer,
)

BEGUN: Final = "begun"
PRODUCING: Final = "producing"
PRODUCED: Final = "produced"
OFFSETS_SENT: Final = "offsets-sent"
COMMITTED: Final = "committed"
POINTS: Final = (BEGUN, PRODUCING, PRODUCED, OFFSETS_SENT, COMMITTED)
"""In the order in which a transaction passes them."""

KILL: Final = "kill"
STOP: Final = "stop"
ABORT: Final = "abort"
HOLD: Final = "hold"
"""Wait for ``Points.release``: the harness does something while the transaction is open."""
_LONGEST_HOLD = 60.0
_FLUSH_SECONDS = 5.0


class Points:
    """The file that arms a fault, and the one that tells that it hit: ``PID POINT ACTION``."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._hit = file.with_suffix(".hit")
        self._released = file.with_suffix(".released")

    def arm(self, point: str, action: str, count: int = 1) -> None:
        """The first process to pass ``point`` (its ``count``-th time) does ``action``."""
        self._hit.unlink(missing_ok=True)
        self._released.unlink(missing_ok=True)
        part = self._file.with_suffix(".part")
        part.write_text(f"{point} {action} {count}")
        part.rename(self._file)

    def disarm(self) -> None:
        """Whoever has not hit yet, will not."""
        self._file.unlink(missing_ok=True)

    def hold(self) -> None:
        """Wait until released; the harness may have died."""
        deadline = time.monotonic() + _LONGEST_HOLD
        while not self._released.exists() and time.monotonic() < deadline:
            time.sleep(0.02)

    def release(self) -> None:
        """Who is held goes on."""
        self._released.touch()

    def hit(self) -> int | None:
        """The process that it hit; None while there is none."""
        try:
            return int(self._hit.read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return None

    def armed(self) -> tuple[str, str, int] | None:
        """What is armed now."""
        try:
            point, action, count = self._file.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        return point, action, int(count)

    def claim(self, told: str) -> bool:
        """Take the armed fault, before any other process does."""
        try:
            self._file.rename(self._file.with_suffix(f".{os.getpid()}"))
        except FileNotFoundError:
            return False
        self._hit.write_text(f"{os.getpid()} {told}")
        return True


class PointedProducer(Wrapped):
    """A transactional producer at whose points things happen when armed."""

    def __init__(self, inner: TransactionalProducer, points: Points) -> None:
        super().__init__(inner)
        self._points = points
        self._passed = 0

    def _pass(self, point: str) -> None:
        armed = self._points.armed()
        if armed is None or armed[0] != point:
            return
        self._passed += 1
        if self._passed < armed[2]:
            return
        self._passed = 0
        action = armed[1]
        if not self._points.claim(f"{point} {action}"):
            return
        if action == ABORT:
            raise TransactionAborted("on purpose, by the chaos suite")
        if action == HOLD:
            self._points.hold()
            return
        os.kill(os.getpid(), signal.SIGKILL if action == KILL else signal.SIGSTOP)

    def begin(self) -> None:
        self._inner.begin()
        self._pass(BEGUN)

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> None:
        self._inner.produce(topic, key, value, headers, partition)
        self._pass(PRODUCING)

    def send_offsets(self, offsets: Mapping[Partition, Committed], consumer: Consumer) -> None:
        if (self._points.armed() or ("",))[0] == PRODUCED:
            # Else librdkafka may hold the records yet, and no broker knows of any.
            self._inner._producer.flush(_FLUSH_SECONDS)
        self._pass(PRODUCED)
        self._inner.send_offsets(offsets, consumer)
        self._pass(OFFSETS_SENT)

    def commit(self) -> None:
        self._inner.commit()
        if self._points.armed():
            # An abort after the commit is none: the records are out.
            self._pass(COMMITTED)


class PointedBroker(Wrapped):
    """The inner broker, with pointed producers."""

    def __init__(self, inner: Broker, points: Points) -> None:
        super().__init__(inner)
        self._points = points

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        return PointedProducer(self._inner.transactional(transactional_id), self._points)


def choose(draw: random.Random, points: Sequence[str]) -> tuple[str, int]:
    """A point, and which passing of it: a transaction has few of each but of records."""
    point = draw.choice(points)
    return point, draw.randint(1, 40 if point == PRODUCING else 3)
