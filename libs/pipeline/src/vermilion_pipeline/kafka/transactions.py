"""The transactional producer."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from vermilion_pipeline.kafka import errors, settings
from vermilion_pipeline.kafka.deadlines import DidNotReturn, PatientThread
from vermilion_pipeline.kafka.group import KafkaConsumer
from vermilion_pipeline.kafka.producer import ANY, RequireTopics, make_producer
from vermilion_pipeline.ports import (
    BrokerError,
    Committed,
    Consumer,
    Fenced,
    Headers,
    Partition,
    ProducerLost,
    TransactionAborted,
)

_INIT_PATIENCE = 60.0
"""Seconds for the first call: it waits until an older producer's transaction has ended."""
_CLOSE_PATIENCE = 2.0
_SETTLE_PATIENCE = 2.0
"""Seconds for records to be delivered before an abort; see ``_settle``."""
_GRACE = 10.0
"""Seconds beyond the transaction's time-out for which a call is tried again."""
_OVERDUE = 5.0
"""Seconds beyond its own time-out after which a call counts as one that never returns."""


class KafkaTransactionalProducer:
    """A transactional producer; one thread uses it.

    What has gone for good (``Fenced``, ``ProducerLost``) is raised again by every later call.
    """

    def __init__(self, config: dict[str, Any], transactional_id: str, require_topics: RequireTopics) -> None:
        self._id: Final = transactional_id
        self._require_topics = require_topics
        self._known: set[str] = set()
        self._timeout = int(config[settings.TRANSACTION_TIMEOUT]) / 1000
        self._patience = self._timeout + _GRACE
        self._began: float | None = None
        self._failed: TransactionAborted | None = None
        self._stuck = False
        """librdkafka has given the transaction up, and delivers no more of it."""
        self._gone: BrokerError | None = None
        self._producer: Producer | None = make_producer(config)
        self._thread = PatientThread(f"transactions {transactional_id}")
        producer = self._producer
        try:
            self._call(producer.init_transactions, "registering", _INIT_PATIENCE)
        except BrokerError:
            self._thread.close()
            raise

    def begin(self) -> None:
        """Open a transaction. Raises ``BrokerError`` when one is open."""
        producer = self._require_usable()
        if self._began is not None:
            raise BrokerError("a transaction is open already: commit or abort it")
        self._call(lambda _: producer.begin_transaction(), "beginning a transaction")
        self._began = time.monotonic()
        producer.poll(0)

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> None:
        """Add a record; waits while the queue is full.

        Raises ``UnknownTopic`` for a topic not yet used, ``BrokerError`` for a record too large
        (the transaction goes on without it).
        """
        producer = self._require_sound()
        if topic not in self._known:
            # librdkafka would only notice after half a minute, in commit.
            self._require_topics((topic,))
            self._known.add(topic)
        number = ANY if partition is None else partition
        try:
            if headers:
                producer.produce(topic, value, key, number, headers=list(headers))
            else:
                producer.produce(topic, value, key, number)
        except BufferError:
            self._wait_for_room(producer)
            self.produce(topic, key, value, headers, partition)
        except KafkaException as exception:
            raise self._translated(errors.kafka_error(exception), "producing") from exception

    def send_offsets(self, offsets: Mapping[Partition, Committed], consumer: Consumer) -> None:
        """Add consumed offsets of ``consumer``'s group.

        Raises ``TransactionAborted`` when a partition is no longer its, or metadata is too long.
        """
        if not isinstance(consumer, KafkaConsumer):
            raise TypeError(f"not a group member of this broker: {consumer!r}")
        producer = self._require_sound()
        if not offsets:
            return
        try:
            membership = consumer.membership(offsets)
        except TransactionAborted as error:
            self._failed = error
            raise
        positions = [TopicPartition(*p, known.offset, known.metadata) for p, known in offsets.items()]
        self._call(
            lambda left: producer.send_offsets_to_transaction(positions, membership, left), "sending offsets"
        )

    def commit(self) -> None:
        """Make records and offsets visible.

        When the broker does not answer in time, whether it has committed is not known:
        ``ProducerLost``, and what is committed tells.
        """
        producer = self._require_sound()
        self._call(producer.commit_transaction, "committing")
        self._began = None

    def abort(self) -> None:
        """Hide the records for ever and drop the offsets."""
        producer = self._require_open()
        self._settle(producer)
        self._call(producer.abort_transaction, "aborting")
        self._began = self._failed = None
        self._stuck = False

    def close(self) -> None:
        """Let go; an open transaction is aborted, by the broker's time-out at the latest."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        self._thread.close()
        if self._began is not None and self._gone is None:
            with suppress(KafkaException):
                self._settle(producer)
                producer.abort_transaction(_CLOSE_PATIENCE)
        producer.purge()

    def _require_usable(self) -> Producer:
        if self._gone is not None:
            raise self._gone
        if self._producer is None:
            raise ProducerLost(f"producer {self._id} is closed: build another under the same id")
        return self._producer

    def _require_open(self) -> Producer:
        producer = self._require_usable()
        if self._began is None:
            raise BrokerError("no transaction is open")
        return producer

    def _require_sound(self) -> Producer:
        producer = self._require_open()
        if self._failed is not None:
            raise self._failed
        return producer

    def _settle(self, producer: Producer) -> None:
        """Deliver what is queued before an abort, although it will be hidden.

        While the coordinator still completes the last transaction it puts off registering
        partitions; librdkafka sends the abort regardless, the coordinator knows of no transaction
        to abort (INVALID_TXN_STATE), and that is fatal: 3 of 100 aborts soon after a commit.
        """
        if not self._stuck:
            with suppress(KafkaException):  # the abort itself says what is wrong
                producer.flush(_SETTLE_PATIENCE)

    def _wait_for_room(self, producer: Producer) -> None:
        until = time.monotonic() + self._patience
        full = len(producer)
        while len(producer) >= full:
            if time.monotonic() >= until:
                self._failed = TransactionAborted(f"nothing was delivered for {self._patience:.0f} s: abort")
                raise self._failed
            producer.poll(0.05)

    def _call(self, call: Callable[[float], None], doing: str, within: float | None = None) -> None:
        """Make a call that may wait for the broker, again while its error is transient."""

        def on_thread(left: float) -> None:
            self._thread.call(lambda: call(left), left + _OVERDUE)

        try:
            errors.retried(on_thread, doing, self._patience if within is None else within, self._translated)
        except DidNotReturn as error:
            text = f"producer {self._id}, {doing}: {error}: build another under the same id"
            self._gone = ProducerLost(text)
            raise self._gone from None

    def _translated(self, error: KafkaError, doing: str) -> BrokerError:
        """What ``error`` means for the transaction; ``_failed`` or ``_gone`` remembers it."""
        if error.code() == KafkaError._FATAL and self._producer is not None:
            # A record refused by a dead producer does not say of what it died; this does.
            try:
                self._producer.begin_transaction()
            except KafkaException as exception:
                error = errors.kafka_error(exception)
        text = f"producer {self._id}, {doing}: {error.str()}"
        if error.code() in errors.DENIED:
            self._gone = errors.translate(error, f"producer {self._id}, {doing}")
            return self._gone
        if error.txn_requires_abort():
            self._stuck = True
            self._failed = TransactionAborted(f"{text}: abort, and go back to what is committed")
            return self._failed
        if error.fatal() or error.code() in errors.FENCED:
            self._gone = self._end(error, text)
            return self._gone
        if error.retriable() or error.code() in errors.TRANSIENT:
            # The call is still under way in librdkafka, which now answers _CONFLICT to any other.
            self._gone = ProducerLost(f"{text}: build another under the same id")
            return self._gone
        return errors.translate(error, f"producer {self._id}, {doing}")

    def _end(self, error: KafkaError, text: str) -> BrokerError:
        """Fenced or lost: a transaction that timed out looks to librdkafka like one fenced."""
        overdue = self._began is not None and time.monotonic() - self._began >= self._timeout
        if error.code() in errors.FENCED and not overdue:
            return Fenced(f"{text}: a newer producer has the same id, this one must stop")
        return ProducerLost(f"{text}: close it and build another under the same id")
