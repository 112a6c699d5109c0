"""The stage contract: business code that knows no Kafka.

A *stage* makes *tasks*; a task is the state of one partition. Handling is a pure function of the
partition's records in order, so that a task can be lost and rebuilt: the runtime commits, with
the next offset, the *low-water mark*, the first offset that something remembered still needs, and
a new owner replays from there without emitting (docs/decisions/0002-low-water-mark.md).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from vermilion_pipeline.topics import Topic

Record = Mapping[str, Any]
Counts = Mapping[tuple[str, ...], int]
"""What happened while handling, for the metrics: (metric, label value, ...) -> how often."""


class Incoming(NamedTuple):
    """One decoded record of the partition."""

    offset: int
    key: bytes | None
    record: Any


class Output(NamedTuple):
    """One record for the stage's output topic."""

    key: bytes | None
    record: Any


class Rejected(NamedTuple):
    """A record of the batch that decodes and yet cannot be: it goes to the dead-letter topic."""

    offset: int
    error: Exception


class Handled(NamedTuple):
    """What a batch gave."""

    outputs: Sequence[Output]
    counts: Counts
    rejected: Sequence[Rejected] = ()


class Task(Protocol):
    """The state of one partition."""

    def handle(self, batch: Sequence[Incoming]) -> Handled:
        """Take the next records of the partition, in order."""

    def low_water(self) -> int | None:
        """The first offset that something remembered still needs; None when nothing is."""


class Stage(Protocol):
    """A service's business."""

    @property
    def name(self) -> str:
        """``fingerprint``, ``classify``: names the group, the metrics and the dead letters."""

    @property
    def consumes(self) -> Topic:
        """Where its records come from."""

    @property
    def produces(self) -> Topic:
        """Where its outputs go."""

    def task(self) -> Task:
        """Fresh state for a partition that has just been assigned."""


@runtime_checkable
class ObservedStage(Protocol):
    """A stage that can tell how things stand with it."""

    def observed(self) -> Mapping[tuple[str, ...], float]:
        """For the metrics: (metric, label value, ...) -> value now; called by the thread that serves them."""


class StatelessTask:
    """A task that maps each batch by itself and remembers nothing."""

    def __init__(self, handle: Callable[[Sequence[Incoming]], Handled]) -> None:
        self.handle = handle

    def low_water(self) -> int | None:
        """Nothing is remembered."""
        return None
