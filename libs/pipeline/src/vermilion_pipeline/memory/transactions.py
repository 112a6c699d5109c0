"""The transaction coordinator: who may write under a transactional id, and what is still open."""

import itertools
import time
from dataclasses import dataclass, field
from typing import Final

from vermilion_pipeline.memory.log import PartitionLog
from vermilion_pipeline.ports import Committed, Partition


@dataclass(eq=False, slots=True)
class Transaction:
    """One open transaction: the logs it wrote to, and the offsets it will commit by group."""

    serial: int
    deadline: float
    logs: set[PartitionLog] = field(default_factory=set)
    offsets: dict[str, dict[Partition, Committed]] = field(default_factory=dict)
    expired: bool = False
    """The coordinator aborted it, because it was open for too long."""


class Coordinator:
    """Epochs and open transactions by transactional id.

    Not thread-safe: the cluster's lock guards it. ``timeout`` is in seconds.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout: Final = timeout
        self.committed: dict[str, dict[Partition, Committed]] = {}
        self._epochs: dict[str, int] = {}
        self._open: dict[str, Transaction] = {}
        self._serials = itertools.count(1)

    def register(self, transactional_id: str) -> int:
        """A new producer: its epoch. An older one's open transaction is aborted."""
        if transactional_id in self._open:
            self.finish(transactional_id, commit=False)
        epoch = self._epochs.get(transactional_id, -1) + 1
        self._epochs[transactional_id] = epoch
        return epoch

    def is_current(self, transactional_id: str, epoch: int) -> bool:
        """Whether no newer producer has registered."""
        return self._epochs[transactional_id] == epoch

    def begin(self, transactional_id: str) -> Transaction:
        """Open a transaction; its time starts now."""
        transaction = Transaction(next(self._serials), time.monotonic() + self.timeout)
        self._open[transactional_id] = transaction
        return transaction

    def finish(self, transactional_id: str, *, commit: bool) -> None:
        """Commit or abort the open transaction: a marker in each log, and the offsets."""
        transaction = self._open.pop(transactional_id)
        for log in transaction.logs:
            log.mark(transaction.serial, committed=commit)
        if commit:
            for group, offsets in transaction.offsets.items():
                self.committed.setdefault(group, {}).update(offsets)

    def expire(self, now: float) -> bool:
        """Abort what has been open for too long; whether there was any."""
        late = [name for name, transaction in self._open.items() if transaction.deadline <= now]
        for name in late:
            self._open[name].expired = True
            self.finish(name, commit=False)
        return bool(late)

    def next_deadline(self) -> float | None:
        """When the next open transaction expires (monotonic seconds)."""
        return min((transaction.deadline for transaction in self._open.values()), default=None)

    def pending(self, group: str, partition: Partition) -> bool:
        """Whether an open transaction may yet change the committed offset of ``partition``."""
        return any(partition in opened.offsets.get(group, ()) for opened in self._open.values())
