"""What each role may do on the broker, and no more: the least that it needs (docs/security.md).

Kafka's ``Read`` and ``Write`` imply ``Describe``. An idempotent producer needs nothing beyond
``Write`` on a topic (KIP-679).
"""

from typing import Final, Literal, NamedTuple

from vermilion_pipeline.topics import CLASSIFIED, DEADLETTER, FINGERPRINTS, PAYLOADS, SENSORS, TOPICS, Topic

Resource = Literal["topic", "group", "transactional id"]
Operation = Literal["Read", "Write"]


class Right(NamedTuple):
    """One right of one role."""

    operation: Operation
    resource: Resource
    name: str
    """After the deployment's prefix; of the broker's, once ``of`` has put it before."""
    prefixed: bool = False
    """``name`` is how the names begin."""

    def __str__(self) -> str:
        return f"{self.operation} on {self.resource} {self.name}{'*' if self.prefixed else ''}"


def _read(topic: Topic) -> Right:
    return Right("Read", "topic", topic.name)


def _write(topic: Topic) -> Right:
    return Right("Write", "topic", topic.name)


def _stage(name: str, consumes: Topic, produces: Topic) -> tuple[Right, ...]:
    return (
        _read(consumes),
        Right("Read", "group", name),
        _write(produces),
        _write(DEADLETTER),
        # An instance's name follows.
        Right("Write", "transactional id", f"{name}-", prefixed=True),
    )


_PUBLISHES = (_write(PAYLOADS), _write(SENSORS))

ROLES: Final[dict[str, tuple[Right, ...]]] = {
    "capture": _PUBLISHES,
    "fingerprint": _stage("fingerprint", PAYLOADS, FINGERPRINTS),
    "classify": _stage("classify", FINGERPRINTS, CLASSIFIED),
    "tail": tuple(_read(topic) for topic in TOPICS),
    # What `replay --verify` needs beyond that: what became of it, and where it was lost.
    "verify": (*_PUBLISHES, _read(CLASSIFIED), _read(FINGERPRINTS), _read(DEADLETTER)),
    # Dead letters put back; a replay of captures has capture's rights.
    "replay": (
        _read(DEADLETTER),
        Right("Read", "group", "replay"),
        _write(PAYLOADS),
        _write(FINGERPRINTS),
        Right("Write", "transactional id", "replay-", prefixed=True),
    ),
}


def of(role: str, prefix: str) -> list[Right]:
    """The rights of ``role`` on a broker whose names begin with ``prefix``."""
    return [right._replace(name=prefix + right.name) for right in ROLES[role]]
