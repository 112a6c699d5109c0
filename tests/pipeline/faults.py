"""A broker that fails on purpose, round a real one."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vermilion_pipeline.ports import (
    Assignment,
    Broker,
    Committed,
    Consumer,
    Headers,
    Partition,
    Producer,
    ProducerLost,
    TransactionAborted,
    TransactionalProducer,
)
from vermilion_pipeline.rights import Right


class Crash(BaseException):
    """The process dies here."""


@dataclass
class Faults:
    """What happens at commits: probabilities of an abort, a lost producer, a crash before and after."""

    seed: int
    rate: float = 0.12
    happened: dict[str, int] | None = None

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        self.happened = {}

    def pick(self) -> str | None:
        """The fault of this commit, if any."""
        for name in ("abort", "lost", "crash before", "crash after"):
            if self.draw.random() < self.rate:
                assert self.happened is not None
                self.happened[name] = self.happened.get(name, 0) + 1
                return name
        return None


class FaultyProducer:
    """A transactional producer whose commits fail now and then."""

    def __init__(self, inner: TransactionalProducer, faults: Faults) -> None:
        self._inner, self._faults = inner, faults

    def begin(self) -> None:
        self._inner.begin()

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> None:
        self._inner.produce(topic, key, value, headers, partition)

    def send_offsets(self, offsets: Mapping[Partition, Committed], consumer: Consumer) -> None:
        self._inner.send_offsets(offsets, consumer)

    def commit(self) -> None:
        fault = self._faults.pick()
        if fault == "abort":
            raise TransactionAborted("on purpose")
        if fault == "lost":
            raise ProducerLost("on purpose")
        if fault == "crash before":
            raise Crash
        self._inner.commit()
        if fault == "crash after":
            raise Crash

    def abort(self) -> None:
        self._inner.abort()

    def close(self) -> None:
        self._inner.close()


class FaultyBroker:
    """The inner broker, with faulty transactional producers."""

    def __init__(self, inner: Broker, faults: Faults) -> None:
        self._inner, self._faults = inner, faults

    def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        return self._inner.partitions(topics)

    def topics(self) -> dict[str, int]:
        return self._inner.topics()

    def create(self, topics: Sequence[str], partitions: int, replication: int | None) -> list[str]:
        return self._inner.create(topics, partitions, replication)

    def ends(self, topics: Sequence[str]) -> dict[Partition, int]:
        return self._inner.ends(topics)

    def consumer(self, topics: Sequence[str], group: str, assignment: Assignment) -> Consumer:
        return self._inner.consumer(topics, group, assignment)

    def reader(self, topics: Sequence[str], *, beginning: bool) -> Consumer:
        return self._inner.reader(topics, beginning=beginning)

    def producer(self) -> Producer:
        return self._inner.producer()

    def missing(self, rights: Iterable[Right]) -> list[Right]:
        return self._inner.missing(rights)

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        return FaultyProducer(self._inner.transactional(transactional_id), self._faults)
