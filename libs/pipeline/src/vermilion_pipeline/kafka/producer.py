"""The idempotent producer outside transactions."""

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as RawMessage

from vermilion_pipeline.kafka import errors
from vermilion_pipeline.ports import BrokerError, Headers, QueueFull

_log = logging.getLogger(__name__)

_CLOSE_PATIENCE = 30.0
"""Seconds that ``close`` waits for deliveries."""
_AGAIN_SECONDS = 1.0
"""After which a record that was refused for a reason unknown is tried again."""
_LAST_SECONDS = 60.0
"""After which it is given up."""
_MOST_AGAIN = 10_000
ANY = -1

RequireTopics = Callable[[Sequence[str]], object]


def make_producer(config: dict[str, Any]) -> Producer:
    """A librdkafka producer. Raises ``BrokerError`` for a setting that it refuses."""
    try:
        return Producer(config)
    except KafkaException as exception:
        raise BrokerError(f"librdkafka refuses a setting: {errors.kafka_error(exception).str()}") from None


class _Refused(NamedTuple):
    """A record that a broker refused, saying not why."""

    message: "RawMessage[Any, Any]"
    headers: Headers
    since: float
    due: float


class KafkaProducer:
    """Counts deliveries and failures; never waits for the broker once a topic is known.

    A broker whose disk is full answers UNKNOWN_SERVER_ERROR before it ends, as it cannot write to an
    index; librdkafka takes it for one that does not pass. Such a record is tried again here, for a
    minute: it may come after later ones, and twice if the broker had it before it failed.
    """

    def __init__(
        self, config: dict[str, Any], require_topics: RequireTopics, known: Sequence[str] = ()
    ) -> None:
        self._require_topics = require_topics
        self._known = set(known)
        self._delivered = 0
        self._failures: Counter[str] = Counter()
        self._again: deque[_Refused] = deque()
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
            if self._again:
                self._try_again(producer)
                if len(self._again) >= _MOST_AGAIN:
                    raise BufferError
            if headers:
                # What is delivered comes back without its headers.
                settled = partial(self._on_delivery, headers=headers)
                producer.produce(topic, value, key, number, headers=list(headers), on_delivery=settled)
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
        producer, deadline = self._producer, monotonic() + timeout
        if producer is None:
            return 0
        while True:
            self._try_again(producer)
            left = producer.flush(max(0.0, min(_AGAIN_SECONDS, deadline - monotonic())))
            if not left + len(self._again) or monotonic() >= deadline:
                return left + len(self._again)
            if not left:
                producer.poll(0.1)

    def _try_again(self, producer: Producer) -> None:
        """Produce again what was refused a while ago."""
        while self._again and self._again[0].due <= monotonic():
            message, headers, since, _ = refused = self._again.popleft()
            settled = partial(self._on_delivery, headers=headers, since=since)
            topic, number = message.topic() or "", message.partition()
            try:
                producer.produce(
                    topic, message.value(), message.key(), ANY if number is None else number, settled,
                    headers=list(headers),
                )  # fmt: skip
            except BufferError:
                self._again.appendleft(refused)
                return
            except KafkaException as exception:
                self._refused(errors.kafka_error(exception))

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
        left = self.flush(_CLOSE_PATIENCE)
        producer, self._producer = self._producer, None
        if producer is not None and left:
            _log.error("%d records could not be delivered within %d s", left, _CLOSE_PATIENCE)
            producer.purge()
            producer.flush(1)
            self._failures["UNKNOWN"] += len(self._again)

    def _on_delivery(
        self,
        error: KafkaError | None,
        message: "RawMessage[Any, Any]",
        headers: Headers = (),
        since: float | None = None,
    ) -> None:
        """A record is settled; ``since`` when it was refused, if it was."""
        if error is None:
            self._delivered += 1
            return
        now = monotonic()
        first = now if since is None else since
        if error.code() != KafkaError.UNKNOWN or now - first >= _LAST_SECONDS:
            self._failures[error.name()] += 1
            return
        if since is None and not self._again:
            _log.warning("%s refuses records and tells no reason (%s): trying again", message.topic(), error)
        self._again.append(_Refused(message, headers, first, now + _AGAIN_SECONDS))

    def _refused(self, error: KafkaError) -> None:
        """What ``produce`` itself refuses: the record's fault, or the end of the producer."""
        if error.fatal() or error.code() == KafkaError._FATAL:
            if error.code() in errors.DENIED:
                raise errors.translate(error, "writing")
            raise BrokerError(f"the producer is beyond use ({error.str()}): build another")
        self._failures[error.name()] += 1
