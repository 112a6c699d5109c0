"""What every capture format gives, and the one way in which each of them fails."""

from typing import NamedTuple

from vermilion_capture.packet import LINK_TYPES
from vermilion_pipeline.errors import VermilionError

# libpcap's own bound for a frame; more than this is a broken file, not a long packet.
MAX_CAPTURED = 262_144


class CaptureError(VermilionError):
    """A capture that cannot be read, or not any further: says the file, the offset and why."""


class Frame(NamedTuple):
    """One captured frame. ``time``: microseconds since 1970; ``data``: what was captured of it."""

    time: int
    data: bytes
    wire_length: int
    link_type: int


# new_frame(Frame, (time, data, wire_length, link_type)): half the cost of Frame(...), once a packet.
new_frame = tuple.__new__


def unsupported(link_type: int) -> str:
    """What to say of a link type that is not read; empty when it is."""
    if link_type in LINK_TYPES:
        return ""
    known = ", ".join(f"{name} ({number})" for number, name in LINK_TYPES.items())
    return f"link type {link_type} is not read; those that are: {known}"
