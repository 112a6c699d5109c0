"""What the suite needs: an assignment that takes notes, bounded waiting, and a small transactional loop."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from vermilion_pipeline.ports import (
    Broker,
    Committed,
    Consumer,
    Headers,
    Message,
    Partition,
    TransactionAborted,
)

PATIENCE = 30.0
"""Seconds after which something that must happen has not."""


@dataclass(frozen=True)
class Tuning:
    """How a test's broker differs from the usual."""

    stalls: bool = False
    """Put out members that do not poll as soon as the broker can."""
    transaction_timeout: float = 10.0
    queue_size: int = 100_000
    linger: float = 0.005


@dataclass
class Notes:
    """An ``Assignment`` that resumes from what is committed and remembers what it was told."""

    assignments: list[dict[Partition, Committed | None]] = field(default_factory=list)
    held: set[Partition] = field(default_factory=set)
    given_up: list[Partition] = field(default_factory=list)
    answer: Mapping[Partition, int] | None = None
    joined: bool = False

    def assigned(self, committed: Mapping[Partition, Committed | None]) -> Mapping[Partition, int]:
        assert not self.held & committed.keys(), "assigned twice"
        self.joined = True
        if committed:
            self.assignments.append(dict(committed))
        self.held |= committed.keys()
        if self.answer is not None:
            return self.answer
        return {partition: known.offset for partition, known in committed.items() if known is not None}

    def revoked(self, partitions: Iterable[Partition]) -> None:
        gone = set(partitions)
        assert gone <= self.held, "revoked, but never assigned"
        self.held -= gone
        self.given_up += gone

    @property
    def committed(self) -> dict[Partition, Committed | None]:
        """What was committed for each partition when it was last assigned."""
        return {partition: known for one in self.assignments for partition, known in one.items()}


def until(condition: Callable[[], bool], act: Callable[[], object], what: str) -> None:
    """Act (which waits a moment by itself) until the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {PATIENCE:.0f} s: {what}")
        act()


def read(consumer: Consumer, count: int) -> list[Message]:
    """Exactly ``count`` records; more than that is a failure of the broker."""
    found: list[Message] = []
    until(
        lambda: len(found) >= count,
        lambda: found.extend(consumer.poll(500, 0.2)),
        f"{count} records, {found=}",
    )
    assert len(found) == count, found
    return found


def read_all(broker: Broker, topic: str, sentinel_key: bytes = b"sentinel") -> list[Message]:
    """Every record that is visible now.

    One more record is sent to each partition; what is read before it is all there was.
    """
    partitions = broker.partitions([topic])[topic]
    send(broker, topic, [(sentinel_key, None)] * partitions, partitions=range(partitions))
    reader = broker.reader([topic], beginning=True)
    found: list[Message] = []
    try:
        until(
            lambda: sum(message.key == sentinel_key for message in found) >= partitions,
            lambda: found.extend(reader.poll(500, 0.2)),
            f"the end of {topic}",
        )
    finally:
        reader.close()
    return [message for message in found if message.key != sentinel_key]


def send(
    broker: Broker,
    topic: str,
    records: Iterable[tuple[bytes | None, bytes | None]],
    headers: Headers = (),
    partitions: Sequence[int] | None = None,
) -> None:
    """Deliver records (key, value), outside a transaction."""
    producer = broker.producer()
    for number, (key, value) in enumerate(records):
        producer.produce(topic, key, value, headers, None if partitions is None else partitions[number])
    assert producer.flush(PATIENCE) == 0
    assert not producer.failures
    producer.close()


def join(consumer: Consumer, notes: Notes, count: int) -> list[Message]:
    """Poll until ``count`` partitions are held; the records that came meanwhile."""
    found: list[Message] = []
    until(
        lambda: len(notes.held) == count,
        lambda: found.extend(consumer.poll(500, 0.1)),
        f"{count} partitions, {notes=}",
    )
    return found


class Copier(Notes):
    """The runtime in small: copies ``source`` to ``target``, one transaction for several polls.

    A transaction that is open when partitions go is finished as ``when_revoked`` says.
    """

    def __init__(self, broker: Broker, source: str, target: str, group: str, producer_id: str) -> None:
        super().__init__()
        self.target = target
        self.when_revoked: Callable[[], None] = self.commit
        self.open = False
        self.copied = 0
        self.offsets: dict[Partition, Committed] = {}
        self.producer = broker.transactional(producer_id)
        self.consumer = broker.consumer([source], group, self)
        self._stale = False

    def revoked(self, partitions: Iterable[Partition]) -> None:
        going = list(partitions)
        if self.open:
            self.when_revoked()
        super().revoked(going)

    def step(self, limit: int = 20) -> None:
        """One poll, whose records join the transaction."""
        messages = self.consumer.poll(limit, 0.1)
        if self._stale:
            # An abort inside the poll: these records, too, are beyond what is committed now.
            self._go_back()
            return
        if messages and not self.open:
            self.producer.begin()
            self.open = True
        for message in messages:
            self.producer.produce(self.target, message.key, message.value, message.headers)
            self.offsets[message.partition] = Committed(message.offset + 1)
            self.copied += 1

    def commit(self) -> None:
        if not self.open:
            return
        try:
            self.producer.send_offsets(self.offsets, self.consumer)
            self.producer.commit()
        except TransactionAborted:
            self.abort()
            return
        self.open = False
        self.offsets = {}

    def abort(self) -> None:
        self.producer.abort()
        self.open = False
        self.offsets = {}
        self._stale = True

    def _go_back(self) -> None:
        self._stale = False
        for partition, known in self.consumer.committed(self.held).items():
            self.consumer.seek(partition, known.offset if known else 0)

    def close(self) -> None:
        self.consumer.close()
        self.producer.close()
