"""The in-memory broker's front door."""

from collections.abc import Iterable, Mapping, Sequence

from vermilion_pipeline.memory.cluster import Cluster
from vermilion_pipeline.memory.consumer import MemoryConsumer, MemoryReader
from vermilion_pipeline.memory.log import PartitionLog
from vermilion_pipeline.memory.producer import MemoryProducer, MemoryTransactionalProducer
from vermilion_pipeline.ports import Assignment, Partition
from vermilion_pipeline.rights import Right


class MemoryBroker:
    """``ports.Broker`` in memory, for clients in any number of threads.

    ``session_timeout``: seconds without a poll after which a member is put out of its group.
    ``transaction_timeout``: seconds after which an open transaction is aborted.
    ``queue_size``: records that a producer queues before it raises ``QueueFull``.
    ``linger``: seconds that a queued record waits at most before it is delivered.
    """

    def __init__(
        self,
        *,
        session_timeout: float = 30.0,
        transaction_timeout: float = 10.0,
        queue_size: int = 100_000,
        linger: float = 0.005,
    ) -> None:
        self._cluster = Cluster(session_timeout, transaction_timeout)
        self._queue_size = queue_size
        self._linger = linger

    def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        """Partition count of each topic. Raises ``UnknownTopic``."""
        with self._cluster.changed:
            self._cluster.require(topics)
            return {topic: len(self._cluster.logs[topic]) for topic in topics}

    def topics(self) -> dict[str, int]:
        """Every topic that is not internal, with its partition count."""
        with self._cluster.changed:
            return {topic: n for topic, n in self._cluster.counts().items() if not topic.startswith("__")}

    def addresses(self) -> list[tuple[str, int]]:
        """None: nobody listens."""
        return []

    def create(
        self,
        topics: Sequence[str],
        partitions: int,
        replication: int | None,
        config: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Create what is missing; the names created. ``replication`` and ``config`` mean nothing here."""
        with self._cluster.changed:
            missing = [topic for topic in dict.fromkeys(topics) if topic not in self._cluster.logs]
            for topic in missing:
                self._cluster.logs[topic] = [PartitionLog() for _ in range(partitions)]
            return missing

    def ends(self, topics: Sequence[str]) -> dict[Partition, int]:
        """Each partition's last stable offset. Raises ``UnknownTopic``."""
        with self._cluster.changed:
            self._cluster.require(topics)
            self._cluster.tick()
            return {
                Partition(topic, number): log.stable
                for topic in topics
                for number, log in enumerate(self._cluster.logs[topic])
            }

    def expire(self, partition: Partition, before: int) -> None:
        """Delete the records before an offset, as a retention does that nothing else here has."""
        with self._cluster.changed:
            self._cluster.log(partition).expire(before)

    def consumer(self, topics: Sequence[str], group: str, assignment: Assignment) -> MemoryConsumer:
        """Join ``group``. Raises ``UnknownTopic``."""
        return MemoryConsumer(self._cluster, topics, group, assignment)

    def reader(self, topics: Sequence[str], *, beginning: bool) -> MemoryReader:
        """Read every partition without a group, from the beginning or from now."""
        return MemoryReader.of(self._cluster, topics, beginning=beginning)

    def producer(self, known: Sequence[str] = (), *, patient: bool = False) -> MemoryProducer:
        """A producer outside transactions; it is asked for nothing that could wait, and gives nothing up."""
        return MemoryProducer(self._cluster, self._queue_size, self._linger)

    def transactional(self, transactional_id: str) -> MemoryTransactionalProducer:
        """A transactional producer; an older one of the same id is fenced."""
        return MemoryTransactionalProducer(self._cluster, transactional_id)

    def missing(self, rights: Iterable[Right]) -> list[Right]:
        """None: everybody in this process may do everything."""
        return []
