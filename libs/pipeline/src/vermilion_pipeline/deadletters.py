"""Dead letters put back to where they came from, after what was wrong has been mended.

Each batch is one transaction: the letters appear in their origin topics and the group's position
moves past them together or not at all, so that no letter is put back twice, whatever dies when.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from vermilion_pipeline import headers
from vermilion_pipeline.ports import (
    Broker,
    BrokerUnavailable,
    Committed,
    Consumer,
    Headers,
    Message,
    Partition,
    TransactionalProducer,
)
from vermilion_pipeline.topics import DEADLETTER, TOPICS

GROUP: Final = "replay"
"""The group, after the prefix, whose position is what has been put back."""
_BATCH: Final = 500
_PATIENCE: Final = 90.0
"""Seconds without progress: longer than the session of a replay that died with the partitions."""


@dataclass
class Report:
    """What became of the letters."""

    put_back: Counter[str] = field(default_factory=Counter)
    """Letters by the topic that they went back to."""
    left: int = 0
    """Letters that stay dead letters, each told about."""


class _Seen:
    """How far each partition of the dead letters has come."""

    def __init__(self, ends: Mapping[Partition, int]) -> None:
        self._ends = ends
        self._open = {partition for partition, end in ends.items() if end > 0}
        self.positions: dict[Partition, int] = {}

    @property
    def done(self) -> bool:
        """Whether all that was there at the start has been seen."""
        return not self._open

    def assigned(self, committed: Mapping[Partition, Committed | None]) -> Mapping[Partition, int]:
        """Go on after what has been put back."""
        starts = {partition: known.offset for partition, known in committed.items() if known}
        for partition, start in starts.items():
            self.past(partition, start)
        return starts

    def revoked(self, partitions: Iterable[Partition]) -> None:
        """What has been put back is committed; another replay may go on with the rest."""

    def past(self, partition: Partition, offset: int) -> None:
        """Everything of the partition before ``offset`` has been seen."""
        if offset >= self._ends[partition]:
            self._open.discard(partition)

    def of(self, messages: Iterable[Message]) -> list[Message]:
        """Those that were there at the start; a letter that comes back meanwhile waits for the next time."""
        wanted = []
        for message in messages:
            if message.offset < self._ends[message.partition]:
                wanted.append(message)
            else:
                self._open.discard(message.partition)
        return wanted

    def at_end(self, consumer: Consumer) -> None:
        """What follows the last record, if anything does, is no record: Kafka's own markers."""
        for partition, lag in consumer.lag().items():
            if lag == 0:
                self._open.discard(partition)


def put_back(broker: Broker, prefix: str, limit: int | None, tell: Callable[[str], None]) -> Report:
    """Put back the dead letters that are there now and were not put back before, ``limit`` at most.

    A letter goes with its own key, value and headers to the partition that it came from. One whose
    origin is no topic that a stage reads, or whose value was cut, is left, and ``tell`` is told why.
    Raises BrokerError: UnknownTopic; Fenced when another replay of the same letters has begun.
    """
    topic = DEADLETTER.full_name(prefix)
    read = [one for one in TOPICS if {*one.read_by} & {*DEADLETTER.written_by}]
    origins = broker.partitions([one.full_name(prefix) for one in read])
    seen = _Seen(broker.ends([topic]))
    report = Report()
    if seen.done:
        return report
    with (
        closing(broker.transactional(f"{prefix}{GROUP}-{DEADLETTER.name}")) as producer,
        closing(broker.consumer([topic], f"{prefix}{GROUP}", seen)) as consumer,
    ):
        deadline = time.monotonic() + _PATIENCE
        while not seen.done and (limit is None or report.put_back.total() < limit):
            most = _BATCH if limit is None else min(_BATCH, limit - report.put_back.total())
            if messages := consumer.poll(most, 0.5):
                deadline = time.monotonic() + _PATIENCE
                if letters := seen.of(messages):
                    _move(letters, origins, producer, consumer, report, tell)
                for letter in letters:
                    seen.past(letter.partition, letter.offset + 1)
            else:
                seen.at_end(consumer)
            if time.monotonic() > deadline:
                raise BrokerUnavailable(
                    f"{topic}: no dead letter came for {_PATIENCE:.0f} s although there are some: "
                    "another replay may be running; try again when it has ended"
                )
    return report


def _move(
    letters: Sequence[Message],
    origins: Mapping[str, int],
    producer: TransactionalProducer,
    consumer: Consumer,
    report: Report,
    tell: Callable[[str], None],
) -> None:
    producer.begin()
    for letter in letters:
        place = _place(letter, origins)
        if isinstance(place, str):
            report.left += 1
            tell(f"{letter.partition.topic}[{letter.partition.number}] offset {letter.offset}: left: {place}")
        else:
            (name, number), original = place
            producer.produce(name, letter.key, letter.value, original, number)
            report.put_back[name] += 1
    offsets = {letter.partition: Committed(letter.offset + 1) for letter in letters}
    producer.send_offsets(offsets, consumer)
    producer.commit()


def _place(letter: Message, origins: Mapping[str, int]) -> tuple[Partition, Headers] | str:
    """Where the letter goes, and its own headers; or why it goes nowhere."""
    found = headers.origin(letter)
    if found is None:
        return "its headers do not say where it came from"
    name, number = found.partition
    if name not in origins:
        return f"it came from {name!a:.100}, from which no stage reads"
    if number >= origins[name]:
        return f"it came from partition {number} of {name}, which has {origins[name]}"
    if not found.whole:
        return "its value was too long for a dead letter and is cut; the original is where it came from"
    return found.partition, found.headers
