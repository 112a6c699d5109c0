"""The loop that drives a stage and knows no business: poll, decode, handle, encode, produce, commit.

One batch is one transaction: its outputs, its dead letters and its offsets appear together or not
at all. The committed offset is the stage's low-water mark, and the next offset to answer is its
metadata; a partition that comes (back) is read from the former, and what lies before the latter
only rebuilds state. Where somebody began and came to no end, records are handled on trial first.
Nothing is open while polling, so a rebalance can only take what is committed.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from typing import Any

from vermilion_pipeline import headers
from vermilion_pipeline.answered import Answered, DeadLetter, Encoded, OutputTooLarge, ProcessKilled
from vermilion_pipeline.codec import Codec, DecodeError
from vermilion_pipeline.health import Health
from vermilion_pipeline.logs import logger
from vermilion_pipeline.metrics import Metrics
from vermilion_pipeline.ports import (
    AccessDenied,
    Broker,
    BrokerError,
    Committed,
    Fenced,
    LogReplaced,
    Message,
    Partition,
    ProducerLost,
    RegistryUnavailable,
    SchemaRefused,
    TransactionAborted,
    UnknownTopic,
)
from vermilion_pipeline.position import MOST_KILLERS, Position
from vermilion_pipeline.stage import Handled, Incoming, Output, Rejected, Stage, Task
from vermilion_pipeline.topics import DEADLETTER
from vermilion_pipeline.trial import trial

_LAG_EVERY_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 10.0
_SLICE_RECORDS = 250
"""Decoded at once: what a batch's records and their outputs take, as objects, is many times their bytes."""
_LARGEST_OUTPUT = 900_000
"""Bytes of key and value: with its headers below librdkafka's message.max.bytes."""

_log = logger("runtime")


class StageFailed(Exception):
    """A task raised on a batch; the batch is handled again, record by record."""


_MEMBERSHIP_STAYS = (TransactionAborted, ProducerLost, StageFailed, RegistryUnavailable)
_FINAL = (AccessDenied, Fenced, LogReplaced, UnknownTopic, SchemaRefused)


@dataclass(slots=True)
class Totals:
    """What this runtime has committed since it began."""

    consumed: int = 0
    produced: int = 0
    dead: int = 0


@dataclass(slots=True)
class _Assigned:
    """An assigned partition."""

    task: Task
    next: int
    """The next offset to handle."""
    answer_from: int
    """Records before this offset are answered already: they only rebuild the task's state."""
    killers: set[int]
    """Offsets that are stepped over."""
    trial_until: int
    """Records to answer before this offset are tried in a child first."""
    marked: bool
    """The log says that somebody has begun here."""
    watch_until: int = 0
    """Commits before this offset go on saying so."""
    expired: int = 0
    """Records lost to retention since the last commit."""

    def position(self) -> Position:
        """What to commit."""
        low = self.task.low_water()
        if low is None or low >= self.next:
            low = self.next
        return Position(low, self.next, self.next < self.watch_until, frozenset(self.killers))


class Runtime:
    """Drives one stage as one member of its consumer group."""

    def __init__(
        self,
        broker: Broker,
        stage: Stage,
        codec: Codec,
        *,
        prefix: str,
        instance: str,
        metrics: Metrics,
        health: Health,
        batch_records: int = 1_000,
        batch_wait_seconds: float = 0.1,
    ) -> None:
        """Connect. Raises UnknownTopic, BrokerUnavailable, AccessDenied."""
        self.totals = Totals()
        self._broker, self._stage = broker, stage
        self._metrics, self._health = metrics, health
        self._batch_records, self._batch_wait = batch_records, batch_wait_seconds
        self._source = stage.consumes.full_name(prefix)
        self._target = stage.produces.full_name(prefix)
        self._dead_letters = DEADLETTER.full_name(prefix)
        self._codec = codec
        codec.asking = health.beat  # a registry may be slow, and asked for many schemas in one batch
        self._decode = codec.decoder(stage.consumes)
        self._encode: Callable[[Mapping[str, Any]], bytes]
        self._assigned: dict[Partition, _Assigned] = {}
        self._careful: dict[Partition, int] = {}
        self._begun: dict[Partition, tuple[int, int]] = {}
        """Where it was this process that began, by partition, and until where on trial: no death."""
        self._open = self._joined = False
        self._pause = 0.0
        self._lag_read = 0.0
        counts = broker.partitions([self._source, self._target, self._dead_letters])
        self._dead_partitions = counts[self._dead_letters]
        self._transactional_id = f"{prefix}{stage.name}-{instance}"
        self._producer = broker.transactional(self._transactional_id)
        self._group = f"{prefix}{stage.name}"
        self._consumer = broker.consumer([self._source], self._group, self)

    # What the consumer tells (ports.Assignment), inside poll and close.

    def assigned(self, committed: Mapping[Partition, Committed | None]) -> Mapping[Partition, int]:
        """Begin each partition from its low-water mark, with fresh state."""
        starts = {}
        self._joined = True  # with no partition, too: one more replica than there are partitions
        for partition, found in committed.items():
            at = _position(partition, found) if found else Position(0, 0)
            ours, trial_until = self._begun.get(partition, (None, 0))
            if at.begun and ours != at.next:
                trial_until = at.next + 2 * self._batch_records
                _log.warning("not ended by the last owner; on trial", partition=str(partition), at=at.next)
            self._assigned[partition] = _Assigned(
                self._stage.task(), at.low, at.next, set(at.killers), trial_until, at.begun
            )
            if at.begun:
                self._assigned[partition].watch_until = at.next + 2 * self._batch_records
            if found:
                starts[partition] = at.low
            _log.info("assigned", partition=str(partition), start=at.low, answer_from=at.next)
        self._metrics.partitions.set(len(self._assigned))
        return starts

    def revoked(self, partitions: Iterable[Partition]) -> None:
        """Forget: all that was answered is committed."""
        for partition in partitions:
            self._assigned.pop(partition, None)
            self._careful.pop(partition, None)
            self._begun.pop(partition, None)
            _log.info("revoked", partition=str(partition))
        self._metrics.partitions.set(len(self._assigned))

    # The loop.

    def run(self, stop: Event) -> None:
        """Until ``stop`` is set; the batch in hand is then committed.

        Raises AccessDenied, Fenced, LogReplaced, UnknownTopic, SchemaRefused.
        """
        try:
            while not stop.is_set():
                try:
                    self.step()
                except _FINAL:
                    raise
                except (BrokerError, StageFailed) as error:
                    self._recover(error, stop)
        finally:
            self._health.ready = False
            self._consumer.close()
            self._producer.close()

    def step(self) -> int:
        """One batch; how many records were read.

        Raises BrokerError or StageFailed: memory is then ahead of the log, and ``restore`` comes
        before the next step.
        """
        self._read_lag()
        messages = self._consumer.poll(self._batch_records, self._batch_wait)
        self._health.beat()
        self._read_expired()
        # Not when constructed: a registry that is down then is waited for as one that goes later.
        self._encode = self._codec.encoder(self._stage.produces)
        answered, offsets = Answered([], [], []), {}
        consumed = 0
        batches = _by_partition(messages)
        self._mark(batches)
        killed = False
        for partition, batch in batches.items():
            assigned = self._assigned.get(partition)
            if assigned is None:  # taken away within this poll
                continue
            self._health.beat()
            if killed:  # the group must hear of its member before another record can hang
                self._consumer.seek(partition, batch[0].offset)
                continue
            killers = len(assigned.killers)
            consumed += self._handle(partition, assigned, batch, answered)
            killed = len(assigned.killers) > killers
            if assigned.next > assigned.answer_from:
                offsets[partition] = assigned.position()
        if offsets:
            self._commit(answered, offsets)
            self.totals.consumed += consumed
            self._metrics.consumed.inc(consumed)
            for partition in offsets:
                self._metrics.expired.inc(self._assigned[partition].expired)
                self._assigned[partition].expired = 0
        self._health.ready = self._joined
        self._health.waiting_for = ""
        self._metrics.registry_waiting.set(0)
        return len(messages)

    def _mark(self, batches: Mapping[Partition, Sequence[Message]]) -> None:
        """Before the first batch of a partition: say in its commit that somebody has begun here."""
        offsets = {}
        for partition, batch in batches.items():
            assigned = self._assigned.get(partition)
            if assigned is None or assigned.marked:
                continue
            at = assigned.answer_from or batch[0].offset  # nothing committed yet: the log may begin later
            assigned.watch_until = at + 2 * self._batch_records
            low = assigned.next or batch[0].offset
            offsets[partition] = Position(low, at, True, frozenset(assigned.killers))
        if offsets:
            self._commit(Answered([], [], []), offsets)
            for partition in offsets:
                self._assigned[partition].marked = True

    def _handle(
        self, partition: Partition, assigned: _Assigned, batch: Sequence[Message], answered: Answered
    ) -> int:
        """Hand a partition's records to its task; how many of them were not answered before."""
        known: list[Message] = []
        fresh: list[Message] = []
        for message in batch:
            if message.offset in assigned.killers:
                continue
            if message.offset >= assigned.next:  # else: read before a seek
                (known if message.offset < assigned.answer_from else fresh).append(message)
        end = batch[-1].offset + 1
        self._metrics.rebuilt.inc(len(known))
        unheard = Answered([], [], [])
        parts = [(part, unheard) for part in _slices(known)] + [(part, answered) for part in _slices(fresh)]
        for part, answers in parts:
            reached = self._ask(partition, assigned, part, answers)
            if reached <= part[-1].offset or part[-1].offset in assigned.killers:
                end = reached
                break
        if end <= batch[-1].offset:
            self._consumer.seek(partition, end)
        assigned.next = max(assigned.next, end)
        return sum(message.offset < end for message in fresh)

    def _ask(
        self, partition: Partition, assigned: _Assigned, messages: Sequence[Message], answered: Answered
    ) -> int:
        """Hand over records; before which offset all are handled."""
        incoming, end = [], messages[-1].offset + 1
        dead: list[DeadLetter] = []
        # By what is committed, not by the records: offsets have gaps. What is only rebuilt was handled
        # before, and killed nobody; unless more did than are remembered.
        on_trial = assigned.next < assigned.trial_until and (
            messages[0].offset >= assigned.answer_from or len(assigned.killers) >= MOST_KILLERS
        )
        if on_trial:
            messages, end = self._tried(assigned, messages, dead)
        origin = {message.offset: message for message in messages}
        for message in messages:
            try:
                incoming.append(Incoming(message.offset, message.key, self._decode(message.value)))
            except DecodeError as error:
                dead.append(DeadLetter(message, error))
        if on_trial or messages[0].offset <= self._careful.get(partition, -1):
            encoded, handled = self._one_by_one(assigned.task, incoming)
        else:
            try:
                handled = assigned.task.handle(incoming)
                encoded = [self._encoded(output) for output in handled.outputs]
            except Exception as error:
                _log.exception("stage failed; its batch is handled again record by record")
                # The batch's other slices, too, or each would fail a transaction of its own.
                self._careful[partition] = messages[-1].offset + self._batch_records
                raise StageFailed(f"{type(error).__name__}: {error}") from error
        answered.outputs.extend(encoded)
        dead.extend(DeadLetter(origin[offset], error) for offset, error in handled.rejected)
        answered.dead.extend(sorted(dead, key=lambda letter: letter.message.offset))
        answered.counts.append(handled.counts)
        return end

    def _tried(
        self, assigned: _Assigned, messages: Sequence[Message], dead: list[DeadLetter]
    ) -> tuple[Sequence[Message], int]:
        """The records that do not kill a child, up to one that does so twice; before which offset that is.

        That one becomes a dead letter. What is behind it comes with the next batch: another one that
        hangs takes as long again, and a group waits for a poll no longer than ``max.poll.interval.ms``.
        """
        pending = {message.offset: message for message in messages}
        for message in messages:
            self._codec.learn(message.value)  # the child has no network

        def attempt(offset: int) -> None:
            message = pending[offset]
            self._one_by_one(assigned.task, [Incoming(offset, message.key, self._decode(message.value))])

        deaths: Counter[int] = Counter()
        while (died := trial(list(pending), attempt, self._health.beat)) is not None:
            _log.error("a child died of a record", offset=died.offset, how=died.how)
            if died.offset is None:
                break
            deaths[died.offset] += 1
            if deaths[died.offset] == 2:
                killer = pending[died.offset]
                assigned.killers.add(died.offset)
                dead.append(DeadLetter(killer, ProcessKilled(f"handling it ends in {died.how}")))
                return [message for message in messages if message.offset < died.offset], died.offset + 1
        return messages, messages[-1].offset + 1

    def _commit(self, answered: Answered, offsets: Mapping[Partition, Position]) -> None:
        producer = self._producer
        self._open = True  # before begin: one that fails asks for another producer, too
        producer.begin()
        for key, value, head in answered.outputs:
            producer.produce(self._target, key, value, head)
        for message, error in answered.dead:
            letter = headers.dead_letter(message, self._stage.name, error)
            # By the origin's partition: put back, they come in the order that they had there.
            number = message.partition.number % self._dead_partitions
            producer.produce(self._dead_letters, letter.key, letter.value, letter.headers, number)
        producer.send_offsets({one: at.committed() for one, at in offsets.items()}, self._consumer)
        with self._metrics.commit_seconds.time():
            producer.commit()
        self._open = False
        for partition, at in offsets.items():
            self._begun[partition] = (at.next, self._assigned[partition].trial_until)
        self._pause = 0.0
        self.totals.produced += len(answered.outputs)
        self.totals.dead += len(answered.dead)
        self._metrics.produced.inc(len(answered.outputs))
        for counts in answered.counts:
            self._metrics.count(counts)
        for message, error in answered.dead:
            self._metrics.dead_letters.labels(type(error).__name__).inc()
            _log.warning(
                "dead letter", origin=str(message.partition), offset=message.offset, error=str(error)
            )

    # When a transaction does not commit.

    def restore(self) -> None:
        """Abort what is open and go back to what is committed. Raises BrokerError."""
        if self._open:
            try:
                self._producer.abort()
            except Fenced:
                raise
            except BrokerError:
                self._health.beat()
                self._producer.close()
                self._producer = self._broker.transactional(self._transactional_id)
            self._health.beat()
            self._open = False
        partitions = list(self._assigned)
        starts = self.assigned(self._consumer.committed(partitions))
        for partition in partitions:
            self._consumer.seek(partition, starts.get(partition, 0))

    def _reconnect(self) -> None:
        """Leave the group and join it anew: what was assigned may not be as it seems. Raises BrokerError."""
        with suppress(BrokerError):
            self._consumer.close()
        self._assigned.clear()
        self._joined = False
        self._health.beat()
        self._consumer = self._broker.consumer([self._source], self._group, self)

    def _recover(self, error: BrokerError | StageFailed, stop: Event) -> None:
        """Go back to what is committed, waiting longer each time until a batch commits.

        A failure of the transaction's own leaves the assignment as it is; any other one, and one
        that going back does not cure, asks for a new consumer.
        """
        again: BrokerError | StageFailed | None = error
        while again is not None and not stop.is_set():
            _log.warning("batch not committed; going back to what is", error=str(again))
            if self._open:
                self._metrics.aborted.labels(type(again).__name__).inc()
            self._health.beat()
            self._health.ready = False
            self._health.waiting_for = str(again)
            self._metrics.registry_waiting.set(isinstance(again, RegistryUnavailable))
            stop.wait(self._pause)
            self._health.beat()
            self._pause = min(2 * self._pause + 0.1, _LONGEST_PAUSE_SECONDS)
            try:
                if again is not error or not isinstance(error, _MEMBERSHIP_STAYS):
                    self._reconnect()
                self.restore()
            except (AccessDenied, Fenced, LogReplaced, SchemaRefused):
                raise  # a topic that is not there may be one whose leader is not, yet
            except BrokerError as failure:
                again = failure
            else:
                again = None

    def _encoded(self, output: Output) -> Encoded:
        head = headers.event(output.record, self._stage.name, self._stage.produces.schema or "")
        value = self._encode(output.record)
        if len(value) + len(output.key or b"") > _LARGEST_OUTPUT:
            raise OutputTooLarge(f"its {self._stage.produces.schema} record has {len(value)} bytes")
        return Encoded(output.key, value, head)

    def _one_by_one(self, task: Task, incoming: Iterable[Incoming]) -> tuple[list[Encoded], Handled]:
        """Handle records singly; one that the task fails on is rejected, the others go on."""
        encoded: list[Encoded] = []
        rejected: list[Rejected] = []
        counts: Counter[tuple[str, ...]] = Counter()
        for item in incoming:
            try:
                handled = task.handle([item])
                encoded += [self._encoded(output) for output in handled.outputs]
            except Exception as error:
                rejected.append(Rejected(item.offset, error))
            else:
                rejected.extend(handled.rejected)
                counts.update(handled.counts)
        return encoded, Handled([], counts, rejected)

    def _read_expired(self) -> None:
        for partition, count in self._consumer.take_expired().items():
            assigned = self._assigned.get(partition)
            # Where nothing was ever read, the log may well begin later than with its first record.
            if assigned is not None and (assigned.marked or assigned.next):
                answered = max(0, assigned.answer_from - assigned.next)
                lost = max(0, count - answered)
                assigned.expired += lost  # counted with the commit: until then it may be met again
                _log.error(
                    "retention deleted records before they were read", partition=str(partition), lost=lost,
                    of_running_flows=count - lost,
                )  # fmt: skip

    def _read_lag(self) -> None:
        """What is not answered yet. Before a poll, when what was read is committed, or gone back over."""
        now = time.monotonic()
        if now - self._lag_read >= _LAG_EVERY_SECONDS:
            self._lag_read = now
            lag = 0
            for partition, behind in self._consumer.lag().items():
                one = self._assigned.get(partition)
                rebuilding = max(0, one.answer_from - one.next) if one else 0
                lag += max(0, behind - rebuilding)
            self._metrics.lag.set(lag)


def _by_partition(messages: Iterable[Message]) -> dict[Partition, list[Message]]:
    groups: dict[Partition, list[Message]] = {}
    for message in messages:
        groups.setdefault(message.partition, []).append(message)
    return groups


def _slices(messages: Sequence[Message]) -> list[Sequence[Message]]:
    return [messages[first : first + _SLICE_RECORDS] for first in range(0, len(messages), _SLICE_RECORDS)]


def _position(partition: Partition, committed: Committed) -> Position:
    """What the commit says; metadata that no stage writes is ignored."""
    try:
        return Position.of(committed)
    except ValueError:
        _log.warning(
            "foreign commit metadata ignored", partition=str(partition), metadata=committed.metadata[:100]
        )
        return Position(committed.offset, committed.offset)
