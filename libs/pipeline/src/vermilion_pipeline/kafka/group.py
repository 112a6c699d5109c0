"""Reading as a member of a consumer group (classic protocol, cooperative-sticky)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from vermilion_pipeline.kafka import errors
from vermilion_pipeline.kafka.consumer import KafkaReader
from vermilion_pipeline.ports import Assignment, Committed, Message, Partition, TransactionAborted

_COMMITTED_PATIENCE = 45.0
"""Seconds to wait for committed offsets: an open transaction of the last owner may hold them back
until the broker has aborted it (its time-out, and up to 10 s more for the broker to look)."""


class KafkaConsumer(KafkaReader):
    """A group member. What ``Assignment`` raises passes through ``poll``; then close it."""

    _needs_group = True

    def __init__(
        self,
        config: dict[str, Any],
        topics: Sequence[str],
        group: str,
        assignment: Assignment,
        first_offsets: Callable[[Sequence[Partition]], Mapping[Partition, int]],
    ) -> None:
        super().__init__(config)
        self.group = group
        self._assignment = assignment
        self._first_offsets = first_offsets
        self._assigned: dict[Partition, int] = {}
        """What ``Assignment`` has been told of, and where it began to read."""
        self._raised: BaseException | None = None
        self._consumer.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, Committed | None]:
        """What the group has committed, with metadata.

        Waits while an open transaction may change it. Raises ``BrokerUnavailable``.
        """
        wanted = [TopicPartition(*partition) for partition in partitions]
        if not wanted:
            return {}

        def fetch(left: float) -> dict[Partition, Committed | None]:
            found: dict[Partition, Committed | None] = {}
            for answer in self._consumer.committed(wanted, left):
                if answer.error is not None:
                    raise KafkaException(answer.error)
                known = Committed(answer.offset, answer.metadata or "") if answer.offset >= 0 else None
                found[Partition(answer.topic, answer.partition)] = known
            return found

        return errors.retried(fetch, f"asking what group {self.group} has committed", _COMMITTED_PATIENCE)

    def close(self) -> None:
        """Give up every partition (``Assignment.revoked``) and leave the group."""
        if self._closed:
            return
        super().close()
        # A member that was put out and has not polled since may be closed without a callback.
        self._lost(set(self._assigned))
        self._reraise()

    def membership(self, partitions: Iterable[Partition]) -> Any:
        """The group metadata to send offsets of ``partitions`` with.

        Raises ``TransactionAborted`` when one is not this member's. The broker alone does not
        see that: it takes the offsets of a client that has no member id just now, and of one that
        has rejoined without the partition.
        """
        metadata = self._consumer.consumer_group_metadata()
        gone = sorted(set(partitions) - self._assigned.keys())
        if gone or not self._consumer.memberid():
            what = ", ".join(f"{p.topic}[{p.number}]" for p in gone) or "its partitions"
            raise TransactionAborted(
                f"this member of group {self.group} no longer has {what}: "
                "abort, and go back to what is committed"
            )
        return metadata

    def _consume(self, limit: int, timeout: float) -> list[Message]:
        found = super()._consume(limit, timeout)
        self._reraise()
        return found

    def _reraise(self) -> None:
        """Raise what ``Assignment`` raised: an exception must not cross librdkafka."""
        if self._raised is not None:
            raised, self._raised = self._raised, None
            raise raised

    def _without_stale(self, found: list[Message]) -> list[Message]:
        kept = super()._without_stale(found)
        if len(kept) < len(found):
            dropped = {message.partition for message in found} - {message.partition for message in kept}
            for partition in dropped & self._assigned.keys():
                # It went and came back within one batch: begin again where it was assigned.
                self.seek(partition, self._assigned[partition])
        return kept

    def _on_assign(self, consumer: Consumer, coming: list[TopicPartition]) -> None:
        partitions = [Partition(one.topic, one.partition) for one in coming]
        try:
            begun = self._starts(partitions)
        except BaseException as error:
            self._raised = self._raised or error
            # librdkafka would otherwise assign them itself and read from what is committed.
            consumer.incremental_assign([])
            return
        self._assigned.update(begun)
        self._next.update(begun)
        consumer.incremental_assign([TopicPartition(*p, offset) for p, offset in begun.items()])

    def _starts(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Where ``Assignment`` wants to read from; the first record's offset where it says nothing.

        As a number: librdkafka's own "beginning" takes half a second.
        """
        starts = dict(self._assignment.assigned(self.committed(partitions)))
        if rest := [partition for partition in partitions if partition not in starts]:
            starts.update(self._first_offsets(rest))
        return {partition: starts[partition] for partition in partitions}

    def _on_revoke(self, consumer: Consumer, going: list[TopicPartition]) -> None:
        partitions = {Partition(one.topic, one.partition) for one in going} & self._assigned.keys()
        try:
            if partitions:
                # Still ours here, so that the owner can commit.
                self._assignment.revoked(sorted(partitions))
        except BaseException as error:
            self._raised = self._raised or error
        finally:
            self._forget(partitions)
            self._unassign(consumer, going)

    def _on_lost(self, consumer: Consumer, going: list[TopicPartition]) -> None:
        self._lost({Partition(one.topic, one.partition) for one in going} & self._assigned.keys())
        self._unassign(consumer, going)

    def _lost(self, partitions: set[Partition]) -> None:
        """Another member may have them already: first forget them, then tell."""
        self._forget(partitions)
        try:
            if partitions:
                self._assignment.revoked(sorted(partitions))
        except BaseException as error:
            self._raised = self._raised or error

    def _forget(self, partitions: set[Partition]) -> None:
        self._bounced |= partitions
        for partition in partitions:
            del self._assigned[partition]
            self._next.pop(partition, None)

    def _unassign(self, consumer: Consumer, going: list[TopicPartition]) -> None:
        try:
            consumer.incremental_unassign(going)
        except KafkaException as error:
            self._raised = self._raised or error
