import itertools
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from conformance.support import PATIENCE, Tuning, read, read_all, send, until

from vermilion_pipeline.ports import Broker, Headers, Partition, QueueFull

Names = Callable[[str], str]

HEADERS: Headers = (("ce_id", b"1"), ("ce_id", b"2"), ("empty", b""), ("bytes", bytes(range(256))))


def test_what_is_sent_is_what_is_read(broker: Broker, unique: Names, closing: ExitStack) -> None:
    topic = unique("records")
    broker.create([topic], 1, None)
    keys = (None, b"", b"key\x00\xff")
    values = (None, b"", bytes(range(256)) * 100)
    sent = list(itertools.product(keys, values, ((), HEADERS)))
    before = time.time()
    producer = broker.producer()
    for key, value, headers in sent:
        producer.produce(topic, key, value, headers)
    producer.close()
    after = time.time()
    reader = broker.reader([topic], beginning=True)
    closing.callback(reader.close)
    found = read(reader, len(sent))
    assert [message[:5] for message in found] == [
        (Partition(topic, 0), offset, *what) for offset, what in enumerate(sent)
    ]
    assert all(isinstance(message.headers, tuple) for message in found)
    assert all(int(before * 1000) <= message.timestamp_ms <= after * 1000 for message in found)


def test_headers_pass_through_a_transaction(broker: Broker, unique: Names, closing: ExitStack) -> None:
    topic = unique("headers")
    broker.create([topic], 1, None)
    producer = broker.transactional(unique("producer"))
    closing.callback(producer.close)
    producer.begin()
    producer.produce(topic, None, None, HEADERS)
    producer.commit()
    (message,) = read_all(broker, topic)
    assert (message.key, message.value, message.headers) == (None, None, HEADERS)


def test_a_reader_from_now_sees_what_comes_and_not_what_was(
    broker: Broker, unique: Names, closing: ExitStack
) -> None:
    topic = unique("now")
    broker.create([topic], 3, None)
    send(broker, topic, [(b"%d" % n, b"before") for n in range(20)])
    now = broker.reader([topic], beginning=False)
    closing.callback(now.close)
    send(broker, topic, [(b"%d" % n, b"after") for n in range(20)])
    assert {message.value for message in read(now, 20)} == {b"after"}
    beginning = broker.reader([topic], beginning=True)
    closing.callback(beginning.close)
    assert (
        sorted(str(message.value) for message in read(beginning, 40))
        == ["b'after'"] * 20 + ["b'before'"] * 20
    )


def test_a_reader_seeks(broker: Broker, unique: Names, closing: ExitStack) -> None:
    topic = unique("seek")
    broker.create([topic], 1, None)
    send(broker, topic, [(None, b"%d" % n) for n in range(10)])
    reader = broker.reader([topic], beginning=True)
    closing.callback(reader.close)
    read(reader, 10)
    reader.seek(Partition(topic, 0), 7)
    assert [message.value for message in read(reader, 3)] == [b"7", b"8", b"9"]


def test_poll_takes_no_more_than_its_limit_and_loses_nothing(
    broker: Broker, unique: Names, closing: ExitStack
) -> None:
    topic = unique("limit")
    broker.create([topic], 2, None)
    send(broker, topic, [(None, b"%d" % n) for n in range(100)])
    reader = broker.reader([topic], beginning=True)
    closing.callback(reader.close)
    polls: list[list[bytes | None]] = []
    until(
        lambda: sum(map(len, polls)) >= 100,
        lambda: polls.append([message.value for message in reader.poll(7, 0.2)]),
        "100 records",
    )
    assert max(map(len, polls)) == 7
    assert sorted(int(value or b"") for poll in polls for value in poll) == list(range(100))


def test_poll_returns_with_the_first_records_and_does_not_wait_for_more(
    broker: Broker, unique: Names, closing: ExitStack
) -> None:
    topic = unique("prompt")
    broker.create([topic], 1, None)
    send(broker, topic, [(None, b"only")])
    reader = broker.reader([topic], beginning=True)
    closing.callback(reader.close)
    started = time.monotonic()
    assert len(reader.poll(1000, PATIENCE)) == 1
    assert time.monotonic() - started < PATIENCE / 2


def test_lag_counts_down_to_zero_over_control_records(
    broker: Broker, unique: Names, closing: ExitStack
) -> None:
    topic = unique("lag")
    broker.create([topic], 1, None)
    producer = broker.transactional(unique("producer"))
    closing.callback(producer.close)
    for commit in (True, False):
        producer.begin()
        for n in range(10):
            producer.produce(topic, None, b"%d" % n)
        if commit:
            producer.commit()
        else:
            producer.abort()
    reader = broker.reader([topic], beginning=True)
    closing.callback(reader.close)
    until(lambda: len(reader.poll(1, 0.2)) == 1, lambda: None, "the first record")
    assert 9 < reader.lag()[Partition(topic, 0)] <= 22
    assert len(read(reader, 9)) == 9
    until(lambda: reader.lag() == {Partition(topic, 0): 0}, lambda: reader.poll(10, 0.1), "no lag")


@pytest.mark.parametrize("tuning", [Tuning(queue_size=50, linger=3.0)])
def test_a_full_queue_says_so_and_a_flush_helps(broker: Broker, unique: Names, closing: ExitStack) -> None:
    topic = unique("pressure")
    broker.create([topic], 1, None)
    producer = broker.producer()
    closing.callback(producer.close)
    sent = 0
    with pytest.raises(QueueFull):
        for _ in range(51):
            producer.produce(topic, b"k", b"%d" % sent)
            sent += 1
    assert sent == 50
    assert producer.flush(PATIENCE) == 0
    assert producer.delivered == 50
    producer.produce(topic, b"k", b"%d" % sent)
    assert producer.flush(PATIENCE) == 0
    assert (producer.delivered, producer.failures) == (51, {})
    assert [message.value for message in read_all(broker, topic)] == [b"%d" % n for n in range(51)]


@pytest.mark.parametrize("tuning", [Tuning(queue_size=50, linger=0.0)])
def test_a_transaction_larger_than_the_queue_waits_and_goes_through(
    broker: Broker, unique: Names, closing: ExitStack
) -> None:
    topic = unique("large")
    broker.create([topic], 1, None)
    producer = broker.transactional(unique("producer"))
    closing.callback(producer.close)
    producer.begin()
    for n in range(500):
        producer.produce(topic, b"k", b"%d" % n)
    producer.commit()
    assert [message.value for message in read_all(broker, topic)] == [b"%d" % n for n in range(500)]


def test_what_cannot_be_delivered_is_counted_by_reason(
    broker: Broker, unique: Names, closing: ExitStack
) -> None:
    topic = unique("failures")
    broker.create([topic], 2, None)
    producer = broker.producer()
    closing.callback(producer.close)
    producer.produce(topic, None, b"good", partition=1)
    assert producer.flush(PATIENCE) == 0
    producer.produce(topic, None, b"bad", partition=2)
    assert producer.flush(PATIENCE) == 0
    assert producer.delivered == 1
    assert producer.failures == {"_UNKNOWN_PARTITION": 1}


def test_close_delivers_what_is_queued(broker: Broker, unique: Names) -> None:
    topic = unique("close")
    broker.create([topic], 1, None)
    producer = broker.producer()
    for n in range(100):
        producer.produce(topic, None, b"%d" % n)
    producer.close()
    assert len(read_all(broker, topic)) == 100


def test_records_arrive_without_a_flush(broker: Broker, unique: Names, closing: ExitStack) -> None:
    topic = unique("unflushed")
    broker.create([topic], 1, None)
    reader = broker.reader([topic], beginning=False)
    closing.callback(reader.close)
    producer = broker.producer()
    closing.callback(producer.close)
    producer.produce(topic, None, b"soon")
    started = time.monotonic()
    assert [message.value for message in reader.poll(1, 5.0)] == [b"soon"]
    assert time.monotonic() - started < 4


def test_ends_are_what_a_reader_of_all_that_is_committed_comes_to(
    broker: Broker, unique: Names, closing: ExitStack
) -> None:
    topic = unique("ends")
    broker.create([topic], 2, None)
    assert set(broker.ends([topic]).values()) == {0}
    send(broker, topic, [(None, b"a"), (None, b"b")], partitions=[1, 1])
    producer = broker.transactional(unique("producer"))
    closing.callback(producer.close)
    producer.begin()
    producer.produce(topic, None, b"open", partition=1)
    assert sorted(broker.ends([topic]).items()) == [(Partition(topic, 0), 0), (Partition(topic, 1), 2)]
    producer.commit()
    until(lambda: broker.ends([topic])[Partition(topic, 1)] == 4, lambda: time.sleep(0.05), "the marker")


def test_a_transaction_writes_to_the_partition_that_is_named(
    broker: Broker, unique: Names, closing: ExitStack
) -> None:
    topic = unique("named")
    broker.create([topic], 3, None)
    producer = broker.transactional(unique("producer"))
    closing.callback(producer.close)
    producer.begin()
    for number in (2, 0, 2):
        producer.produce(topic, b"the same key", b"%d" % number, (("h", b"1"),), number)
    producer.commit()
    found = read_all(broker, topic)
    assert sorted((m.partition.number, m.value, m.headers) for m in found) == [
        (0, b"0", (("h", b"1"),)),
        (2, b"2", (("h", b"1"),)),
        (2, b"2", (("h", b"1"),)),
    ]
