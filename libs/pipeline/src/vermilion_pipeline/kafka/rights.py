"""Asking the broker what this user may do."""

from collections.abc import Iterable, Mapping
from typing import Final

from confluent_kafka import KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient  # type: ignore[attr-defined]

from vermilion_pipeline.kafka import errors, settings
from vermilion_pipeline.rights import Right

_PATIENCE: Final = 10.0
_NAMES: Final = {"Read": AclOperation.READ, "Write": AclOperation.WRITE}


def missing(admin: AdminClient, config: Mapping[str, str], rights: Iterable[Right]) -> list[Right]:
    """Those of ``rights`` that the user of ``admin`` and ``config`` has not.

    A transactional id is tried by registering a producer under it, which leaves nothing but the id.
    """
    return [right for right in rights if not _has(admin, config, right)]


def _has(admin: AdminClient, config: Mapping[str, str], right: Right) -> bool:
    if right.resource == "transactional id":
        # A name of our own, so that nobody who works under another is fenced.
        return _may_register(config, f"{right.name}doctor")
    try:
        if right.resource == "topic":
            answers = admin.describe_topics(
                TopicCollection([right.name]),
                include_authorized_operations=True,
                request_timeout=_PATIENCE,
            )
        else:
            answers = admin.describe_consumer_groups(
                [right.name], include_authorized_operations=True, request_timeout=_PATIENCE
            )
        allowed = answers[right.name].result().authorized_operations
    except KafkaException as exception:
        # Whatever else keeps the broker from answering is not a missing right.
        return errors.kafka_error(exception).code() not in errors.DENIED
    return allowed is None or _NAMES[right.operation] in allowed


def _may_register(config: Mapping[str, str], name: str) -> bool:
    producer = Producer(settings.transactional(config, name))
    try:
        producer.init_transactions(_PATIENCE)
    except KafkaException as exception:
        return errors.kafka_error(exception).code() not in errors.DENIED
    return True
