"""The one door where librdkafka's errors become the ports' exceptions."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from confluent_kafka import KafkaError, KafkaException

from vermilion_pipeline.ports import AccessDenied, BrokerError, BrokerUnavailable, Fenced, UnknownTopic

T = TypeVar("T")

FENCED: Final = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
        KafkaError.FENCED_INSTANCE_ID,
    }
)
MISSING: Final = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
)
UNREACHABLE: Final = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
    }
)
DENIED: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
TRANSIENT: Final = frozenset(
    {
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._WAIT_COORD,
        KafkaError._PREV_IN_PROGRESS,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.NETWORK_EXCEPTION,
        # What was known of a partition's leader is older than what the broker knows, or newer.
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.KAFKA_STORAGE_ERROR,
    }
)
_PAUSE = 0.02


def kafka_error(exception: KafkaException) -> KafkaError:
    """The ``KafkaError`` inside ``exception``."""
    error: KafkaError = exception.args[0]
    return error


def translate(error: KafkaError, doing: str) -> BrokerError:
    """The ports' exception for ``error`` outside transactions, met while ``doing``."""
    code = error.code()
    text = f"{doing}: {error.str()}"
    if code in FENCED:
        return Fenced(f"{text}; another client runs under the same id: this one must stop")
    if code in MISSING:
        return UnknownTopic(f"{text}: create the topics with `vermilion topics create`")
    if code in UNREACHABLE:
        return BrokerUnavailable(f"{text}: check that the cluster runs and `bootstrap.servers` is right")
    if code in DENIED:
        return AccessDenied(text)
    return BrokerError(text)


def retried(
    call: Callable[[float], T],
    doing: str,
    within: float,
    translated: Callable[[KafkaError, str], BrokerError] = translate,
) -> T:
    """``call(seconds left)``, again while its error is transient, for at most ``within`` seconds.

    Raises what ``translated`` makes of the last error.
    """
    until = time.monotonic() + within
    while True:
        try:
            return call(max(0.1, until - time.monotonic()))
        except KafkaException as exception:
            error = kafka_error(exception)
            again = error.retriable() or (error.code() in TRANSIENT and not error.fatal())
            if not again or error.txn_requires_abort() or time.monotonic() >= until:
                raise translated(error, doing) from exception
        time.sleep(_PAUSE)
