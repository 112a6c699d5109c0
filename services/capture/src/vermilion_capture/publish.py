"""Writes a source's payload records to Kafka, and the sensor's heartbeats.

A file is read as fast as the broker takes it, and nothing is lost. A live source is never kept
waiting: what the producer's queue has no room for is dropped and counted.
"""

import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Protocol

from vermilion_capture.heartbeats import Heartbeats, Tally
from vermilion_capture.items import Item, agrees
from vermilion_pipeline.codec import Codec
from vermilion_pipeline.errors import VermilionError
from vermilion_pipeline.ports import AccessDenied, Broker, BrokerError, QueueFull
from vermilion_pipeline.records import Sensor
from vermilion_pipeline.topics import PAYLOADS, SENSORS

_log = logging.getLogger(__name__)

# How long the broker may take none of the queue before it counts as gone.
_STALLED_SECONDS = 60.0
_TOO_BIG = ("MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE")


class DeliveryError(VermilionError):
    """Records that the broker did not take; says how many and why."""


class Run(Protocol):
    """What is published: one run of one source, as ``source.Source`` is."""

    sensor: str
    run: str
    replayed: bool
    """It reads a file, which can wait."""
    unfinished: bool
    """It was left without its end mark, to go on another time."""

    @property
    def counts(self) -> Mapping[str, int]:
        """``packets`` read, and more."""

    @property
    def blind(self) -> int:
        """Microseconds in which it could not see all that it is to see."""

    @property
    def newest(self) -> int:
        """Packet time, microseconds."""

    @property
    def drops(self) -> Mapping[str, int]:
        """Packets lost before they came here: ``kernel``, ``interface``."""

    def __iter__(self) -> Iterator[Item]:
        """The records."""


class Publisher:
    """An idempotent producer of the ``payloads`` topic, and one of ``sensors``.

    ``produced``: payload records handed over; ``acknowledged``: those the broker has confirmed.
    """

    def __init__(self, broker: Broker, codec: Codec, prefix: str) -> None:
        """Raises UnknownTopic, BrokerUnavailable, AccessDenied, RegistryUnavailable, SchemaRefused."""
        self._topic, self._sensors = PAYLOADS.full_name(prefix), SENSORS.full_name(prefix)
        self._broker = broker
        self._partitions = broker.partitions([self._topic, self._sensors])[self._topic]
        self._encode = codec.encoder(PAYLOADS)
        header = codec.header(PAYLOADS)
        # A schema of another version (VERMILION_SCHEMA_DIR) is left to the general encoder.
        self._header = header if agrees(header, self._encode) else None
        self._encode_sensor = codec.encoder(SENSORS)
        # They are there, as was just asked: asking again with the first record would make a live source wait.
        known = (self._topic, self._sensors)
        self._producer = broker.producer(known)
        # Of its own: what has no room among the payloads must be told all the same, and after an outage of
        # whatever length, or its readers would not see that the sensor was blind.
        self._teller = broker.producer(known, patient=True)
        self.produced = 0
        self._before = Tally()
        self._running: tuple[Run, Tally] | None = None
        self._published = self._no_room = 0

    @property
    def acknowledged(self) -> int:
        """Records the broker has confirmed."""
        return self._producer.delivered

    def brokers(self) -> tuple[tuple[str, int], ...]:
        """Address and port of Kafka's nodes; of a name, each of its addresses. Raises BrokerUnavailable."""
        found: dict[tuple[str, int], None] = {}
        for host, port in self._broker.addresses():
            try:
                answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError as error:
                _log.warning(
                    "%s:%d, one of Kafka's nodes: %s; what is said to it may be captured", host, port, error
                )
                continue
            # Of IPv6 without its zone.
            found |= dict.fromkeys((str(answer[4][0]).partition("%")[0], port) for answer in answers)
        return tuple(found)

    def total(self) -> Tally:
        """What all runs so far have seen and lost; may be asked by another thread."""
        if (running := self._running) is None:
            return self._before
        source, start = running
        return self._before.plus(self._tally(source).since(start))

    def _tally(self, source: Run) -> Tally:
        """What this publisher has counted since it began, and ``source``."""
        failures = self._producer.failures
        too_big = sum(failures.get(reason, 0) for reason in _TOO_BIG)
        return Tally(
            source.counts.get("packets", 0),
            self._published,
            source.drops.get("kernel", 0),
            source.drops.get("interface", 0),
            self._no_room,
            too_big,
            sum(failures.values()) - too_big,
            source.blind,
        )

    def publish(self, source: Run, progress: Callable[[], None] = lambda: None) -> None:
        """Publish the run with its heartbeats. Raises DeliveryError.

        What the source raises is raised when the last heartbeat is on its way.
        """
        start = self._tally(source)
        self._running = source, start
        heartbeats = Heartbeats(source.sensor, source.run, start, replayed=source.replayed)
        broken: BaseException | None = None
        try:
            for item in source:
                if source.replayed and item.kind == "END_OF_RUN":
                    # What is tried again must not come after it: the run's flows are over then.
                    self._producer.flush(_STALLED_SECONDS)
                # The end of a run is waited for: its readers would wait much longer.
                self._item(item, patient=source.replayed or item.kind == "END_OF_RUN")
                if heartbeats.due(source.newest):
                    self._beat(heartbeats, source, last=False)
                progress()
        except (BrokerError, DeliveryError):
            raise
        except BaseException as error:  # the source's; Ctrl-C is one
            broken = error
        # Which records were too big or not taken is known when all are settled.
        self._producer.flush(_STALLED_SECONDS)
        self._beat(heartbeats, source, last=not source.unfinished)
        self._before, self._running = self.total(), None
        if broken is not None:
            raise broken

    def _item(self, item: Item, *, patient: bool) -> None:
        value = item.encoded(self._header, self._encode)
        for partition in range(self._partitions) if item.key is None else (None,):
            if self._produce(item.key, value, partition, patient=patient):
                self._published += item.key is not None
            else:
                self._no_room += 1

    def _beat(self, heartbeats: Heartbeats, source: Run, *, last: bool) -> None:
        counts = self._tally(source)
        record: Sensor = heartbeats.next(source.newest, counts, last=last)
        with suppress(QueueFull):  # the next one tells of this interval, too
            self._teller.produce(self._sensors, record["sensor"].encode(), self._encode_sensor(record))
            heartbeats.told(source.newest, counts)

    def _produce(self, key: bytes | None, value: bytes, partition: int | None, *, patient: bool) -> bool:
        """Whether the record is on its way; False when there was no room, and it was not to be waited."""
        while True:
            try:
                self._producer.produce(self._topic, key, value, (), partition)
            except QueueFull:
                if not patient:
                    return False
                before = self._producer.delivered
                self._producer.flush(_STALLED_SECONDS / 10)
                if self._producer.delivered == before and self._producer.flush(_STALLED_SECONDS):
                    raise DeliveryError(
                        f"the broker has taken nothing for {_STALLED_SECONDS:.0f} s; "
                        f"{self.acknowledged} of {self.produced} records are acknowledged"
                    ) from None
            else:
                self.produced += 1
                return True

    def close(self) -> None:
        """Wait for every acknowledgment. Raises DeliveryError when some did not come, AccessDenied."""
        left = self._producer.flush(_STALLED_SECONDS)
        failures = Counter(self._producer.failures)
        if left:
            failures["not acknowledged in time"] = left
        self._producer.close()
        self._teller.close()
        failures.update({f"{why} (heartbeats)": n for why, n in self._teller.failures.items()})
        if denied := [reason for reason in failures if "AUTHORIZATION_FAILED" in reason]:
            raise AccessDenied(f"writing to {self._topic} and {self._sensors}: {', '.join(denied)}")
        if failures:
            reasons = ", ".join(f"{count} x {reason}" for reason, count in failures.items())
            raise DeliveryError(f"{sum(failures.values())} of {self.produced} records are lost: {reasons}")
