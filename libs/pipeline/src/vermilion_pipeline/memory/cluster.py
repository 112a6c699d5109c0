"""What all clients of one in-memory broker share, behind one lock."""

import itertools
import threading
import time
from collections.abc import Iterable
from typing import Protocol

from vermilion_pipeline.memory.groups import Group
from vermilion_pipeline.memory.log import PartitionLog
from vermilion_pipeline.memory.murmur2 import partition_of
from vermilion_pipeline.memory.transactions import Coordinator
from vermilion_pipeline.ports import Headers, Message, Partition, UnknownTopic


class Lingering(Protocol):
    """A producer whose queue is delivered when its records have lingered."""

    def deliver_due(self, now: float) -> None:
        """Deliver what has lingered; called under the lock."""

    def due(self) -> float | None:
        """When the first queued record has lingered (monotonic seconds); None: queue is empty."""


class Cluster:
    """Topics, groups and transactions. Callers hold ``changed`` unless said otherwise."""

    def __init__(self, session_timeout: float, transaction_timeout: float) -> None:
        self.changed = threading.Condition()
        self.logs: dict[str, list[PartitionLog]] = {}
        self.groups: dict[str, Group] = {}
        self.coordinator = Coordinator(transaction_timeout)
        self.producers: set[Lingering] = set()
        self.session_timeout = session_timeout
        self._unkeyed = itertools.count()

    def counts(self) -> dict[str, int]:
        """Partition count of each topic."""
        return {topic: len(logs) for topic, logs in self.logs.items()}

    def require(self, topics: Iterable[str]) -> None:
        """Raises ``UnknownTopic`` naming what is missing of ``topics``."""
        missing = [topic for topic in topics if topic not in self.logs]
        if missing:
            raise UnknownTopic(f"no topic {', '.join(missing)}: create it with `vermilion topics create`")

    def log(self, partition: Partition) -> PartitionLog:
        """The log of an existing partition."""
        return self.logs[partition.topic][partition.number]

    def place(self, topic: str, key: bytes | None) -> Partition:
        """The partition for ``key``; any one when it is None. Raises ``UnknownTopic``."""
        self.require((topic,))
        count = len(self.logs[topic])
        number = next(self._unkeyed) % count if key is None else partition_of(key, count)
        return Partition(topic, number)

    def append(
        self, partition: Partition, key: bytes | None, value: bytes | None, headers: Headers, transaction: int
    ) -> PartitionLog:
        """Append a record, stamped now; the log it went to."""
        log = self.log(partition)
        now = time.time_ns() // 1_000_000
        log.append(Message(partition, log.end, key, value, headers, now), transaction)
        return log

    def tick(self) -> None:
        """Do what is due: deliver, expire transactions, put out members that stalled."""
        now = time.monotonic()
        for producer in self.producers:
            producer.deliver_due(now)
        happened = self.coordinator.expire(now)
        for group in self.groups.values():
            for member in group.stalled(now - self.session_timeout):
                group.leave(member, self.counts())
                happened = True
        if happened:
            self.changed.notify_all()

    def wait(self, until: float) -> None:
        """Wait for a change, at most ``until`` (monotonic) or the next thing due, then ``tick``."""
        deadlines = [until, time.monotonic() + self.session_timeout / 4]
        deadlines += [due for producer in self.producers if (due := producer.due()) is not None]
        if (expiry := self.coordinator.next_deadline()) is not None:
            deadlines.append(expiry)
        self.changed.wait(max(0.0, min(deadlines) - time.monotonic()))
        self.tick()
