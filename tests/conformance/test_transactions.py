import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from conformance.support import Notes, Tuning, join, read, read_all, send, until

from vermilion_pipeline.ports import (
    Broker,
    BrokerError,
    Committed,
    Fenced,
    Partition,
    ProducerLost,
    TransactionAborted,
    TransactionalProducer,
)

Names = Callable[[str], str]


@pytest.fixture
def topic(broker: Broker, unique: Names) -> str:
    name = unique("transactions")
    broker.create([name], 1, None)
    return name


@pytest.fixture
def producer(broker: Broker, unique: Names, closing: ExitStack) -> TransactionalProducer:
    made = broker.transactional(unique("producer"))
    closing.callback(made.close)
    return made


def write(producer: TransactionalProducer, topic: str, *values: bytes) -> None:
    for value in values:
        producer.produce(topic, b"key", value)


def test_aborted_records_are_hidden(broker: Broker, topic: str, producer: TransactionalProducer) -> None:
    for value, commit in ((b"a", True), (b"b", False), (b"c", True), (b"d", False)):
        producer.begin()
        write(producer, topic, value + b"1", value + b"2")
        if commit:
            producer.commit()
        else:
            producer.abort()
    assert [message.value for message in read_all(broker, topic)] == [b"a1", b"a2", b"c1", b"c2"]


def test_offsets_are_not_contiguous(broker: Broker, topic: str, producer: TransactionalProducer) -> None:
    for _ in range(3):
        producer.begin()
        write(producer, topic, b"1", b"2")
        producer.commit()
    producer.begin()
    write(producer, topic, b"aborted")
    producer.abort()
    send(broker, topic, [(b"key", b"plain")])
    assert [message.offset for message in read_all(broker, topic)] == [0, 1, 3, 4, 6, 7, 11]


def test_an_open_transaction_hides_itself_and_what_is_behind_it(
    broker: Broker, topic: str, producer: TransactionalProducer, closing: ExitStack
) -> None:
    reader = broker.reader([topic], beginning=True)
    closing.callback(reader.close)
    send(broker, topic, [(None, b"before")])
    producer.begin()
    write(producer, topic, b"open")
    until(lambda: any(reader.lag().values()), lambda: reader.poll(1, 0.1), "the open record's delivery")
    send(broker, topic, [(None, b"behind")])
    again = broker.reader([topic], beginning=True)
    closing.callback(again.close)
    assert [message.value for message in read(again, 1)] == [b"before"]
    until(lambda: again.lag()[Partition(topic, 0)] >= 2, lambda: again.poll(1, 0.1), "what is behind")
    assert again.poll(10, 0.5) == []
    producer.commit()
    assert [message.value for message in read(again, 2)] == [b"open", b"behind"]


def test_aborts_hard_on_the_heels_of_commits(
    broker: Broker, unique: Names, producer: TransactionalProducer
) -> None:
    """Kafka's coordinator still completes a wide commit when the next transaction is aborted."""
    topic = unique("heels")
    broker.create([topic], 50, None)
    for n in range(30):
        producer.begin()
        for key in range(100):
            producer.produce(topic, b"%d" % key, b"committed")
        producer.commit()
        producer.begin()
        producer.produce(topic, b"key", b"aborted")
        # While the client announces the partition, and the coordinator puts it off.
        time.sleep((2 + n % 4) / 1000)
        producer.abort()
    assert [message.value for message in read_all(broker, topic)] == [b"committed"] * 3000


def test_a_transaction_spans_topics_and_partitions(
    broker: Broker, unique: Names, producer: TransactionalProducer
) -> None:
    topics = [unique("several"), unique("several")]
    broker.create(topics, 3, None)
    for commit in (False, True):
        producer.begin()
        for name in topics:
            for n in range(30):
                producer.produce(name, b"%d" % n, b"committed" if commit else b"aborted")
        if commit:
            producer.commit()
        else:
            producer.abort()
    for name in topics:
        assert [message.value for message in read_all(broker, name)] == [b"committed"] * 30


def test_calls_out_of_place_are_refused(topic: str, producer: TransactionalProducer) -> None:
    for call in (producer.commit, producer.abort, lambda: write(producer, topic, b"")):
        with pytest.raises(BrokerError, match="no transaction is open"):
            call()
    producer.begin()
    with pytest.raises(BrokerError, match="open already"):
        producer.begin()
    producer.commit()
    producer.begin()
    producer.abort()


def test_offsets_are_committed_with_the_transaction_and_come_back_with_metadata(
    broker: Broker, topic: str, producer: TransactionalProducer, unique: Names, closing: ExitStack
) -> None:
    partition, group = Partition(topic, 0), unique("group")
    send(broker, topic, [(None, b"%d" % n) for n in range(10)])
    notes = Notes()
    consumer = broker.consumer([topic], group, notes)
    closing.callback(consumer.close)
    found = join(consumer, notes, 1)
    assert notes.committed == {partition: None}
    assert len(found + read(consumer, 10 - len(found))) == 10

    producer.begin()
    producer.send_offsets({partition: Committed(4, "four")}, consumer)
    producer.abort()
    assert consumer.committed([partition]) == {partition: None}
    producer.begin()
    producer.send_offsets({partition: Committed(5, "five")}, consumer)
    producer.send_offsets({partition: Committed(6, "sechs é")}, consumer)
    producer.commit()
    assert consumer.committed([partition]) == {partition: Committed(6, "sechs é")}
    assert consumer.committed([]) == {}
    consumer.close()
    assert notes.given_up == [partition]

    resumed = Notes()
    successor = broker.consumer([topic], group, resumed)
    closing.callback(successor.close)
    found = join(successor, resumed, 1)
    assert resumed.committed == {partition: Committed(6, "sechs é")}
    found += read(successor, 4 - len(found))
    assert [message.value for message in found] == [b"6", b"7", b"8", b"9"]


def test_the_owner_chooses_where_to_read_from(
    broker: Broker, topic: str, unique: Names, closing: ExitStack
) -> None:
    send(broker, topic, [(None, b"%d" % n) for n in range(10)])
    notes = Notes(answer={Partition(topic, 0): 8})
    consumer = broker.consumer([topic], unique("group"), notes)
    closing.callback(consumer.close)
    found = join(consumer, notes, 1)
    found += read(consumer, 2 - len(found))
    assert [message.value for message in found] == [b"8", b"9"]


def test_commit_metadata_has_a_limit(
    broker: Broker, topic: str, producer: TransactionalProducer, unique: Names, closing: ExitStack
) -> None:
    partition, notes = Partition(topic, 0), Notes()
    consumer = broker.consumer([topic], unique("group"), notes)
    closing.callback(consumer.close)
    join(consumer, notes, 1)
    longest = Committed(1, "x" * 4095)
    producer.begin()
    producer.send_offsets({partition: longest}, consumer)
    producer.commit()
    assert consumer.committed([partition]) == {partition: longest}
    producer.begin()
    write(producer, topic, b"with too much")
    with pytest.raises(TransactionAborted):
        producer.send_offsets({partition: Committed(2, "x" * 4096)}, consumer)
    with pytest.raises(TransactionAborted):
        producer.commit()
    producer.abort()
    assert consumer.committed([partition]) == {partition: longest}
    producer.begin()
    write(producer, topic, b"fine again")
    producer.send_offsets({partition: Committed(3, "")}, consumer)
    producer.commit()
    assert consumer.committed([partition]) == {partition: Committed(3, "")}
    assert [message.value for message in read_all(broker, topic)] == [b"fine again"]


def test_after_an_abort_a_seek_delivers_again(
    broker: Broker, topic: str, producer: TransactionalProducer, unique: Names, closing: ExitStack
) -> None:
    source = unique("source")
    broker.create([source], 1, None)
    send(broker, source, [(None, b"%d" % n) for n in range(50)])
    partition, notes = Partition(source, 0), Notes()
    consumer = broker.consumer([source], unique("group"), notes)
    closing.callback(consumer.close)
    found = join(consumer, notes, 1)
    found += read(consumer, 50 - len(found))
    producer.begin()
    producer.send_offsets({partition: Committed(20)}, consumer)
    producer.commit()
    producer.begin()
    write(producer, topic, *(message.value or b"" for message in found[20:]))
    producer.send_offsets({partition: Committed(50)}, consumer)
    producer.abort()
    committed = consumer.committed([partition])[partition]
    assert committed == Committed(20)
    consumer.seek(partition, committed.offset)
    assert [message.value for message in read(consumer, 30)] == [b"%d" % n for n in range(20, 50)]
    with pytest.raises(BrokerError, match="not assigned"):
        consumer.seek(Partition(source, 1), 0)


def test_a_newer_producer_fences_an_older_one(
    broker: Broker, topic: str, unique: Names, closing: ExitStack
) -> None:
    name, notes, partition = unique("producer"), Notes(), Partition(topic, 0)
    consumer = broker.consumer([topic], unique("group"), notes)
    closing.callback(consumer.close)
    join(consumer, notes, 1)
    zombie = broker.transactional(name)
    closing.callback(zombie.close)
    zombie.begin()
    write(zombie, topic, b"zombie")
    zombie.send_offsets({partition: Committed(77)}, consumer)
    newer = broker.transactional(name)
    closing.callback(newer.close)
    # Its open transaction is aborted at once: nobody waits for its time-out.
    assert consumer.committed([partition]) == {partition: None}
    newer.begin()
    write(newer, topic, b"newer")
    with pytest.raises(Fenced):
        zombie.commit()
    with pytest.raises(Fenced):
        zombie.abort()
    newer.commit()
    with pytest.raises(Fenced):
        zombie.begin()
    assert [message.value for message in read_all(broker, topic)] == [b"newer"]


def test_an_idle_zombie_is_fenced_too(broker: Broker, topic: str, unique: Names, closing: ExitStack) -> None:
    name = unique("producer")
    zombie = broker.transactional(name)
    closing.callback(zombie.close)
    closing.callback(broker.transactional(name).close)
    with pytest.raises(Fenced):  # Kafka's client learns of it with the first record
        zombie.begin()
        write(zombie, topic, b"zombie")
        zombie.commit()
    assert read_all(broker, topic) == []


def test_a_successor_takes_up_the_id(broker: Broker, topic: str, unique: Names) -> None:
    name = unique("producer")
    for value in (b"1", b"2", b"3"):
        producer = broker.transactional(name)
        producer.begin()
        write(producer, topic, value)
        producer.commit()
        producer.begin()
        write(producer, topic, b"left open")
        producer.close()
    assert [message.value for message in read_all(broker, topic)] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("tuning", [Tuning(transaction_timeout=1.0)])
def test_a_transaction_open_for_too_long_is_aborted_and_its_producer_lost(
    broker: Broker, topic: str, unique: Names, closing: ExitStack
) -> None:
    name = unique("producer")
    slow = broker.transactional(name)
    closing.callback(slow.close)
    reader = broker.reader([topic], beginning=True)
    closing.callback(reader.close)
    slow.begin()
    write(slow, topic, b"slow")
    until(lambda: any(reader.lag().values()), lambda: reader.poll(1, 0.1), "the record's delivery")
    send(broker, topic, [(None, b"behind")])
    assert [message.value for message in read(reader, 1)] == [b"behind"]
    with pytest.raises(ProducerLost):
        slow.commit()
    with pytest.raises(ProducerLost):
        slow.abort()
    successor = broker.transactional(name)
    closing.callback(successor.close)
    successor.begin()
    write(successor, topic, b"successor")
    successor.commit()
    assert [message.value for message in read_all(broker, topic)] == [b"behind", b"successor"]
