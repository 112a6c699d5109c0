"""Writing: the idempotent producer, and the transactional one."""

import time
from collections import Counter, deque
from collections.abc import Mapping

from vermilion_pipeline.headers import sizes
from vermilion_pipeline.memory.cluster import Cluster
from vermilion_pipeline.memory.consumer import MemoryConsumer
from vermilion_pipeline.memory.transactions import Transaction
from vermilion_pipeline.ports import (
    BrokerError,
    Committed,
    Consumer,
    Fenced,
    Headers,
    Partition,
    ProducerLost,
    QueueFull,
    TransactionAborted,
)

METADATA_LIMIT = 4095
"""Characters of commit metadata that a Kafka broker takes by default."""

LARGEST = 1_000_000
"""Bytes of a record that a Kafka client takes by default."""

_Queued = tuple[Partition, bytes | None, bytes | None, Headers]


class MemoryProducer:
    """A producer with a bounded queue (``capacity`` records), delivered after ``linger`` seconds.

    Deliveries happen in ``flush`` and whenever any client of the broker does something.
    """

    def __init__(self, cluster: Cluster, capacity: int, linger: float) -> None:
        self._cluster = cluster
        self._capacity = capacity
        self._linger = linger
        self._queue: deque[_Queued] = deque()
        self._oldest = 0.0
        self._delivered = 0
        self._failures: Counter[str] = Counter()
        self._closed = False
        with cluster.changed:
            cluster.producers.add(self)

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> None:
        """Queue a record. Raises ``QueueFull``, or ``UnknownTopic``."""
        with self._cluster.changed:
            if self._closed:
                raise BrokerError("the producer is closed")
            now = time.monotonic()
            self.deliver_due(now)
            if len(self._queue) >= self._capacity:
                raise QueueFull(f"{self._capacity} records are queued: flush, then try again")
            place = self._cluster.place(topic, key) if partition is None else Partition(topic, partition)
            self._cluster.require((topic,))
            if not 0 <= place.number < len(self._cluster.logs[topic]):
                self._failures["_UNKNOWN_PARTITION"] += 1
                return
            if not self._queue:
                self._oldest = now
                self._cluster.changed.notify_all()
            self._queue.append((place, key, value, headers))

    def flush(self, timeout: float) -> int:
        """Deliver what is queued: always 0, whatever ``timeout`` is."""
        with self._cluster.changed:
            self._deliver()
        return 0

    @property
    def delivered(self) -> int:
        """Records appended to a log."""
        return self._delivered

    @property
    def failures(self) -> Mapping[str, int]:
        """Records that could not be delivered, by reason."""
        return dict(self._failures)

    def close(self) -> None:
        """Deliver what is queued, and let go."""
        with self._cluster.changed:
            self._deliver()
            self._closed = True
            self._cluster.producers.discard(self)

    def due(self) -> float | None:
        """When the oldest queued record has lingered (monotonic seconds); None: nothing queued."""
        return self._oldest + self._linger if self._queue else None

    def deliver_due(self, now: float) -> None:
        """Under the lock: deliver everything when the oldest record has lingered."""
        if self._queue and now >= self._oldest + self._linger:
            self._deliver()

    def _deliver(self) -> None:
        while self._queue:
            partition, key, value, headers = self._queue.popleft()
            self._cluster.append(partition, key, value, headers, 0)
            self._delivered += 1
            self._cluster.changed.notify_all()


class MemoryTransactionalProducer:
    """A transactional producer. Each method raises ``Fenced`` once a newer one has its id."""

    def __init__(self, cluster: Cluster, transactional_id: str) -> None:
        self._cluster = cluster
        self._id = transactional_id
        self._transaction: Transaction | None = None
        self._failed: str | None = None
        self._lost = False
        with cluster.changed:
            cluster.tick()
            self._epoch = cluster.coordinator.register(transactional_id)
            cluster.changed.notify_all()

    def begin(self) -> None:
        """Open a transaction. Raises ``BrokerError`` when one is open."""
        with self._cluster.changed:
            self._require_usable()
            if self._transaction is not None:
                raise BrokerError("a transaction is open already: commit or abort it")
            self._transaction = self._cluster.coordinator.begin(self._id)

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> None:
        """Append a record, hidden until ``commit``.

        Raises ``UnknownTopic``, ``BrokerError`` for a record too large.
        """
        size = len(key or b"") + len(value or b"") + sum(sizes(headers))
        with self._cluster.changed:
            transaction = self._require_sound()
            if size > LARGEST:
                raise BrokerError(f"a record of {size} bytes; at most {LARGEST} are taken")
            place = self._cluster.place(topic, key) if partition is None else Partition(topic, partition)
            log = self._cluster.append(place, key, value, headers, transaction.serial)
            transaction.logs.add(log)

    def send_offsets(self, offsets: Mapping[Partition, Committed], consumer: Consumer) -> None:
        """Add offsets of ``consumer``'s group.

        Raises ``TransactionAborted`` when a partition is no longer its, or metadata is too long.
        """
        if not isinstance(consumer, MemoryConsumer):
            raise TypeError(f"not a group member of this broker: {consumer!r}")
        with self._cluster.changed:
            transaction = self._require_sound()
            try:
                consumer.require_owned(offsets)
                longest = max((len(committed.metadata) for committed in offsets.values()), default=0)
                if longest > METADATA_LIMIT:
                    raise TransactionAborted(
                        f"commit metadata of {longest} characters; the broker takes {METADATA_LIMIT}"
                    )
            except TransactionAborted as error:
                self._failed = str(error)
                raise
            transaction.offsets.setdefault(consumer.group, {}).update(offsets)

    def commit(self) -> None:
        """Make records and offsets visible. Raises ``TransactionAborted`` after a failure."""
        with self._cluster.changed:
            self._require_sound()
            self._finish(commit=True)

    def abort(self) -> None:
        """Hide the records for ever and drop the offsets."""
        with self._cluster.changed:
            self._require_open()
            self._finish(commit=False)

    def close(self) -> None:
        """Let go; an open transaction is aborted."""
        with self._cluster.changed:
            transaction, self._transaction = self._transaction, None
            current = self._cluster.coordinator.is_current(self._id, self._epoch)
            if transaction is not None and current and not transaction.expired:
                self._finish(commit=False)
            self._lost = True

    def _finish(self, *, commit: bool) -> None:
        self._cluster.coordinator.finish(self._id, commit=commit)
        self._transaction = None
        self._failed = None
        self._cluster.changed.notify_all()

    def _require_usable(self) -> None:
        self._cluster.tick()
        if not self._cluster.coordinator.is_current(self._id, self._epoch):
            raise Fenced(f"a newer producer uses the transactional id {self._id}: this one must stop")
        if self._transaction is not None and self._transaction.expired:
            self._lost = True
        if self._lost:
            raise ProducerLost(
                f"producer {self._id} is closed, or its transaction was open for more than "
                f"{self._cluster.coordinator.timeout} s: build another under the same id"
            )

    def _require_open(self) -> Transaction:
        self._require_usable()
        if self._transaction is None:
            raise BrokerError("no transaction is open")
        return self._transaction

    def _require_sound(self) -> Transaction:
        transaction = self._require_open()
        if self._failed is not None:
            raise TransactionAborted(self._failed)
        return transaction
