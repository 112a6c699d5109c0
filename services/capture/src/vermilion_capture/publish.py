"""Writes a source's payload records to Kafka: blocks when the broker is slow, and loses nothing."""

from collections import Counter
from collections.abc import Callable, Iterable

from vermilion_capture.source import Item
from vermilion_pipeline.codec import Codec
from vermilion_pipeline.ports import AccessDenied, Broker, QueueFull
from vermilion_pipeline.topics import PAYLOADS

# How long the broker may take none of the queue before it counts as gone.
_STALLED_SECONDS = 60.0


class DeliveryError(Exception):
    """Records that the broker did not take; says how many and why."""


class Publisher:
    """An idempotent producer of the ``payloads`` topic.

    ``produced``: records handed over; ``acknowledged``: those the broker has confirmed.
    """

    def __init__(self, broker: Broker, codec: Codec, prefix: str) -> None:
        """Raises UnknownTopic or BrokerUnavailable."""
        self._topic = PAYLOADS.full_name(prefix)
        self._partitions = broker.partitions([self._topic])[self._topic]
        self._encode = codec.encoder(PAYLOADS)
        self._producer = broker.producer()
        self.produced = 0

    @property
    def acknowledged(self) -> int:
        """Records the broker has confirmed."""
        return self._producer.delivered

    def publish(self, items: Iterable[Item], progress: Callable[[], None] = lambda: None) -> None:
        """Publish all of ``items``, waiting for room. Raises DeliveryError."""
        for key, record in items:
            value = self._encode(record)
            targets = range(self._partitions) if key is None else (None,)
            for partition in targets:
                self._produce(key, value, partition)
            progress()

    def _produce(self, key: bytes | None, value: bytes, partition: int | None) -> None:
        while True:
            try:
                self._producer.produce(self._topic, key, value, (), partition)
            except QueueFull:
                before = self._producer.delivered
                self._producer.flush(_STALLED_SECONDS / 10)
                if self._producer.delivered == before and self._producer.flush(_STALLED_SECONDS):
                    raise DeliveryError(
                        f"the broker has taken nothing for {_STALLED_SECONDS:.0f} s; "
                        f"{self.acknowledged} of {self.produced} records are acknowledged"
                    ) from None
            else:
                self.produced += 1
                return

    def close(self) -> None:
        """Wait for every acknowledgment. Raises DeliveryError when some did not come, AccessDenied."""
        left = self._producer.flush(_STALLED_SECONDS)
        failures = Counter(self._producer.failures)
        if left:
            failures["not acknowledged in time"] = left
        self._producer.close()
        if denied := [reason for reason in failures if reason.endswith("AUTHORIZATION_FAILED")]:
            raise AccessDenied(f"writing to {self._topic}: {', '.join(denied)}")
        if failures:
            reasons = ", ".join(f"{count} x {reason}" for reason, count in failures.items())
            raise DeliveryError(f"{sum(failures.values())} of {self.produced} records are lost: {reasons}")
