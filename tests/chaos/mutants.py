"""Ways to get delivery wrong, each as a wrapper round the broker or the stage, and faults to show them.

Everything is in one process, on the broker in memory, so that a test can play each in a second.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chaos import verify
from fingerprint.flowrecords import end, numbered, record
from fingerprint.hellos import recorded
from pipeline.faults import Crash, Faults, FaultyBroker

from vermilion_capture.items import Item
from vermilion_fingerprint.stage import FingerprintStage
from vermilion_pipeline.codec import Codec
from vermilion_pipeline.flowid import community_id
from vermilion_pipeline.health import Health
from vermilion_pipeline.memory import MemoryBroker
from vermilion_pipeline.metrics import Metrics
from vermilion_pipeline.ports import (
    Assignment,
    Broker,
    BrokerError,
    Committed,
    Consumer,
    Headers,
    Message,
    Partition,
    TransactionalProducer,
)
from vermilion_pipeline.records import Payload
from vermilion_pipeline.runtime import Runtime, StageFailed
from vermilion_pipeline.stage import Handled, Incoming, Stage, Task
from vermilion_pipeline.topics import FINGERPRINTS, PAYLOADS, TOPICS

PREFIX: Final = "mutants."
PARTITIONS: Final = 3
_FIN = 17
_LATER = 15
"""Flows that begin between a flow's end and what it sends once more."""
_CODEC = Codec()


class Wrapped:
    """The inner broker, or stage, with what a mutant changes of it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class CommitFirst(Wrapped):
    """Offsets are committed in a transaction of their own, and then the outputs in another."""

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        inner: TransactionalProducer = self._inner.transactional(transactional_id)

        class Producer(Wrapped):
            waiting: Final[list[tuple[str, bytes | None, bytes | None, Headers, int | None]]] = []

            def begin(self) -> None:
                self.waiting.clear()
                inner.begin()

            def produce(
                self,
                topic: str,
                key: bytes | None,
                value: bytes | None,
                headers: Headers = (),
                partition: int | None = None,
            ) -> None:
                self.waiting.append((topic, key, value, headers, partition))

            def commit(self) -> None:
                inner.commit()
                inner.begin()
                for one in self.waiting:
                    inner.produce(*one)
                inner.commit()

        return Producer(inner)


class SkipOne(Wrapped):
    """A partition that comes back is read from the record after the one committed."""

    def consumer(self, topics: Sequence[str], group: str, assignment: Assignment) -> Consumer:
        class Late:
            def assigned(self, committed: Mapping[Partition, Committed | None]) -> Mapping[Partition, int]:
                return {partition: start + 1 for partition, start in assignment.assigned(committed).items()}

            def revoked(self, partitions: Iterable[Partition]) -> None:
                assignment.revoked(partitions)

        consumer: Consumer = self._inner.consumer(topics, group, Late())
        return consumer


class EmitInRebuild(Wrapped):
    """The next offset to answer is not committed: what is read again is answered again."""

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        class Producer(Wrapped):
            def send_offsets(self, offsets: Mapping[Partition, Committed], consumer: Consumer) -> None:
                bare = {partition: Committed(one.offset) for partition, one in offsets.items()}
                self._inner.send_offsets(bare, consumer)

        producer: TransactionalProducer = Producer(self._inner.transactional(transactional_id))
        return producer


class ForgetDone(Wrapped):
    """A flow is new when this task has not seen it: those done before the low-water mark are forgotten."""

    def task(self) -> Task:
        class Forgetful(Wrapped):
            def __init__(self, inner: Task) -> None:
                super().__init__(inner)
                self._seen: set[frozenset[tuple[bytes, int]]] = set()

            def handle(self, batch: Sequence[Incoming]) -> Handled:
                handled: Handled = self._inner.handle([self._renumbered(one) for one in batch])
                return handled

            def _renumbered(self, one: Incoming) -> Incoming:
                ends = [(one.record[f"{end}_ip"], one.record[f"{end}_port"]) for end in ("src", "dst")]
                flow = frozenset(ends)
                ordinal = one.record["ordinal"] if flow in self._seen else 0
                self._seen.add(flow)
                return one._replace(record={**one.record, "ordinal": ordinal})

        task: Task = Forgetful(self._inner.task())
        return task


class Shuffle(Wrapped):
    """The outputs of a batch are told in another order."""

    def task(self) -> Task:
        class Shuffled(Wrapped):
            def handle(self, batch: Sequence[Incoming]) -> Handled:
                handled: Handled = self._inner.handle(batch)
                return handled._replace(outputs=handled.outputs[::-1])

        task: Task = Shuffled(self._inner.task())
        return task


@dataclass(frozen=True)
class Mutant:
    """A defect, and which of the verifier's counts it must raise."""

    name: str
    raises: str
    broker: type[Wrapped] = Wrapped
    stage: type[Wrapped] = Wrapped
    without_faults: bool = False
    """Whether it shows even when nothing happens."""


MUTANTS: Final = (
    Mutant("commit before produce", "missing", broker=CommitFirst),
    Mutant("a skipped record", "missing", broker=SkipOne),
    Mutant("an emission during rebuild", "duplicate", broker=EmitInRebuild),
    Mutant("forgotten done flows", "invented", stage=ForgetDone),
    Mutant("outputs out of order", "reordered", stage=Shuffle, without_faults=True),
)


def traffic(draw: random.Random, flows: int = 60) -> list[Item]:
    """Interleaved flows; each sends its hello again long after it is done, of which nothing must be told."""
    queues: list[list[Payload]] = []
    later: list[list[Payload]] = []
    for number in range(flows):
        stream = recorded()[number % len(recorded())]
        source = (bytes([192, 0, 2, 1 + number % 200]), 30_000 + number)
        size = draw.choice([40, 200, 600])
        parts = [record(8 + i, stream[i : i + size], source=source) for i in range(0, len(stream), size)]
        server = (b"\xc6\x33\x64\1", 443)
        answer = record(5, b"no TLS in this direction", _FIN, source=server, target=source)
        after = 8 + len(stream)
        again = [record(after + 1 + i * len(stream), stream, source=source) for i in range(3)]
        opening = record(7, flags=2, source=source)
        first = [opening, *parts, answer, record(after, flags=_FIN, source=source)]
        every = numbered([*first, *again])
        queues.append(every[: len(first)])
        later.append(every[len(first) :])
        if number >= _LATER:
            queues.append(later[number - _LATER])
    queues += later[-_LATER:]
    items = []
    while queues := [queue for queue in queues if queue]:
        one = draw.choice(queues[:12]).pop(0)
        key = community_id(one["src_ip"], one["dst_ip"], one["src_port"], one["dst_port"], 6)
        items.append(Item(key.encode(), one))
    return items


def play(mutant: Mutant | None, seed: int, *, faulty: bool = True) -> tuple[verify.Verdict, int]:
    """The verifier's word on a run with a mutant, or none, and how many faults happened."""
    draw = random.Random(seed)
    broker = MemoryBroker()
    _publish(broker, traffic(draw))
    payloads: dict[Partition, list[Message]] = {}
    for message in _all(broker, PAYLOADS.full_name(PREFIX)):
        payloads.setdefault(message.partition, []).append(message)
    undisturbed = verify.Undisturbed(payloads, None, PREFIX)
    faults = Faults(seed, rate=0.06 if faulty else 0.0)
    mutated_broker, mutated_stage = (mutant.broker, mutant.stage) if mutant else (Wrapped, Wrapped)
    for _ in range(1_000):
        around: Broker = mutated_broker(FaultyBroker(broker, faults))
        stage: Stage = mutated_stage(FingerprintStage())
        one = Runtime(
            around, stage, _CODEC, prefix=PREFIX, instance="0", metrics=Metrics("test"), health=Health(),
            batch_wait_seconds=0.0, batch_records=draw.choice([5, 15, 40]),
        )  # fmt: skip
        try:
            _drain(one)
            break
        except Crash:
            one._consumer.close()  # its session is over; nothing more of it is heard
    else:
        raise AssertionError("it never came to an end")
    found = verify.fingerprinted(_all(broker, FINGERPRINTS.full_name(PREFIX)))
    return verify.compare(undisturbed.events, found), sum((faults.happened or {}).values())


def _publish(broker: MemoryBroker, items: Sequence[Item]) -> None:
    broker.create([topic.full_name(PREFIX) for topic in TOPICS], PARTITIONS, None)
    producer, encode = broker.producer(), _CODEC.encoder(PAYLOADS)
    for key, one in items:
        producer.produce(PAYLOADS.full_name(PREFIX), key, encode(one))
    for partition in range(PARTITIONS):
        producer.produce(PAYLOADS.full_name(PREFIX), None, encode(end()), (), partition)
    producer.close()


def _all(broker: Broker, topic: str) -> list[Message]:
    reader = broker.reader([topic], beginning=True)
    found: list[Message] = []
    while messages := reader.poll(1_000, 0.05):
        found += messages
    reader.close()
    return found


def _drain(one: Runtime) -> None:
    """Steps until three in a row read nothing, restoring after each fault."""
    idle = 0
    while idle < 3:
        try:
            idle = 0 if one.step() else idle + 1
        except (BrokerError, StageFailed):
            idle = 0
            one.restore()
