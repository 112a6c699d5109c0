"""librdkafka's settings: defaults, then the user's, then what the guarantees need."""

import logging
from collections.abc import Mapping
from typing import Any

LOGGER = logging.getLogger("vermilion_pipeline.kafka.librdkafka")
"""Where librdkafka's own lines go; without a handler of the application's, nowhere."""
# A logger with no handler at all falls back to stderr from WARNING on.
LOGGER.addHandler(logging.NullHandler())

TRANSACTION_TIMEOUT = "transaction.timeout.ms"

_CONSUMER: Mapping[str, Any] = {
    "session.timeout.ms": 15_000,
    # Members learn of a rebalance with a heartbeat's answer.
    "heartbeat.interval.ms": 1_000,
    # What is read ahead is memory that only a consumer which is behind takes: 32 MiB and fetches of 50
    # cost it 140 MiB, these 15, at the same rate.
    "queued.max.messages.kbytes": 4_096,
    "fetch.max.bytes": 2_097_152,
    # A seek, or a partition just assigned, waits for the fetch under way; 500 by default.
    "fetch.wait.max.ms": 100,
    # With librdkafka's 1,000 a full local queue leaves the partition unread for a second.
    "fetch.queue.backoff.ms": 50,
}
_CONSUMER_NEEDS: Mapping[str, Any] = {
    "enable.auto.commit": False,
    # A retention that overtook a reader is told to it, and it goes on with what is left.
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "group.protocol": "classic",
    "partition.assignment.strategy": "cooperative-sticky",
    # Tells where a partition's end is when control records are the last thing in it.
    "enable.partition.eof": True,
}
_PRODUCER: Mapping[str, Any] = {
    "partitioner": "murmur2_random",
    "compression.type": "lz4",
    "linger.ms": 10,
    "batch.size": 1_000_000,
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 262_144,
}
_PRODUCER_NEEDS: Mapping[str, Any] = {"enable.idempotence": True, "acks": "all"}
_TRANSACTIONAL: Mapping[str, Any] = {
    # After each commit the coordinator answers CONCURRENT_TRANSACTIONS until its markers are
    # written, and librdkafka waits a whole back-off: 100 ms by default.
    "retry.backoff.ms": 5,
    TRANSACTION_TIMEOUT: 10_000,
    # Success is what commit says; only failures need a report each.
    "delivery.report.only.error": True,
}
# librdkafka knows several names for some settings: a user's alias must not lose to a default.
_ALIASES: Mapping[str, str] = {
    "compression.codec": "compression.type",
    "queue.buffering.max.ms": "linger.ms",
    "delivery.timeout.ms": "message.timeout.ms",
    "metadata.broker.list": "bootstrap.servers",
    "request.required.acks": "acks",
}


def _merged(user: Mapping[str, str], defaults: Mapping[str, Any], needs: Mapping[str, Any]) -> dict[str, Any]:
    settled = {_ALIASES.get(name, name): value for name, value in user.items()}
    return {"client.id": "vermilion", **defaults, **settled, **needs, "logger": LOGGER}


def admin(user: Mapping[str, str]) -> dict[str, Any]:
    """Settings for metadata and topics; client settings only, as the others mean nothing there."""
    return _merged(user, {}, {})


def consumer(user: Mapping[str, str], group: str) -> dict[str, Any]:
    """Settings of a member of ``group``."""
    return _merged(user, _CONSUMER, {**_CONSUMER_NEEDS, "group.id": group})


def producer(user: Mapping[str, str], *, patient: bool = False) -> dict[str, Any]:
    """Settings of an idempotent producer; ``patient``: one that gives up no record, however long it takes."""
    return _merged(user, {**_PRODUCER, "message.timeout.ms": 0} if patient else _PRODUCER, _PRODUCER_NEEDS)


def transactional(user: Mapping[str, str], transactional_id: str) -> dict[str, Any]:
    """Settings of a transactional producer."""
    needs = {**_PRODUCER_NEEDS, "transactional.id": transactional_id}
    return _merged(user, {**_PRODUCER, **_TRANSACTIONAL}, needs)


class _WrongClient(logging.Filter):
    """One mapping configures consumers and producers; that each ignores some of it is no news."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not ("CONFWARN" in message and "property and will be ignored by this" in message)


LOGGER.addFilter(_WrongClient())
