"""A stretch of a topic: what is committed in it between two times."""

import time
from collections.abc import Iterator, Mapping
from contextlib import closing

from vermilion_pipeline.ports import Broker, BrokerUnavailable, Message, Partition

_PATIENCE_SECONDS = 60.0


def numbered(ends: Mapping[Partition, int]) -> list[int]:
    """The offsets of one topic's partitions, by their numbers."""
    return [offset for _, offset in sorted(ends.items())]


def between(
    broker: Broker, topic: str, starts: list[int], ends: Mapping[Partition, int]
) -> Iterator[Message]:
    """The records of ``topic`` from ``starts`` (an offset for each partition) up to ``ends``.

    Raises BrokerUnavailable when none comes for a minute although some are to come.
    """
    first = dict(zip(sorted(ends), starts, strict=False))
    wanted = {partition for partition, end in ends.items() if first.get(partition, 0) < end}
    if not wanted:
        return
    with closing(broker.reader([topic], beginning=not starts)) as reader:
        for partition, offset in first.items():
            reader.seek(partition, offset)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while wanted:
            for message in reader.poll(1_000, 0.2):
                deadline = time.monotonic() + _PATIENCE_SECONDS
                if message.offset < ends[message.partition]:
                    yield message
                if message.offset + 1 >= ends[message.partition]:
                    wanted.discard(message.partition)
            # What lies before an end may be no record: Kafka's own markers.
            wanted -= {partition for partition, lag in reader.lag().items() if lag == 0}
            if time.monotonic() > deadline:
                raise BrokerUnavailable(
                    f"{topic}: nothing came for {_PATIENCE_SECONDS:.0f} s although records are there"
                )
