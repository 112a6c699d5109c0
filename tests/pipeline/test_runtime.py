"""The runtime: exactly once through aborts, crashes and rebuilds; dead letters; isolation."""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
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
    AccessDenied,
    Broker,
    BrokerError,
    Fenced,
    Headers,
    Message,
    Partition,
    TransactionAborted,
)
from vermilion_pipeline.runtime import Runtime, StageFailed
from vermilion_pipeline.stage import Handled, Incoming, Stage, StatelessTask, Task
from vermilion_pipeline.topics import DEADLETTER, FINGERPRINTS, PAYLOADS, TOPICS, Topic

PREFIX = "test."
CODEC = Codec()
SLICE = "vermilion_pipeline.runtime._SLICE_RECORDS"


def traffic(flows: int = 60, seed: int = 3) -> list[Item]:
    """Interleaved flows, cut small, each with a tail that follows its finished hello."""
    draw = random.Random(seed)
    queues = []
    for number in range(flows):
        stream = recorded()[number % len(recorded())]
        source = (bytes([192, 0, 2, 1 + number % 200]), 30000 + number)
        size = draw.choice([40, 200, 600])
        parts = [record(8 + i, stream[i : i + size], source=source) for i in range(0, len(stream), size)]
        tail = [record(8 + len(stream) + i, b"\x17\3\3\0\4abcd", source=source) for i in range(3)]
        answer = record(5, b"no TLS in this direction" * 300, source=(b"\xc6\x33\x64\1", 443), target=source)
        queues.append(numbered([record(7, flags=2, source=source), *parts, answer, *tail]))
    items = []
    while queues := [queue for queue in queues if queue]:
        one = draw.choice(queues).pop(0)
        key = community_id(one["src_ip"], one["dst_ip"], one["src_port"], one["dst_port"], 6)
        items.append(Item(key.encode(), one))
    return items


def prepared(items: Sequence[Item], partitions: int = 3, *extra: bytes) -> MemoryBroker:
    """A broker with the items in its payloads topic, and ``extra`` values of no meaning among them."""
    broker = MemoryBroker(session_timeout=5.0)
    broker.create([topic.full_name(PREFIX) for topic in TOPICS], partitions, None)
    producer, encode = broker.producer(), CODEC.encoder(PAYLOADS)
    name = PAYLOADS.full_name(PREFIX)
    for number, (key, value) in enumerate(items):
        producer.produce(name, key, encode(value))
        if number < len(extra):
            producer.produce(name, b"poison", extra[number], (("origin", b"kept"),), 0)
    for partition in range(partitions):
        producer.produce(name, None, encode(end()), (), partition)
    producer.flush(5)
    producer.close()
    return broker


def runtime(broker: Broker, stage: Stage | None = None, **more: Any) -> Runtime:
    return Runtime(
        broker, stage or FingerprintStage(), CODEC, prefix=PREFIX, instance="one", metrics=Metrics("test"),
        health=Health(), batch_wait_seconds=0.0, **more,
    )  # fmt: skip


def drain(one: Runtime) -> None:
    """Steps until three in a row read nothing, restoring after each fault."""
    idle = 0
    while idle < 3:
        try:
            idle = 0 if one.step() else idle + 1
        except (BrokerError, StageFailed):
            idle = 0
            one.restore()


def committed(broker: Broker, topic: Topic = FINGERPRINTS) -> list[Message]:
    reader = broker.reader([topic.full_name(PREFIX)], beginning=True)
    out: list[Message] = []
    while messages := reader.poll(1000, 0.05):
        out.extend(messages)
    reader.close()
    return out


def by_key(messages: Sequence[Message]) -> dict[bytes, list[Any]]:
    """Events of each flow in order: what must be the same whatever happened."""
    decode = CODEC.decoder(FINGERPRINTS)
    found: dict[bytes, list[Any]] = {}
    for message in messages:
        found.setdefault(message.key or b"", []).append(decode(message.value))
    return found


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_each_flow_is_answered_once(closing: ExitStack) -> None:
    broker = prepared(traffic())
    one = runtime(broker)
    drain(one)
    found = by_key(committed(broker))
    assert len(found) == 60
    assert all([event["type"] for event in events] == ["tcp", "tls"] for events in found.values())
    assert one.totals.produced == 120


@pytest.mark.parametrize("seed", range(12))
def test_faults_lose_repeat_and_invent_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SLICE, random.Random(seed).choice([3, 11, 250]))
    items = traffic(seed=seed)
    undisturbed = prepared(items)
    drain(runtime(undisturbed))
    broker = prepared(items)
    faults = Faults(seed)
    crashes, tries = 0, 0
    while True:
        tries += 1
        assert tries < 500
        one = runtime(
            FaultyBroker(broker, faults), batch_records=random.Random(seed + tries).choice([1, 7, 40])
        )
        try:
            drain(one)
            break
        except Crash:
            crashes += 1
            one._consumer.close()  # its session is over; nothing more of it is heard
    assert by_key(committed(broker)) == by_key(committed(undisturbed))
    assert crashes > 2
    assert faults.happened is not None
    assert {"abort", "lost"} <= faults.happened.keys()


def test_a_second_member_takes_over_partitions_with_their_state() -> None:
    items = traffic()
    undisturbed = prepared(items)
    drain(runtime(undisturbed))
    broker = prepared(items)
    first = runtime(broker, batch_records=20)
    for _ in range(6):
        first.step()
    second = Runtime(
        broker, FingerprintStage(), CODEC, prefix=PREFIX, instance="two", metrics=Metrics("test"),
        health=Health(), batch_wait_seconds=0.0, batch_records=20,
    )  # fmt: skip
    deadline = time.monotonic() + 20
    idle = 0
    while idle < 6 and time.monotonic() < deadline:
        idle = idle + 1 if not (first.step() + second.step()) else 0
    assert second.totals.consumed > 0
    assert by_key(committed(broker)) == by_key(committed(undisturbed))


def test_what_cannot_be_decoded_goes_to_the_dead_letters_and_the_stream_goes_on() -> None:
    good = CODEC.encoder(PAYLOADS)(traffic(1)[0].record)
    poison = [b"", b"not avro", good[:-3], good + b"x", b"\xc3\x01" + bytes(20), b"\x00\x00\x00\x00\x63abc"]
    broker = prepared(traffic(), 3, *poison)
    one = runtime(broker)
    drain(one)
    assert len(by_key(committed(broker))) == 60
    letters = committed(broker, DEADLETTER)
    assert [letter.value for letter in letters] == poison
    headers = dict(letters[1].headers)
    assert headers["origin"] == b"kept"
    assert headers["vermilion_stage"] == b"fingerprint"
    assert headers["vermilion_error_class"] == b"DecodeError"
    assert b"no Avro framing at offset 0" in headers["vermilion_error_message"]
    assert headers["vermilion_origin_topic"] == PAYLOADS.full_name(PREFIX).encode()
    assert headers["vermilion_origin_partition"] == b"0"
    assert headers["vermilion_origin_offset"].isdigit()
    assert headers["ce_specversion"] == b"1.0"
    assert one.totals.dead == len(poison)


@pytest.mark.parametrize(
    ("key", "value", "head"),
    [
        (b"k", b"x" * 1_040_000, ()),
        (b"k" * 1_040_000, b"x", ()),
        (b"k", b"x", (("large", b"x" * 1_040_000),)),
        (b"k" * 300_000, b"x" * 300_000, (("large", b"x" * 300_000), ("small", b"x"))),
    ],
)
def test_a_dead_letter_is_never_too_large_for_its_topic(key: bytes, value: bytes, head: Headers) -> None:
    broker = prepared(traffic(3))
    producer = broker.producer()
    producer.produce(PAYLOADS.full_name(PREFIX), key, value, head, 0)
    producer.close()
    one = runtime(broker)
    drain(one)
    (letter,) = committed(broker, DEADLETTER)
    assert value.startswith(letter.value or b"-")
    assert key.startswith(letter.key or b"-")
    assert one.totals.dead == 1
    assert len(by_key(committed(broker))) == 3


def test_a_record_of_which_an_event_is_made_that_no_broker_takes_is_a_dead_letter() -> None:
    large = [Item(b"large", {**item.record, "sensor": "s" * 990_000}) for item in traffic(1)]
    broker = prepared([*large, *traffic(3)])
    drain(runtime(broker))
    letters = committed(broker, DEADLETTER)
    assert {dict(letter.headers)["vermilion_error_class"] for letter in letters} == {b"OutputTooLarge"}
    assert {letter.key for letter in letters} == {b"large"}
    assert len(by_key(committed(broker))) == 3


class Refusing:
    """A broker whose group fails to tell what is committed, so many times."""

    def __init__(self, inner: Any, times: int) -> None:
        self._inner, self._times = inner, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def consumer(self, topics: Sequence[str], group: str, assignment: Any) -> Any:
        outer = self

        class Failing:
            def assigned(self, found: Any) -> Any:
                if outer._times > 0:
                    outer._times -= 1
                    raise BrokerError("on purpose")
                return assignment.assigned(found)

            def revoked(self, partitions: Any) -> None:
                assignment.revoked(partitions)

        return self._inner.consumer(topics, group, Failing())


def test_a_failure_while_partitions_are_assigned_is_cured_by_a_new_consumer() -> None:
    broker = prepared(traffic(5))
    one = runtime(Refusing(broker, 2))
    stop = threading.Event()
    thread = threading.Thread(target=one.run, args=(stop,))
    thread.start()
    deadline = time.monotonic() + 20
    while one.totals.produced < 10 and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    thread.join()
    assert one.totals.produced == 10


def test_a_replica_that_waits_for_kafka_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its probe must not kill it: it would be no sooner there, and later with each time."""
    beats: list[float] = []
    monkeypatch.setattr(Health, "beat", lambda _: beats.append(time.monotonic()))
    one, stop = runtime(Refusing(prepared(traffic(1)), 1_000_000)), threading.Event()
    thread = threading.Thread(target=one.run, args=(stop,))
    thread.start()
    deadline = time.monotonic() + 20
    while len(beats) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    thread.join()
    assert len(beats) >= 4
    assert one.totals.consumed == 0


def test_a_right_that_is_taken_away_ends_it() -> None:
    class Denied(Refusing):
        def partitions(self, topics: Sequence[str]) -> Any:
            if self._times == 0:
                raise AccessDenied("no longer")
            return self._inner.partitions(topics)

        def consumer(self, topics: Sequence[str], group: str, assignment: Any) -> Any:
            self.partitions(topics)
            return super().consumer(topics, group, assignment)

    with pytest.raises(AccessDenied):
        runtime(Denied(prepared(traffic(5)), 1)).run(threading.Event())


def test_a_transaction_that_cannot_begin_asks_for_another_producer() -> None:
    broker = prepared(traffic(5))
    one = runtime(broker)
    one._producer._lost = True  # type: ignore[attr-defined]
    drain(one)
    assert len(by_key(committed(broker))) == 5


def test_the_lag_is_what_is_not_answered_whatever_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vermilion_pipeline.runtime._LAG_EVERY_SECONDS", 0.0)
    broker = prepared(traffic(), 1)
    (total,) = broker.ends([PAYLOADS.full_name(PREFIX)]).values()
    metrics = Metrics("fingerprint")

    def member() -> Runtime:
        return Runtime(
            broker, FingerprintStage(), CODEC, prefix=PREFIX, instance="one", metrics=metrics,
            health=Health(), batch_records=100, batch_wait_seconds=0.0,
        )  # fmt: skip

    one = member()
    for answered in (0, 100, 200):
        one._read_lag()
        assert metrics.registry.get_sample_value("vermilion_consumer_lag") == (
            total - answered if answered else 0
        )
        one.step()
    with monkeypatch.context() as patch:
        patch.setattr(one, "_handle", lambda *_: 1 / 0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                one.step()
            one.restore()
            one._read_lag()
            assert metrics.registry.get_sample_value("vermilion_consumer_lag") == total - 300
    one._consumer.close()
    two = member()  # reads from the low-water mark, and has answered more
    two._consumer.poll(0, 0.0)
    assert next(iter(two._assigned.values())).next < 300
    two._read_lag()
    assert metrics.registry.get_sample_value("vermilion_consumer_lag") == total - 300
    two._consumer.close()


def test_a_record_that_decodes_and_cannot_be_is_a_dead_letter() -> None:
    bad = Item(b"k", {**traffic(1)[0].record, "src_ip": b"123"})
    broker = prepared([bad, *traffic(3)])
    drain(runtime(broker))
    (letter,) = committed(broker, DEADLETTER)
    assert b"src_ip" in dict(letter.headers)["vermilion_error_message"]
    assert len(by_key(committed(broker))) == 3


class Fragile:
    """A stage that fails on one run's records."""

    name = "fragile"
    consumes = PAYLOADS
    produces = FINGERPRINTS

    def __init__(self, bad: int) -> None:
        self._bad = bad

    def task(self) -> Task:
        return StatelessTask(self._handle)

    def _handle(self, batch: Sequence[Incoming]) -> Handled:
        if any(item.record["src_port"] == self._bad for item in batch):
            raise RuntimeError("a defect")
        return Handled([], {})


def test_a_record_that_the_stage_fails_on_is_isolated() -> None:
    items = traffic(20)
    broker = prepared(items)
    one = runtime(broker, Fragile(30005))
    drain(one)
    letters = committed(broker, DEADLETTER)
    assert len(letters) == sum(item.record["src_port"] == 30005 for item in items)
    assert {dict(letter.headers)["vermilion_error_class"] for letter in letters} == {b"RuntimeError"}
    assert one.totals.consumed == len(items) + 3


def test_events_carry_cloud_events_headers() -> None:
    broker = prepared(traffic(1))
    drain(runtime(broker))
    (_, message) = committed(broker)
    headers, event = dict(message.headers), CODEC.decoder(FINGERPRINTS)(message.value)
    assert headers["ce_id"].decode() == event["event_id"]
    assert headers["ce_type"] == b"vermilion.fingerprint"
    assert headers["ce_time"] == b"2023-11-14T22:13:20Z"
    assert message.key == event["community_id"].encode()


def test_a_zombie_is_fenced() -> None:
    broker = prepared(traffic())
    one = runtime(broker, batch_records=5)
    one.step()
    runtime(broker)
    with pytest.raises(Fenced):
        for _ in range(10):
            one.step()


def refused() -> None:
    raise TransactionAborted("not now")


def test_what_retention_took_is_counted_and_the_rest_is_answered() -> None:
    broker = prepared(traffic(), 1)
    payloads = Partition(PAYLOADS.full_name(PREFIX), 0)
    metrics = Metrics("fingerprint")
    one = Runtime(
        broker, FingerprintStage(), CODEC, prefix=PREFIX, instance="one", metrics=metrics, health=Health(),
        batch_records=10, batch_wait_seconds=0.0,
    )  # fmt: skip
    value = metrics.registry.get_sample_value
    one.step()
    assert one.totals.consumed == 10
    assert value("vermilion_records_expired_total") == 0
    end_of_log = broker.ends([payloads.topic])[payloads]
    broker.expire(payloads, 50)
    commit = one._producer.commit
    for _ in range(3):  # what is not committed is met again, and counted once
        one._producer.commit = refused  # type: ignore[method-assign]
        with pytest.raises(TransactionAborted):
            one.step()
        one._producer.commit = commit  # type: ignore[method-assign]
        one.restore()
    drain(one)
    assert value("vermilion_records_expired_total") == 40
    assert one.totals.consumed == end_of_log - 40


def test_a_log_that_begins_late_has_lost_nothing() -> None:
    broker = prepared(traffic(), 1)
    broker.expire(Partition(PAYLOADS.full_name(PREFIX), 0), 50)
    metrics = Metrics("fingerprint")
    one = Runtime(
        broker, FingerprintStage(), CODEC, prefix=PREFIX, instance="one", metrics=metrics, health=Health(),
        batch_wait_seconds=0.0,
    )  # fmt: skip
    drain(one)
    assert metrics.registry.get_sample_value("vermilion_records_expired_total") == 0


def test_metrics_and_readiness() -> None:
    broker = prepared(traffic(5))
    metrics, health = Metrics("fingerprint"), Health()
    one = Runtime(
        broker, FingerprintStage(), CODEC, prefix=PREFIX, instance="one", metrics=metrics, health=health
    )
    ready = [health.ready]
    join = one._consumer.poll
    one._consumer.poll = lambda limit, timeout: []  # type: ignore[method-assign]
    one.step()
    ready.append(health.ready)  # the group has not let it in yet
    one._consumer.poll = join  # type: ignore[method-assign]
    drain(one)
    assert [*ready, health.ready] == [False, False, True]
    value = metrics.registry.get_sample_value
    assert value("vermilion_events_total", {"type": "tls"}) == 5
    assert value("vermilion_records_produced_total") == 10
    assert value("vermilion_partitions_assigned") == 3
