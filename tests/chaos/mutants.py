"""Ways to get delivery wrong, each as a wrapper round the broker or the stage, and faults to show them.

Everything is in one process, on the broker in memory, so that a test can play each in a second.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from chaos import verify
from fingerprint.flowrecords import end, numbered, record
from fingerprint.hellos import recorded
from pipeline.faults import Crash, Faults, FaultyBroker, Wrapped

from vermilion_capture.items import Item
from vermilion_classify.knowledge import Knowledge
from vermilion_classify.reloading import Fixed
from vermilion_classify.stage import ClassifyStage
from vermilion_classify.store import load
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
from vermilion_pipeline.topics import CLASSIFIED, DEADLETTER, FINGERPRINTS, PAYLOADS, TOPICS, Topic

PREFIX: Final = "mutants."
PARTITIONS: Final = 3
_FIN = 17
_LATER = 15
"""Flows that begin between a flow's end and what it sends once more."""
_CODEC = Codec()


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


class Produced(NamedTuple):
    """A record on its way to the broker."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


def changed(topic: Topic, change: Callable[[Produced], Sequence[Produced]]) -> type[Wrapped]:
    """A broker to which something else of each record of a topic goes."""

    class Producer(Wrapped):
        def produce(
            self,
            name: str,
            key: bytes | None,
            value: bytes | None,
            headers: Headers = (),
            partition: int | None = None,
        ) -> None:
            one = Produced(name, key, value, headers, partition)
            for each in change(one) if name == topic.full_name(PREFIX) else [one]:
                self._inner.produce(*each)

    class Changing(Wrapped):
        def transactional(self, transactional_id: str) -> TransactionalProducer:
            producer: TransactionalProducer = Producer(self._inner.transactional(transactional_id))
            return producer

    return Changing


def _with(topic: Topic, **fields: Headers | bytes | None) -> type[Wrapped]:
    return changed(topic, lambda one: [one._replace(**fields)])  # type: ignore[arg-type]


def _swapped() -> type[Wrapped]:
    """Each second letter comes before the first."""
    held: list[Produced] = []

    def change(one: Produced) -> Sequence[Produced]:
        if held:
            return [one, held.pop()]
        held.append(one)
        return []

    return changed(DEADLETTER, change)


_ORIGINLESS: Final = changed(DEADLETTER, lambda one: [one._replace(headers=one.headers[1:])])


def _header(name: str, value: bytes) -> type[Wrapped]:
    """A dead letter that says something else in one of its headers."""

    def change(one: Produced) -> Sequence[Produced]:
        return [one._replace(headers=tuple((n, value if n == name else held) for n, held in one.headers))]

    return changed(DEADLETTER, change)


@dataclass(frozen=True)
class Mutant:
    """A defect, and which of the verifier's counts it must raise."""

    name: str
    raises: str
    broker: type[Wrapped] = Wrapped
    stage: type[Wrapped] = Wrapped
    without_faults: bool = False
    """Whether it shows even when nothing happens."""
    classify: bool = False
    """It is of ``classify``, behind a ``fingerprint`` that is as it should be."""


MUTANTS: Final = (
    Mutant("commit before produce", "missing", broker=CommitFirst),
    Mutant("a skipped record", "missing", broker=SkipOne),
    Mutant("an emission during rebuild", "duplicate", broker=EmitInRebuild),
    Mutant("forgotten done flows", "invented", stage=ForgetDone),
    Mutant("outputs out of order", "reordered", stage=Shuffle, without_faults=True),
    *(
        Mutant(name, raises, broker, without_faults=True, classify=classify)
        for name, raises, broker, classify in (
            ("a key lost", "invented", _with(FINGERPRINTS, key=None), False),
            ("headers lost", "invented", _with(FINGERPRINTS, headers=()), False),
            ("headers lost by classify", "invented", _with(CLASSIFIED, headers=()), True),
            ("a letter dropped", "missing", changed(DEADLETTER, lambda _: []), False),
            ("a letter twice", "duplicate", changed(DEADLETTER, lambda one: [one, one]), False),
            ("letters out of order", "reordered", _swapped(), False),
            ("a letter's key lost", "invented", _with(DEADLETTER, key=None), False),
            ("a letter without its origin's headers", "invented", _ORIGINLESS, False),
            ("a letter of another error", "invented", _header("vermilion_error_class", b"Error"), False),
            ("a letter of another stage", "invented", _header("vermilion_stage", b"classify"), False),
        )
    ),
    Mutant("a record that classify skips", "missing", broker=SkipOne, classify=True),
)
POISON: Final = (b"", b"no avro", b"\xc3\x01" + bytes(30))
"""Values that do not decode."""


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


def play(mutant: Mutant, seed: int, *, faulty: bool = True) -> tuple[verify.Verdict, int]:
    """The verifier's word on a run with a mutant, and how many faults happened."""
    draw = random.Random(seed)
    broker = MemoryBroker()
    _publish(broker, traffic(draw), mutant.classify)
    payloads: dict[Partition, list[Message]] = {}
    for message in _all(broker, PAYLOADS):
        payloads.setdefault(message.partition, []).append(message)
    undisturbed = verify.Undisturbed(payloads, _knowledge() if mutant.classify else None, PREFIX)
    events, dead = undisturbed.events, undisturbed.dead
    faults = Faults(seed, rate=0.06 if faulty else 0.0)
    around, stage = mutant.broker(FaultyBroker(broker, faults)), mutant.stage
    if mutant.classify:
        _drain(FaultyBroker(broker, faults), FingerprintStage(), draw)
        _drain(around, stage(ClassifyStage(Fixed(_knowledge()))), draw)
        dead = dead + verify.undecodable(_all(broker, FINGERPRINTS), PREFIX)
        found = verify.classified(_all(broker, CLASSIFIED))
    else:
        _drain(around, stage(FingerprintStage()), draw)
        found = verify.fingerprinted(_all(broker, FINGERPRINTS))
    verdict = verify.compare(events, found) + verify.compare(dead, verify.letters(_all(broker, DEADLETTER)))
    return verdict, sum((faults.happened or {}).values())


@cache
def _knowledge() -> Knowledge:
    return load()


def _publish(broker: MemoryBroker, items: Sequence[Item], classify: bool) -> None:
    broker.create([topic.full_name(PREFIX) for topic in TOPICS], PARTITIONS, None)
    producer, encode = broker.producer(), _CODEC.encoder(PAYLOADS)
    encoded = [(key, encode(one)) for key, one in items]
    # One that decodes, and that the stage refuses.
    poison = [*POISON, encode({**items[0].record, "src_ip": b"no address"})]
    step = len(encoded) // (2 * len(poison))
    for number, (key, value) in enumerate(encoded):
        producer.produce(PAYLOADS.full_name(PREFIX), key, value)
        if number % step == 0:
            for topic in (PAYLOADS, FINGERPRINTS)[: 1 + classify]:
                bad = poison[number // step % len(poison)]
                producer.produce(topic.full_name(PREFIX), b"poison %d" % number, bad, (("origin", b"kept"),))
    for partition in range(PARTITIONS):
        producer.produce(PAYLOADS.full_name(PREFIX), None, encode(end()), (), partition)
    producer.close()


def _all(broker: Broker, topic: Topic) -> list[Message]:
    reader = broker.reader([topic.full_name(PREFIX)], beginning=True)
    found: list[Message] = []
    while messages := reader.poll(1_000, 0.05):
        found += messages
    reader.close()
    return found


def _drain(broker: Broker, stage: Stage, draw: random.Random) -> None:
    """The stage comes to the end of its topic, started again after each crash."""
    for _ in range(1_000):
        one = Runtime(
            broker, stage, _CODEC, prefix=PREFIX, instance="0", metrics=Metrics("test"), health=Health(),
            batch_wait_seconds=0.0, batch_records=draw.choice([5, 15, 40]),
        )  # fmt: skip
        try:
            return _steps(one)
        except Crash:
            one._consumer.close()  # its session is over; nothing more of it is heard
    raise AssertionError("it never came to an end")


def _steps(one: Runtime) -> None:
    """Steps until three in a row read nothing, restoring after each fault."""
    idle = 0
    while idle < 3:
        try:
            idle = 0 if one.step() else idle + 1
        except (BrokerError, StageFailed):
            idle = 0
            one.restore()
