"""The idempotent producer outside transactions."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as RawMessage

from vermilion_pipeline.kafka import errors
from vermilion_pipeline.ports import BrokerError, Headers, QueueFull

_log = logging.getLogger(__name__)

_CLOSE_PATIENCE = 30.0
"""Seconds that ``close`` waits for deliveries."""
ANY = -1

RequireTopics = Callable[[Sequence[str]], object]


def make_producer(config: dict[str, Any]) -> Producer:
    """A librdkafka producer. Raises ``BrokerError`` for a setting that it refuses."""
    try:
        return Producer(config)
    except KafkaException as exception:
        raise BrokerError(f"librdkafka refuses a setting: {errors.kafka_error(exception).str()}") from None


class KafkaProducer:
    """Counts deliveries and failures; never waits for the broker once a topic is known."""

    def __init__(
        self, config: dict[str, Any], require_topics: RequireTopics, known: Sequence[str] = ()
    ) -> None:
        self._require_topics = require_topics
        self._known = set(known)
        self._delivered = 0
        self._failures: Counter[str] = Counter()
        self._capacity = config["queue.buffering.max.messages"]
        self._producer: Producer | None = make_producer({**config, "on_delivery": self._on_delivery})

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> None:
        """Queue a record. Raises ``QueueFull``, and ``UnknownTopic`` for a topic not yet used.

        A record that can never be delivered (too large, no such partition) counts as a failure.
        """
        producer = self._producer
        if producer is None:
            raise BrokerError("the producer is closed")
        if topic not in self._known:
            self._require_topics((topic,))
            self._known.add(topic)
        number = ANY if partition is None else partition
        try:
            if headers:
                producer.produce(topic, value, key, number, headers=list(headers))
            else:
                producer.produce(topic, value, key, number)
        except BufferError:
            producer.poll(0)
            raise QueueFull(f"{self._capacity} records are queued: flush, then try again") from None
        except KafkaException as exception:
            self._refused(errors.kafka_error(exception))
        producer.poll(0)

    def flush(self, timeout: float) -> int:
        """Wait for deliveries; the number of records still queued after ``timeout`` seconds."""
        return self._producer.flush(timeout) if self._producer is not None else 0

    @property
    def delivered(self) -> int:
        """Records the broker has acknowledged."""
        return self._delivered

    @property
    def failures(self) -> Mapping[str, int]:
        """Records that could not be delivered, by the name of Kafka's error."""
        return dict(self._failures)

    def close(self) -> None:
        """Flush, and let go; what is undeliverable after 30 s counts as a failure."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        if left := producer.flush(_CLOSE_PATIENCE):
            _log.error("%d records could not be delivered within %d s", left, _CLOSE_PATIENCE)
            producer.purge()
            producer.flush(1)

    def _on_delivery(self, error: KafkaError | None, _message: "RawMessage[Any, Any]") -> None:
        if error is None:
            self._delivered += 1
        else:
            self._failures[error.name()] += 1

    def _refused(self, error: KafkaError) -> None:
        """What ``produce`` itself refuses: the record's fault, or the end of the producer."""
        if error.fatal() or error.code() == KafkaError._FATAL:
            if error.code() in errors.DENIED:
                raise errors.translate(error, "writing")
            raise BrokerError(f"the producer is beyond use ({error.str()}): build another")
        self._failures[error.name()] += 1
