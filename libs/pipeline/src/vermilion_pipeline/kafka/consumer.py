"""Reading: what group members and readers without a group have in common, and the readers."""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as RawMessage

from vermilion_pipeline.kafka import errors
from vermilion_pipeline.ports import BrokerError, Committed, Headers, LogReplaced, Message, Partition

_log = logging.getLogger(__name__)

_SIGNALS = 0.25
"""Seconds that librdkafka may block: Python handles Ctrl-C only between its calls."""
_SEEK_PATIENCE = 5.0


def make_consumer(config: dict[str, Any]) -> Consumer:
    """A librdkafka consumer. Raises ``BrokerError`` for a setting that it refuses."""
    try:
        return Consumer(config)
    except KafkaException as exception:
        raise BrokerError(f"librdkafka refuses a setting: {errors.kafka_error(exception).str()}") from None


class KafkaReader:
    """Reads given partitions, each from its offset."""

    _needs_group = False

    def __init__(self, config: dict[str, Any], starts: dict[Partition, int] | None = None) -> None:
        self._consumer = make_consumer(config)
        self._next: dict[Partition, int] = dict(starts or {})
        """Where each assigned partition is read next."""
        self._bounced: set[Partition] = set()
        """Partitions taken away since the poll began: what it has of them is stale."""
        self._expired: Counter[Partition] = Counter()
        self._error: BrokerError | None = None
        self._closed = False
        if starts:
            self._consumer.assign([TopicPartition(*p, offset) for p, offset in starts.items()])

    def poll(self, limit: int, timeout: float) -> list[Message]:
        """At most ``limit`` records, waiting at most ``timeout`` seconds for the first.

        Raises ``UnknownTopic`` when a topic has gone, ``BrokerError`` when it may not be read.
        """
        self._require_open()
        # Kept since the last poll, which had records of other partitions: they may never come to an end.
        self._raise_kept()
        until = time.monotonic() + timeout
        self._bounced.clear()
        found = self._consume(limit, 0)
        while not found and self._error is None and (left := until - time.monotonic()) > 0:
            # A batch waits until it is full or late, so wait for one record and take what is
            # there with it.
            found = self._consume(1, min(left, _SIGNALS))
            if found and limit > 1:
                found += self._consume(limit - 1, 0)
        if self._bounced:
            found = self._without_stale(found)
        if not found:
            self._raise_kept()
        return found

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, Committed | None]:
        """None for each: a reader has no group."""
        return dict.fromkeys(partitions)

    def seek(self, partition: Partition, offset: int) -> None:
        """Read ``partition`` from ``offset`` on. Raises ``BrokerError`` when it is not assigned."""
        if partition not in self._next:
            raise BrokerError(f"cannot seek {partition}: it is not assigned to this consumer")
        until = time.monotonic() + _SEEK_PATIENCE
        while True:
            try:
                self._consumer.seek(TopicPartition(*partition, offset))
            except KafkaException as exception:
                error = errors.kafka_error(exception)
                # Just assigned: librdkafka's own thread has yet to start the partition.
                starting = error.code() == KafkaError._STATE or error.code() in errors.TRANSIENT
                if not starting or time.monotonic() >= until:
                    raise errors.translate(error, f"seeking {partition}") from exception
                time.sleep(0.01)
            else:
                self._next[partition] = offset
                return

    def lag(self) -> dict[Partition, int]:
        """Offsets between position and end; a partition not fetched from yet is left out."""
        lags = {}
        for partition, position in self._next.items():
            _, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)
            if high >= 0:
                lags[partition] = max(0, high - position)
        return lags

    def take_expired(self) -> dict[Partition, int]:
        """Offsets that retention took before they were read, by partition, since it was asked last."""
        expired, self._expired = self._expired, Counter()
        return dict(expired)

    def close(self) -> None:
        """Stop reading."""
        if not self._closed:
            self._closed = True
            self._consumer.close()

    def _raise_kept(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _require_open(self) -> None:
        if self._closed:
            raise BrokerError("the consumer is closed")

    def _consume(self, limit: int, timeout: float) -> list[Message]:
        try:
            raw = self._consumer.consume(limit, timeout)
        except KafkaException as exception:
            raise errors.translate(errors.kafka_error(exception), "reading") from exception
        return self._converted(raw) if raw else []

    def _converted(self, raw: "Sequence[RawMessage[Any, Any]]") -> list[Message]:
        """The records among ``raw``; errors and ends of partitions go to ``_event``."""
        found = []
        topic: str | None = None
        number: int | None = -1
        partition = Partition("", -1)
        offset: Any = 0
        for message in raw:
            error = message.error()
            if error is not None:
                self._event(message, error)
                continue
            if message.partition() != number or message.topic() != topic:
                topic, number = message.topic(), message.partition()
                partition = Partition(topic, number)  # type: ignore[arg-type]
            offset = message.offset()
            found.append(
                Message(
                    partition,
                    offset,
                    message.key(),
                    message.value(),
                    _headers(message),
                    message.timestamp()[1],
                )
            )
            self._next[partition] = offset + 1
        return found

    def _event(self, message: "RawMessage[Any, Any]", error: KafkaError) -> None:
        """Keep what must be raised, log what passes by itself."""
        code = error.code()
        topic, number, offset = message.topic(), message.partition(), message.offset()
        if code == KafkaError._PARTITION_EOF:
            if topic is not None and number is not None and offset is not None:
                self._next[Partition(topic, number)] = offset
        elif code == KafkaError._AUTO_OFFSET_RESET and topic is not None and number is not None:
            self._go_on(Partition(topic, number))
        elif code == KafkaError.GROUP_AUTHORIZATION_FAILED and not self._needs_group:
            # librdkafka asks for a coordinator even where nothing will be asked of it.
            _log.debug("no right on a group, and none is needed: %s", error.str())
        elif error.fatal() or code in errors.MISSING or code in errors.DENIED or code in errors.FENCED:
            self._error = errors.translate(error, f"reading {topic or 'topics'}")
        else:
            _log.warning("reading %s[%s]: %s", topic, number, error.str())

    def _go_on(self, partition: Partition) -> None:
        """Where the log has no such offset as was to be read: go on with what it has."""
        position = self._next.get(partition)
        if position is None:  # it has gone to another member meanwhile
            return
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), _SEEK_PATIENCE)
            if position > high:
                self._error = LogReplaced(
                    f"{partition.topic}[{partition.number}] ends at {high}, before {position}, where it is "
                    "to be read: it was made anew, or has lost its end. Reset the group's offsets to where "
                    "reading shall begin"
                )
                return
            begin = max(low, position)
            # librdkafka has stopped reading the partition, and takes no seek for it.
            self._consumer.incremental_unassign([TopicPartition(*partition)])
            self._consumer.incremental_assign([TopicPartition(*partition, begin)])
        except KafkaException as exception:
            self._error = errors.translate(errors.kafka_error(exception), f"going on in {partition}")
            return
        if position < low:
            self._expired[partition] += low - position
        self._next[partition] = begin

    def _without_stale(self, found: list[Message]) -> list[Message]:
        """``found`` without the partitions taken away meanwhile (librdkafka batches across that)."""
        stale = {message.partition for message in found if message.partition in self._bounced}
        return [message for message in found if message.partition not in stale] if stale else found


def _headers(message: "RawMessage[Any, Any]") -> Headers:
    try:
        headers = message.headers()
        # Within: of a name that is no UTF-8 the client's list raises only when it is gone through.
        return tuple((name, value or b"") for name, value in headers) if headers else ()  # type: ignore[misc, str-unpack]
    except Exception as error:
        _log.warning(
            "%s[%s] offset %s: its headers are not read: %s",
            message.topic(), message.partition(), message.offset(), error,
        )  # fmt: skip
        return ()
