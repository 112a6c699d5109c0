"""What a sensor saw and lost is told in intervals, and a live one is never kept waiting."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from fingerprint.hellos import RECORDING

from vermilion_capture.capturefile import CaptureError
from vermilion_capture.heartbeats import EVERY, Heartbeats, Tally
from vermilion_capture.items import Item
from vermilion_capture.metrics import CaptureMetrics, Numbers
from vermilion_capture.publish import Publisher
from vermilion_capture.source import FileSource, time_mark
from vermilion_pipeline.codec import Codec
from vermilion_pipeline.kafka import settings as kafka
from vermilion_pipeline.kafka.producer import KafkaProducer
from vermilion_pipeline.memory import MemoryBroker
from vermilion_pipeline.memory.producer import MemoryProducer
from vermilion_pipeline.ports import Broker
from vermilion_pipeline.topics import PAYLOADS, SENSORS, TOPICS, Topic

PREFIX = "test."
SECOND = 1_000_000


class Fake:
    """A live source: one record each second of packet time, and the counts that a test gives it."""

    def __init__(
        self, seconds: int, *, replayed: bool = False, act: Callable[["Fake"], None] | None = None
    ) -> None:
        self.sensor, self.run, self.replayed = "sensor", "run", replayed
        self.unfinished = False
        self.counts: Counter[str] = Counter()
        self.drops: dict[str, int] = {}
        self.newest = self.blind = 0
        self._seconds, self._act = seconds, act

    def __iter__(self) -> Iterator[Item]:
        for second in range(1, self._seconds + 1):
            self.newest = second * SECOND
            self.counts["packets"] += 1
            if self._act:
                self._act(self)
            segment = time_mark("SEGMENT", self.sensor, self.run, self.newest, replayed=self.replayed)
            yield Item(b"key", segment)
        yield Item(None, time_mark("END_OF_RUN", self.sensor, self.run, self.newest, replayed=self.replayed))


def broker(**more: Any) -> MemoryBroker:
    made = MemoryBroker(**more)
    made.create([topic.full_name(PREFIX) for topic in TOPICS], 2, None)
    return made


class Asked(MemoryBroker):
    """Keeps what its producers were to know, and whether they are patient."""

    def producer(self, known: Sequence[str] = (), *, patient: bool = False) -> MemoryProducer:
        self.asked = [*getattr(self, "asked", ()), (known, patient)]
        return super().producer(known, patient=patient)


def test_a_live_source_waits_for_no_topic_and_its_heartbeats_outlast_an_outage() -> None:
    made = Asked()
    topics = tuple(topic.full_name(PREFIX) for topic in (PAYLOADS, SENSORS))
    made.create(topics, 2, None)
    Publisher(made, Codec(), PREFIX)
    assert made.asked == [(topics, False), (topics, True)]


def test_where_kafka_is_away_a_record_of_a_known_topic_is_queued_at_once() -> None:
    def asks(names: Sequence[str]) -> None:
        raise AssertionError(f"asked for {names}")

    config = kafka.producer({"bootstrap.servers": "127.0.0.1:1"}, patient=True)
    assert config["message.timeout.ms"] == 0
    producer = KafkaProducer(config, asks, ["known"])
    began = time.monotonic()
    producer.produce("known", b"key", b"value")
    assert time.monotonic() - began < 5  # and not the ten seconds of a question to the broker
    assert producer.flush(0) == 1
    # A user's own wins, by either name.
    assert kafka.producer({"delivery.timeout.ms": "5"}, patient=True)["message.timeout.ms"] == "5"


def records(source: Broker, topic: Topic) -> list[Any]:
    reader, decode = source.reader([topic.full_name(PREFIX)], beginning=True), Codec().decoder(topic)
    try:
        return [decode(message.value) for message in reader.poll(10_000, 0.2)]
    finally:
        reader.close()


def lost(publisher: Publisher) -> dict[str, int]:
    """Drops by cause, as the exit and /metrics tell them: they must agree."""
    drops = {cause: count for cause, count in publisher.total().drops().items() if count}
    page = CaptureMetrics(lambda: Numbers(publisher.total())).registry
    shown = {
        sample.labels["cause"]: int(sample.value)
        for family in page.collect()
        for sample in family.samples
        if sample.name == "vermilion_capture_drops_total"
    }
    assert shown.keys() == {"kernel", "interface", "queue", "too_big", "undelivered"}
    assert {cause: count for cause, count in shown.items() if count} == drops
    return drops


def test_a_file_has_heartbeats_that_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vermilion_capture.heartbeats.EVERY", SECOND)
    kafka, source = broker(), FileSource(RECORDING, "here")
    publisher = Publisher(kafka, Codec(), PREFIX)
    publisher.publish(source)
    publisher.close()
    beats = records(kafka, SENSORS)
    assert len(beats) > 2
    assert {(beat["sensor"], beat["run"], beat["replayed"]) for beat in beats} == {("here", source.run, True)}
    assert [beat["last"] for beat in beats] == [False] * (len(beats) - 1) + [True]
    assert sum(beat["packets"] for beat in beats) == source.counts["packets"]
    segments = sum(record["kind"] == "SEGMENT" for record in records(kafka, PAYLOADS))
    assert sum(beat["published"] for beat in beats) == source.counts["kept"] == segments
    assert lost(publisher) == {}
    # The intervals follow each other without a hole.
    for before, after in itertools.pairwise(beats):
        assert after["time"] - after["interval"] == before["time"]


def test_drops_of_the_kernel_and_the_interface_are_told_in_their_interval() -> None:
    def act(source: Fake) -> None:
        if source.newest == 15 * SECOND:
            source.drops, source.blind = {"kernel": 7, "interface": 2}, 3 * SECOND

    kafka = broker()
    publisher = Publisher(kafka, Codec(), PREFIX)
    publisher.publish(Fake(35, act=act))
    publisher.close()
    beats = records(kafka, SENSORS)
    assert [
        (
            b["time"] // SECOND,
            b["interval"] // SECOND,
            b["dropped_kernel"],
            b["dropped_interface"],
            b["blind"],
        )
        for b in beats
    ] == [
        (11, 10, 0, 0, 0),
        (21, 10, 7, 2, 3 * SECOND),
        (31, 10, 0, 0, 0),
        (35, 4, 0, 0, 0),
    ]
    assert lost(publisher) == {"kernel": 7, "interface": 2}


def test_a_live_source_is_never_kept_waiting_and_a_file_loses_nothing() -> None:
    """The queue takes five records and is never emptied in the time that the test takes."""
    kafka = broker(queue_size=5, linger=3600.0)
    publisher = Publisher(kafka, Codec(), PREFIX)
    began = time.monotonic()
    publisher.publish(Fake(50))
    assert time.monotonic() - began < 5
    publisher.close()
    payloads = records(kafka, PAYLOADS)
    assert sum(record["kind"] == "SEGMENT" for record in payloads) == 5
    assert sum(record["kind"] == "END_OF_RUN" for record in payloads) == 2
    beats = records(kafka, SENSORS)
    assert [(beat["published"], beat["dropped_queue"]) for beat in beats] == [
        (5, 6),
        (0, 10),
        (0, 10),
        (0, 10),
        (0, 9),
    ]
    assert lost(publisher) == {"queue": 45}

    patient = Publisher(kafka, Codec(), PREFIX)
    patient.publish(Fake(50, replayed=True))
    patient.close()
    assert lost(patient) == {}
    assert sum(record["kind"] == "SEGMENT" for record in records(kafka, PAYLOADS)) == 55


@pytest.mark.parametrize("error", [CaptureError("cut short"), KeyboardInterrupt()])
def test_a_run_that_breaks_has_its_last_heartbeat(error: BaseException) -> None:
    class Breaking(Fake):
        def __iter__(self) -> Iterator[Item]:
            yield from super().__iter__()
            raise error

    kafka = broker()
    publisher = Publisher(kafka, Codec(), PREFIX)
    with pytest.raises(type(error)):
        publisher.publish(Breaking(3))
    publisher.close()
    (beat,) = records(kafka, SENSORS)
    assert (beat["last"], beat["packets"], beat["published"]) == (True, 3, 3)


def test_an_interval_that_could_not_be_told_is_part_of_the_next() -> None:
    beats = Heartbeats("s", "r", Tally(packets=5), replayed=False)
    assert not beats.due(SECOND)
    assert beats.due(SECOND + EVERY)
    beats.next(SECOND + EVERY, Tally(packets=9))  # and there was no room for it
    later = beats.next(SECOND + 2 * EVERY, Tally(packets=12, dropped_queue=1))
    assert (later["packets"], later["dropped_queue"], later["interval"]) == (7, 1, 2 * EVERY)
    beats.told(SECOND + 2 * EVERY, Tally(packets=12, dropped_queue=1))
    assert beats.next(SECOND + 3 * EVERY, Tally(packets=12, dropped_queue=1))["dropped_queue"] == 0
