"""The cluster's front door: topics, and the clients."""

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ClusterMetadata, OffsetSpec  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewTopic

from vermilion_pipeline.kafka import errors, settings
from vermilion_pipeline.kafka.consumer import KafkaReader
from vermilion_pipeline.kafka.group import KafkaConsumer
from vermilion_pipeline.kafka.producer import KafkaProducer
from vermilion_pipeline.kafka.rights import missing
from vermilion_pipeline.kafka.transactions import KafkaTransactionalProducer
from vermilion_pipeline.ports import (
    AccessDenied,
    Assignment,
    BrokerError,
    BrokerUnavailable,
    Partition,
    UnknownTopic,
)
from vermilion_pipeline.rights import Right

_PATIENCE = 10.0
"""Seconds to wait for metadata."""
_BROKERS_DEFAULT = -1


class KafkaBroker:
    """``ports.Broker`` on Apache Kafka. Connects when first asked something.

    ``config``: librdkafka's settings, ``bootstrap.servers`` at least. They win over Vermilion's
    defaults, but not over what the guarantees need (``settings``).
    """

    def __init__(self, config: Mapping[str, str]) -> None:
        self._config = dict(config)
        self._addresses = self._config.get("bootstrap.servers", "")
        self._client: AdminClient | None = None
        self._trouble: dict[str, None] = {}

    def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        """Partition count of each topic. Raises ``UnknownTopic`` or ``BrokerUnavailable``."""
        known = self._metadata()
        missing = [topic for topic in topics if topic not in known]
        if missing:
            if denied := [topic for topic in missing if self._denied(topic)]:
                raise AccessDenied(f"no right to see topic {', '.join(denied)} at {self._addresses}")
            raise UnknownTopic(
                f"no topic {', '.join(missing)} at {self._addresses}: "
                "create it with `vermilion topics create`"
            )
        return {topic: known[topic] for topic in topics}

    def topics(self) -> dict[str, int]:
        """Every topic that is not internal, with its partition count. Raises ``BrokerUnavailable``."""
        return {topic: count for topic, count in self._metadata().items() if not topic.startswith("__")}

    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each node, as clients are told them. Raises ``BrokerUnavailable``."""
        return [(str(node.host), node.port) for node in self._cluster().brokers.values()]

    def create(
        self,
        topics: Sequence[str],
        partitions: int,
        replication: int | None,
        config: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Create what is missing; the names created, which every client can then use.

        ``replication`` None: the broker's default; ``config``: Kafka's settings of a topic. Raises
        ``BrokerError`` when it refuses.
        """
        known = self._metadata()
        factor = _BROKERS_DEFAULT if replication is None else replication
        wanted = [
            NewTopic(topic, partitions, factor, config=dict(config or {}))
            for topic in dict.fromkeys(topics)
            if topic not in known
        ]
        if not wanted:
            return []
        answers = self._admin().create_topics(wanted, operation_timeout=_PATIENCE)
        created = [topic for topic, answer in answers.items() if self._is_new(topic, answer)]
        until = time.monotonic() + _PATIENCE
        while any(topic not in self._metadata() for topic in topics):
            # The other nodes learn of it a moment later.
            if time.monotonic() >= until:
                raise BrokerError(f"{', '.join(topics)}: created, but not usable after {_PATIENCE:.0f} s")
            time.sleep(0.05)
        return created

    def ends(self, topics: Sequence[str]) -> dict[Partition, int]:
        """Each partition's last stable offset. Raises ``UnknownTopic`` or ``BrokerUnavailable``."""
        return self._stable_ends(self._every(topics))

    def consumer(self, topics: Sequence[str], group: str, assignment: Assignment) -> KafkaConsumer:
        """Join ``group``. Raises ``UnknownTopic`` or ``BrokerUnavailable``."""
        self.partitions(topics)
        return KafkaConsumer(settings.consumer(self._config, group), topics, group, assignment, self._first)

    def reader(self, topics: Sequence[str], *, beginning: bool) -> KafkaReader:
        """Read every partition without a group, from the first record or the last stable offset."""
        every = self._every(topics)
        starts = self._first(every) if beginning else self._stable_ends(every)
        return KafkaReader(settings.consumer(self._config, f"vermilion-reader-{uuid.uuid4()}"), starts)

    def producer(self, known: Sequence[str] = (), *, patient: bool = False) -> KafkaProducer:
        """An idempotent producer that does not ask for topics ``known``; ``patient``: gives up no record."""
        return KafkaProducer(settings.producer(self._config, patient=patient), self.partitions, known)

    def transactional(self, transactional_id: str) -> KafkaTransactionalProducer:
        """A transactional producer; fences an older one of the same id. Raises ``BrokerUnavailable``."""
        self._metadata()
        config = settings.transactional(self._config, transactional_id)
        return KafkaTransactionalProducer(config, transactional_id, self.partitions)

    def _admin(self) -> AdminClient:
        if self._client is None:
            try:
                config: dict[str, Any] = {**settings.admin(self._config), "error_cb": self._on_error}
                self._client = AdminClient(config)
            except KafkaException as exception:
                text = errors.kafka_error(exception).str()
                raise BrokerError(f"librdkafka refuses a setting: {text}") from None
        return self._client

    def _on_error(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._trouble[error.str().partition(" (after")[0]] = None

    def _metadata(self) -> dict[str, int]:
        """Every usable topic with its partition count. Raises ``BrokerUnavailable``."""
        return {
            name: len(topic.partitions)
            for name, topic in self._cluster().topics.items()
            if topic.error is None and topic.partitions
        }

    def _cluster(self) -> ClusterMetadata:
        client = self._admin()
        self._trouble.clear()
        try:
            answer = client.list_topics(timeout=_PATIENCE)
        except KafkaException as exception:
            client.poll(0)
            reasons = "; ".join(self._trouble) or errors.kafka_error(exception).str()
            raise BrokerUnavailable(
                f"no Kafka broker answers at {self._addresses} ({reasons}): check that the cluster runs "
                "and that `bootstrap.servers` is right, or ask `vermilion doctor`"
            ) from exception
        client.poll(0)
        return answer

    def _denied(self, topic: str) -> bool:
        """Whether the broker keeps ``topic`` from us, which a list of all topics does not tell."""
        try:
            answer = self._admin().list_topics(topic, _PATIENCE).topics[topic]
        except KafkaException:
            return False
        return answer.error is not None and answer.error.code() in errors.DENIED

    def missing(self, rights: Iterable[Right]) -> list[Right]:
        """Those of ``rights`` that this user has not. Raises ``BrokerUnavailable``."""
        self._metadata()
        return missing(self._admin(), self._config, rights)

    def _is_new(self, topic: str, answer: "Future[None]") -> bool:
        try:
            answer.result()
        except KafkaException as exception:
            error = errors.kafka_error(exception)
            if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return False
            raise errors.translate(error, f"creating topic {topic}") from exception
        return True

    def _every(self, topics: Sequence[str]) -> list[Partition]:
        counts = self.partitions(topics)
        return [Partition(topic, number) for topic, count in counts.items() for number in range(count)]

    def _first(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        return self._offsets(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    def _stable_ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        return self._offsets(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def _offsets(self, partitions: Sequence[Partition], which: OffsetSpec) -> dict[Partition, int]:
        asked = {TopicPartition(*partition): which for partition in partitions}

        def ask(left: float) -> dict[Partition, int]:
            client = self._admin()
            answers = client.list_offsets(
                asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=left
            )
            try:
                return {Partition(p.topic, p.partition): one.result().offset for p, one in answers.items()}
            except KafkaException:
                # It would ask the leader that was again and again: it only learns of another this way.
                client.list_topics(timeout=left)
                raise

        # Transient errors are usual for a topic just created: its leader has yet to take it up.
        return errors.retried(ask, f"asking {self._addresses} for the offsets of partitions", _PATIENCE)
