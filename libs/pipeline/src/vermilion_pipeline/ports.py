"""What the runtime asks of a broker; ``kafka`` and ``memory`` both answer it.

The vocabulary is Kafka's. ``tests/conformance`` is the definition in detail: both brokers pass it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from vermilion_pipeline.errors import VermilionError
from vermilion_pipeline.rights import Right

Headers = tuple[tuple[str, bytes], ...]


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


class Message(NamedTuple):
    """A record as the broker keeps it, its value not decoded."""

    partition: Partition
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


class Committed(NamedTuple):
    """A committed offset, and the metadata (at most 4,095 characters) committed with it."""

    offset: int
    metadata: str = ""


class BrokerError(VermilionError):
    """The broker refused or failed; the message says what, and what to do."""


class BrokerUnavailable(BrokerError):
    """No broker answers at the addresses given."""


class RegistryUnavailable(BrokerUnavailable):
    """The schema registry does not answer, or not sensibly: wait, and ask again.

    What it was asked for may well be there, so no record is given up for it.
    """


class SchemaRefused(BrokerError):
    """The schema registry refuses one of our schemas for good; nothing was written with it."""


class AccessDenied(BrokerError):
    """A right is missing on the broker; says on what, as far as the broker tells."""


class UnknownTopic(BrokerError):
    """A topic that is needed does not exist."""


class LogReplaced(BrokerError):
    """A partition ends before what is committed of it: it is another log, or has lost its end."""


class QueueFull(BrokerError):
    """The producer's queue is full: wait for deliveries (``flush``), then try again."""


class TransactionAborted(BrokerError):
    """The transaction cannot commit: ``abort`` it, then go back to what is committed."""


class ProducerLost(BrokerError):
    """The producer is beyond use: close it and build another under the same transactional id."""


class Fenced(BrokerError):
    """A newer producer with the same transactional id has taken over: this one must stop."""


class Assignment(Protocol):
    """What a consumer tells its owner about; called inside ``Consumer.poll`` and ``close``."""

    def assigned(self, committed: Mapping[Partition, Committed | None]) -> Mapping[Partition, int]:
        """Partitions have come, with what is committed for each; answer where to read from.

        Called for a member that has joined and has none, too. A partition left out of the answer is
        read from its first record.
        """

    def revoked(self, partitions: Iterable[Partition]) -> None:
        """Partitions are going, or (after a stall) have gone."""


class Consumer(Protocol):
    """A member of a consumer group; sees committed records only."""

    def poll(self, limit: int, timeout: float) -> list[Message]:
        """At most ``limit`` records, waiting at most ``timeout`` seconds for the first."""

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, Committed | None]:
        """What the group has committed for each of ``partitions``."""

    def seek(self, partition: Partition, offset: int) -> None:
        """Read ``partition``, which must be assigned, from ``offset`` on."""

    def lag(self) -> dict[Partition, int]:
        """Records between where each assigned partition is read and its end, as far as known."""

    def take_expired(self) -> dict[Partition, int]:
        """Offsets that the topic's retention deleted before they were read, since it was asked last."""

    def close(self) -> None:
        """Leave the group."""


class Producer(Protocol):
    """An idempotent producer outside transactions."""

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> None:
        """Queue a record. Raises ``QueueFull``."""

    def flush(self, timeout: float) -> int:
        """Wait for deliveries; the number of records still queued when ``timeout`` has passed."""

    @property
    def delivered(self) -> int:
        """Records the broker has acknowledged."""

    @property
    def failures(self) -> Mapping[str, int]:
        """Records that could not be delivered, by the broker's reason."""

    def close(self) -> None:
        """Flush, and let go."""


class TransactionalProducer(Protocol):
    """A producer whose records, and the offsets of what they came from, appear at once or never.

    Each method may raise ``TransactionAborted``, ``ProducerLost`` or ``Fenced``.
    """

    def begin(self) -> None:
        """Open a transaction."""

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> None:
        """Add a record; waits while the queue is full."""

    def send_offsets(self, offsets: Mapping[Partition, Committed], consumer: Consumer) -> None:
        """Add consumed offsets of ``consumer``'s group."""

    def commit(self) -> None:
        """Make all of it visible."""

    def abort(self) -> None:
        """Make none of it visible."""

    def close(self) -> None:
        """Let go; an open transaction is aborted by the broker's time-out."""


class Broker(Protocol):
    """A cluster: where topics, producers and consumers come from."""

    def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        """Partition count of each topic. Raises ``UnknownTopic`` or ``BrokerUnavailable``."""

    def topics(self) -> dict[str, int]:
        """Every topic that is not internal, with its partition count."""

    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each node, as clients are told them. Raises ``BrokerUnavailable``."""

    def create(
        self,
        topics: Sequence[str],
        partitions: int,
        replication: int | None,
        config: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Create what is missing, with Kafka's settings ``config``; the names created."""

    def ends(self, topics: Sequence[str]) -> dict[Partition, int]:
        """For each partition the offset that a reader of all that is committed now comes to."""

    def consumer(self, topics: Sequence[str], group: str, assignment: Assignment) -> Consumer:
        """Join ``group``."""

    def reader(self, topics: Sequence[str], *, beginning: bool) -> Consumer:
        """Read every partition without a group, from the beginning or from now."""

    def producer(self, known: Sequence[str] = (), *, patient: bool = False) -> Producer:
        """An idempotent producer. ``known``: topics that are there, so that the first record does not wait.

        ``patient``: it keeps a record until the broker takes it; others give it up after some minutes.
        """

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        """A transactional producer; fences an older one of the same id."""

    def missing(self, rights: Iterable[Right]) -> list[Right]:
        """Those of ``rights`` that whoever uses this broker has not. Raises ``BrokerUnavailable``."""
