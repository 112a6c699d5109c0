"""Consumer groups: who is a member, who owns which partition, and who should."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vermilion_pipeline.ports import Partition


@dataclass(eq=False, slots=True)
class Member:
    """One member: what it reads, what it owns now, and what it shall own after the rebalance."""

    topics: tuple[str, ...]
    last_poll: float
    polling: bool = False
    owned: set[Partition] = field(default_factory=set)
    target: set[Partition] = field(default_factory=set)


class Group:
    """Members of one group and their targets, balanced and sticky as Kafka's cooperative assignor.

    A partition is handed over in two steps: its owner gives it up in its own poll, and only then
    can the member whose target it is take it. Not thread-safe: the cluster's lock guards it.
    """

    def __init__(self) -> None:
        self._members: list[Member] = []

    def __contains__(self, member: Member) -> bool:
        return member in self._members

    def join(self, member: Member, partitions: Mapping[str, int]) -> None:
        """Add ``member`` and rebalance over ``partitions`` (topic -> count)."""
        self._members.append(member)
        self._rebalance(partitions)

    def leave(self, member: Member, partitions: Mapping[str, int]) -> None:
        """Remove ``member``, whose partitions are free at once, and rebalance."""
        self._members.remove(member)
        member.owned.clear()
        member.target.clear()
        self._rebalance(partitions)

    def stalled(self, before: float) -> list[Member]:
        """The members that are not inside a poll, and have not been since ``before``."""
        return [member for member in self._members if not member.polling and member.last_poll < before]

    def free(self, partitions: Iterable[Partition]) -> set[Partition]:
        """Those of ``partitions`` that no member owns."""
        return set(partitions).difference(*(member.owned for member in self._members))

    def _rebalance(self, partitions: Mapping[str, int]) -> None:
        everything = sorted(
            Partition(topic, number)
            for topic in {topic for member in self._members for topic in member.topics}
            for number in range(partitions[topic])
        )
        old = [member.target | member.owned for member in self._members]
        for member in self._members:
            member.target = set()
        rest = []
        quota = -(-len(everything) // max(1, len(self._members)))
        for partition in everything:
            for member, had in zip(self._members, old, strict=True):
                if partition in had and len(member.target) < quota:
                    member.target.add(partition)
                    break
            else:
                rest.append(partition)
        for partition in rest:
            takers = [member for member in self._members if partition.topic in member.topics]
            min(takers, key=lambda member: len(member.target)).target.add(partition)
        self._level()

    def _level(self) -> None:
        """Move partitions from the fullest to the emptiest until they differ by one at most."""
        for _ in range(sum(len(member.target) for member in self._members)):
            by_load = sorted(self._members, key=lambda member: len(member.target))
            for taker in by_load:
                movable = [
                    (giver, partition)
                    for giver in reversed(by_load)
                    if len(giver.target) > len(taker.target) + 1
                    for partition in sorted(giver.target)
                    if partition.topic in taker.topics
                ]
                if movable:
                    giver, partition = movable[0]
                    giver.target.remove(partition)
                    taker.target.add(partition)
                    break
            else:
                return
