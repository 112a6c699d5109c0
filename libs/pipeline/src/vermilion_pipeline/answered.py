"""What a batch gave, between its handling and its transaction."""

from collections.abc import Mapping
from typing import NamedTuple

from vermilion_pipeline.ports import Headers, Message


class DeadLetter(NamedTuple):
    """A record that goes to the dead-letter topic, and why."""

    message: Message
    error: Exception


class Encoded(NamedTuple):
    """An output as it goes to the broker."""

    key: bytes | None
    value: bytes
    headers: Headers


class Answered(NamedTuple):
    """What a batch gave for the topics."""

    outputs: list[Encoded]
    dead: list[DeadLetter]
    counts: list[Mapping[tuple[str, ...], int]]


class ProcessKilled(Exception):
    """Handling the record kills the process; says by what."""


class OutputTooLarge(Exception):
    """A record of which an output is made that no broker takes."""
