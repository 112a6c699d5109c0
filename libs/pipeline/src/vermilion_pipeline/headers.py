"""Headers of records: CloudEvents for events, and for dead letters what happened and where.

They follow the CloudEvents Kafka binding in binary mode.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, NamedTuple

from vermilion_pipeline.ports import Headers, Message, Partition


def text(value: str) -> bytes:
    """A header's value; bounded, since it may quote a stranger."""
    return value.encode("utf-8", "backslashreplace")[:1024]


# Together far below what clients and brokers take (message.max.bytes, 1,000,000 and 1 MiB by default): what
# was only just small enough for its own topic must not be too large with the headers of a dead letter.
_LONGEST_VALUE = 512 * 1024
_LONGEST_KEY = 64 * 1024
_MOST_HEADERS = 128 * 1024
_FRAMING = 10  # what a header takes beside name and value: two lengths as varints of 32 bits
_VALUE_SIZE, _KEY_SIZE, _HEADERS_SIZE = "vermilion_value_size", "vermilion_key_size", "vermilion_headers_size"
# A dead letter's own headers, in order; before them those that it came with, and what was cut.
_OWN = (
    *("ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type"),
    *("vermilion_error_class", "vermilion_error_message", "vermilion_stage"),
    *("vermilion_origin_topic", "vermilion_origin_partition", "vermilion_origin_offset"),
)


class Letter(NamedTuple):
    """A dead letter as it is written."""

    key: bytes | None
    value: bytes | None
    headers: Headers


def sizes(headers: Headers) -> list[int]:
    """The most bytes that each header takes in a record."""
    return [len(name.encode()) + len(held) + _FRAMING for name, held in headers]


def dead_letter(message: Message, stage: str, error: Exception) -> Letter:
    """A dead letter: the original key and value, and headers that say what happened, where and when.

    The origin's own headers come first. A value above 512 KiB, a key above 64 and headers above 128 are
    cut, and their size is told.
    """
    key, value, kept = message.key, message.value, message.headers
    cut: Headers = ()
    if value is not None and len(value) > _LONGEST_VALUE:
        cut += ((_VALUE_SIZE, str(len(value)).encode()),)
        value = value[:_LONGEST_VALUE]
    if key is not None and len(key) > _LONGEST_KEY:
        cut += ((_KEY_SIZE, str(len(key)).encode()),)
        key = key[:_LONGEST_KEY]
    reached = list(accumulate(sizes(kept)))
    if reached and reached[-1] > _MOST_HEADERS:
        cut += ((_HEADERS_SIZE, str(reached[-1]).encode()),)
        kept = kept[: sum(size <= _MOST_HEADERS for size in reached)]
    topic, number = message.partition
    identity = f"{topic}/{number}/{message.offset}"
    own = (
        *_cloud_event(identity, stage, "vermilion.deadletter", datetime.now(UTC)),
        ("content-type", b"application/octet-stream"),
        ("vermilion_error_class", text(type(error).__name__)),
        ("vermilion_error_message", text(str(error))),
        ("vermilion_stage", text(stage)),
        ("vermilion_origin_topic", text(topic)),
        ("vermilion_origin_partition", str(number).encode()),
        ("vermilion_origin_offset", str(message.offset).encode()),
    )
    return Letter(key, value, (*kept, *cut, *own))


class Origin(NamedTuple):
    """Where a dead letter came from, and what it was there."""

    partition: Partition
    headers: Headers
    """Those that it came with, without a dead letter's own."""
    whole: bool
    """It is the original; False: it was too large for a dead letter, and was cut."""


def origin(letter: Message) -> Origin | None:
    """What ``dead_letter`` made ``letter`` of; None when it was not made so."""
    own = dict(letter.headers[-len(_OWN) :])
    number = own.get("vermilion_origin_partition", b"")
    if tuple(own) != _OWN or not number.isdigit():
        return None
    partition = Partition(own["vermilion_origin_topic"].decode("utf-8", "replace"), int(number))
    rest = list(letter.headers[: -len(_OWN)])
    whole = True
    while rest and rest[-1][0] in (_VALUE_SIZE, _KEY_SIZE, _HEADERS_SIZE):
        whole = False
        rest.pop()
    return Origin(partition, tuple(rest), whole)


def event(record: Mapping[str, Any], stage: str, schema: str) -> Headers:
    """Headers of a fingerprint or classification event."""
    time = datetime.fromtimestamp(record["event_start"] / 1e6, UTC)
    return (
        *_cloud_event(record["event_id"], stage, f"vermilion.{schema}", time),
        ("content-type", b"application/avro"),
    )


def _cloud_event(identity: str, stage: str, kind: str, time: datetime) -> Headers:
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", text(identity)),
        ("ce_source", text(f"/vermilion/{stage}")),
        ("ce_type", text(kind)),
        ("ce_time", time.isoformat().replace("+00:00", "Z").encode()),
    )
