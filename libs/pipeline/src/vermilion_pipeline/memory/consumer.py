"""Reading: members of groups, and readers without a group."""

import itertools
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from vermilion_pipeline.memory.cluster import Cluster
from vermilion_pipeline.memory.groups import Group, Member
from vermilion_pipeline.ports import (
    Assignment,
    BrokerError,
    Committed,
    LogReplaced,
    Message,
    Partition,
    TransactionAborted,
)


class MemoryReader:
    """Reads given partitions, each from its position; the part that group members share.

    One thread at a time uses a consumer, as with Kafka's.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._positions: dict[Partition, int] = {}
        self._expired: Counter[Partition] = Counter()
        self._turn = itertools.count()
        self._closed = False

    @classmethod
    def of(cls, cluster: Cluster, topics: Sequence[str], *, beginning: bool) -> "MemoryReader":
        """A reader of every partition of ``topics``, from the first record or the stable end."""
        reader = cls(cluster)
        with cluster.changed:
            cluster.tick()
            cluster.require(topics)
            for topic in topics:
                for number, log in enumerate(cluster.logs[topic]):
                    reader._positions[Partition(topic, number)] = log.begin if beginning else log.stable
        return reader

    def poll(self, limit: int, timeout: float) -> list[Message]:
        """At most ``limit`` records, waiting at most ``timeout`` seconds for the first."""
        self._require_open()
        until = time.monotonic() + timeout
        with self._cluster.changed:
            self._cluster.tick()
            while not (found := self._fetch(limit)) and time.monotonic() < until:
                self._cluster.wait(until)
        return found

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, Committed | None]:
        """None for each: a reader has no group."""
        return dict.fromkeys(partitions)

    def seek(self, partition: Partition, offset: int) -> None:
        """Read ``partition`` from ``offset`` on. Raises ``BrokerError`` when it is not assigned."""
        with self._cluster.changed:
            if partition not in self._positions:
                raise BrokerError(f"cannot seek {partition}: it is not assigned to this consumer")
            self._positions[partition] = offset

    def lag(self) -> dict[Partition, int]:
        """Offsets between position and end, by partition."""
        with self._cluster.changed:
            return {p: self._cluster.log(p).end - position for p, position in self._positions.items()}

    def take_expired(self) -> dict[Partition, int]:
        """Offsets that retention took before they were read, by partition, since it was asked last."""
        expired, self._expired = self._expired, Counter()
        return dict(expired)

    def close(self) -> None:
        """Stop reading."""
        self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            raise BrokerError("the consumer is closed")

    def _fetch(self, limit: int) -> list[Message]:
        """Under the lock: what is visible, starting with another partition each time."""
        found: list[Message] = []
        partitions = list(self._positions)
        start = next(self._turn) % len(partitions) if partitions else 0
        for partition in partitions[start:] + partitions[:start]:
            log = self._cluster.log(partition)
            if self._positions[partition] > log.end:
                raise LogReplaced(
                    f"{partition.topic}[{partition.number}] ends at {log.end}, before "
                    f"{self._positions[partition]}, where it is to be read"
                )
            if self._positions[partition] < log.begin:
                self._expired[partition] += log.begin - self._positions[partition]
                self._positions[partition] = log.begin
            records, self._positions[partition] = log.read(self._positions[partition], limit - len(found))
            found += records
        return found


class MemoryConsumer(MemoryReader):
    """A group member. What ``Assignment`` raises passes through ``poll``; then close it."""

    def __init__(self, cluster: Cluster, topics: Sequence[str], group: str, assignment: Assignment) -> None:
        super().__init__(cluster)
        self.group = group
        self._assignment = assignment
        self._member = Member(tuple(topics), time.monotonic())
        self._held: set[Partition] = set()
        """What ``Assignment`` has been told of: after a stall, more than the group knows of."""
        self._told = False
        with cluster.changed:
            cluster.tick()
            cluster.require(topics)
            self._group = cluster.groups.setdefault(group, Group())
            self._group.join(self._member, cluster.counts())
            cluster.changed.notify_all()

    def poll(self, limit: int, timeout: float) -> list[Message]:
        """At most ``limit`` records, waiting at most ``timeout`` seconds for the first.

        Takes part in rebalances: ``Assignment`` is called here, without the lock held.
        """
        self._require_open()
        until = time.monotonic() + timeout
        member = self._member
        with self._cluster.changed:
            self._cluster.tick()
            member.polling = True
        try:
            while True:
                self._rebalance()
                with self._cluster.changed:
                    self._cluster.tick()
                    # What the group wants back is not read on, or the rebalance would wait.
                    found = [] if self._held - member.target else self._fetch(limit)
                    if found or time.monotonic() >= until:
                        return found
                    if not self._work():
                        self._cluster.wait(until)
        finally:
            with self._cluster.changed:
                member.polling = False
                member.last_poll = time.monotonic()

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, Committed | None]:
        """What is committed; waits for open transactions that may change it, as Kafka does."""
        wanted = list(partitions)
        coordinator = self._cluster.coordinator
        with self._cluster.changed:
            while any(coordinator.pending(self.group, partition) for partition in wanted):
                self._cluster.wait(time.monotonic() + coordinator.timeout)
            known = coordinator.committed.get(self.group, {})
            return {partition: known.get(partition) for partition in wanted}

    def close(self) -> None:
        """Give up every partition (``Assignment.revoked``) and leave the group."""
        if self._closed:
            return
        self._closed = True
        try:
            self._give_up(self._held)
        finally:
            with self._cluster.changed:
                if self._member in self._group:
                    self._group.leave(self._member, self._cluster.counts())
                self._cluster.changed.notify_all()

    def require_owned(self, partitions: Iterable[Partition]) -> None:
        """Under the lock: raises ``TransactionAborted`` for a partition this member has not."""
        self._cluster.tick()
        gone = set(partitions) - (self._member.owned if self._member in self._group else set())
        if gone:
            raise TransactionAborted(
                f"group {self.group} has given {', '.join(f'{p.topic}[{p.number}]' for p in sorted(gone))} "
                "to another member: abort, and go back to what is committed"
            )

    def _work(self) -> bool:
        """Under the lock: whether ``_rebalance`` has something to do."""
        member = self._member
        return member not in self._group or bool(self._held - member.target) or bool(self._takeable())

    def _takeable(self) -> set[Partition]:
        free = self._group.free(self._member.target - self._held)
        return {p for p in free if not self._cluster.coordinator.pending(self.group, p)}

    def _rebalance(self) -> None:
        with self._cluster.changed:
            lost = self._member not in self._group
        if lost:
            self._give_up(self._held)
            with self._cluster.changed:
                if self._member not in self._group:
                    self._group.join(self._member, self._cluster.counts())
                    self._cluster.changed.notify_all()
        self._give_up(self._held - self._member.target)
        self._take()

    def _give_up(self, partitions: set[Partition]) -> None:
        """Tell the owner while the partitions are still ours, so that it can commit; then let go."""
        if not partitions:
            return
        going = set(partitions)
        try:
            self._assignment.revoked(sorted(going))
        finally:
            with self._cluster.changed:
                for partition in going:
                    self._positions.pop(partition, None)
                self._held -= going
                self._member.owned -= going
                self._cluster.changed.notify_all()

    def _take(self) -> None:
        with self._cluster.changed:
            coming = self._takeable()
            known = self._cluster.coordinator.committed.get(self.group, {})
            committed = {partition: known.get(partition) for partition in sorted(coming)}
            self._member.owned |= coming
        if not coming and self._told:
            return
        self._told = True
        starts = self._assignment.assigned(committed)
        with self._cluster.changed:
            self._held |= coming
            for partition in coming:
                self._positions[partition] = starts.get(partition, self._cluster.log(partition).begin)
