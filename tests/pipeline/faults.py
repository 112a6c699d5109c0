"""A broker that fails on purpose, round a real one."""

import random
from dataclasses import dataclass
from typing import Any

from vermilion_pipeline.ports import ProducerLost, TransactionAborted, TransactionalProducer


class Wrapped:
    """The inner broker, producer or stage, with what a subclass changes of it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


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


class FaultyProducer(Wrapped):
    """A transactional producer whose commits fail now and then."""

    def __init__(self, inner: TransactionalProducer, faults: Faults) -> None:
        super().__init__(inner)
        self._faults = faults

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


class FaultyBroker(Wrapped):
    """The inner broker, with faulty transactional producers."""

    def __init__(self, inner: Any, faults: Faults) -> None:
        super().__init__(inner)
        self._faults = faults

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        return FaultyProducer(self._inner.transactional(transactional_id), self._faults)
