"""Faults at chosen points of a transaction, inside the service's own process.

A service that the launcher started looks, at each point, for the file that arms it: the harness writes
``POINT ACTION COUNT`` there, and the first process that comes by so many times takes it. Nothing of this is
in production code: the launcher puts its own broker in the place of the real one.
"""

import os
import random
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from vermilion_pipeline.ports import (
    Assignment,
    Broker,
    Committed,
    Consumer,
    Headers,
    Partition,
    Producer,
    TransactionAborted,
    TransactionalProducer,
)
from vermilion_pipeline.rights import Right

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
"""Wait, so that the harness can do something while the transaction is open."""
_HELD_SECONDS = 0.5


class Points:
    """The file that arms a fault, and the one that tells that it hit: ``PID POINT ACTION``."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._hit = file.with_suffix(".hit")

    def arm(self, point: str, action: str, count: int = 1) -> None:
        """The first process to pass ``point`` (its ``count``-th time) does ``action``."""
        self._hit.unlink(missing_ok=True)
        part = self._file.with_suffix(".part")
        part.write_text(f"{point} {action} {count}")
        part.rename(self._file)

    def disarm(self) -> None:
        """Whoever has not hit yet, will not."""
        self._file.unlink(missing_ok=True)

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


class PointedProducer:
    """A transactional producer at whose points things happen when armed."""

    def __init__(self, inner: TransactionalProducer, points: Points) -> None:
        self._inner, self._points = inner, points
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
            time.sleep(_HELD_SECONDS)
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
        self._pass(PRODUCED)
        self._inner.send_offsets(offsets, consumer)
        self._pass(OFFSETS_SENT)

    def commit(self) -> None:
        self._inner.commit()
        if self._points.armed():
            # An abort after the commit is none: the records are out.
            self._pass(COMMITTED)

    def abort(self) -> None:
        self._inner.abort()

    def close(self) -> None:
        self._inner.close()


class PointedBroker:
    """The inner broker, with pointed producers."""

    def __init__(self, inner: Broker, points: Points) -> None:
        self._inner, self._points = inner, points

    def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        return self._inner.partitions(topics)

    def topics(self) -> dict[str, int]:
        return self._inner.topics()

    def create(self, topics: Sequence[str], partitions: int, replication: int | None) -> list[str]:
        return self._inner.create(topics, partitions, replication)

    def ends(self, topics: Sequence[str]) -> dict[Partition, int]:
        return self._inner.ends(topics)

    def missing(self, rights: Iterable[Right]) -> list[Right]:
        return self._inner.missing(rights)

    def consumer(self, topics: Sequence[str], group: str, assignment: Assignment) -> Consumer:
        return self._inner.consumer(topics, group, assignment)

    def reader(self, topics: Sequence[str], *, beginning: bool) -> Consumer:
        return self._inner.reader(topics, beginning=beginning)

    def producer(self) -> Producer:
        return self._inner.producer()

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        return PointedProducer(self._inner.transactional(transactional_id), self._points)


def choose(draw: random.Random, points: Sequence[str]) -> tuple[str, int]:
    """A point, and which passing of it: a transaction has few of each but of records."""
    point = draw.choice(points)
    return point, draw.randint(1, 40 if point == PRODUCING else 3)
