"""Headers of records: CloudEvents for events, and for dead letters what happened and where.

They follow the CloudEvents Kafka binding in binary mode.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from vermilion_pipeline.ports import Headers, Message


def text(value: str) -> bytes:
    """A header's value; bounded, since it may quote a stranger."""
    return value.encode("utf-8", "backslashreplace")[:1024]


def dead_letter(message: Message, stage: str, error: Exception) -> Headers:
    """Headers of a dead letter: its origin's own, then what happened, where, and when."""
    topic, number = message.partition
    identity = f"{topic}/{number}/{message.offset}"
    return (
        *message.headers,
        *_cloud_event(identity, stage, "vermilion.deadletter", datetime.now(UTC)),
        ("content-type", b"application/octet-stream"),
        ("vermilion_error_class", text(type(error).__name__)),
        ("vermilion_error_message", text(str(error))),
        ("vermilion_stage", text(stage)),
        ("vermilion_origin_topic", text(topic)),
        ("vermilion_origin_partition", str(number).encode()),
        ("vermilion_origin_offset", str(message.offset).encode()),
    )


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
