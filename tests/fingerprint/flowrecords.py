"""Payload records for tests of flows."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

from vermilion_capture.source import time_mark
from vermilion_fingerprint.flows import Limits
from vermilion_fingerprint.protocols import SYN_ACK_FORMS, SYN_FORMS, Recognised, all_forms
from vermilion_fingerprint.stage import FingerprintTask
from vermilion_pipeline.records import Payload
from vermilion_pipeline.stage import Incoming

CLIENT, SERVER = (b"\xc0\0\2\1", 40000), (b"\xc6\x33\x64\1", 443)
SECOND = 1_000_000
START = 1_700_000_000 * SECOND


def record(
    seq: int,
    payload: bytes = b"",
    flags: int = 16,
    *,
    ordinal: int = 1,
    source: tuple[bytes, int] = CLIENT,
    target: tuple[bytes, int] = SERVER,
    time: int = START,
    missing: int = 0,
    run: str = "run",
    **other: Any,
) -> Payload:
    """A segment's record."""
    fields: dict[str, Any] = {
        **time_mark("SEGMENT", "sensor", run, time, replayed=True),
        "src_ip": source[0],
        "src_port": source[1],
        "dst_ip": target[0],
        "dst_port": target[1],
        "seq": seq & 0xFFFFFFFF,
        "flags": flags,
        "payload": payload,
        "ordinal": ordinal,
        "missing": missing,
        **other,
    }
    return cast("Payload", fields)


def datagram(payload: bytes, **fields: Any) -> Payload:
    """A UDP datagram's record."""
    return record(0, payload, 0, transport=17, **fields)


def numbered(records: Iterable[Payload]) -> list[Payload]:
    """The records of one flow with the ordinals that the source gives them."""
    return [{**item, "ordinal": i} for i, item in enumerate(records)]


def end(run: str = "run") -> Payload:
    """The end of the run."""
    return time_mark("END_OF_RUN", "sensor", run, START, replayed=True)


def mark(time: int, run: str = "run") -> Payload:
    """A time mark."""
    return time_mark("TIME_MARK", "sensor", run, time, replayed=True)


def fresh(limits: Limits | None = None) -> FingerprintTask:
    """A fresh task that tells of all but the segments that open a connection."""
    return FingerprintTask(limits or Limits(), Recognised({*all_forms()} - {*SYN_FORMS, *SYN_ACK_FORMS}))


def handle(task: FingerprintTask, records: Sequence[Payload], first: int = 0) -> list[dict[str, Any]]:
    """The events that the records give."""
    batch = [Incoming(first + i, b"key", item) for i, item in enumerate(records)]
    return [output.record for output in task.handle(batch).outputs]


def events(records: Sequence[Payload], limits: Limits | None = None) -> list[dict[str, Any]]:
    """The events of a fresh task."""
    return handle(fresh(limits), records)
