"""What retention deletes before it is read is told, and the reader goes on with what is left."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from conformance.support import Notes, read, send, until

from vermilion_pipeline.memory import MemoryBroker
from vermilion_pipeline.ports import Broker, LogReplaced, Partition

Names = Callable[[str], str]
Expire = Callable[[Partition, int], None]


@pytest.fixture
def expire(broker: Broker, request: pytest.FixtureRequest) -> Expire:
    """Deletes what lies before an offset."""
    if isinstance(broker, MemoryBroker):
        return broker.expire
    admin = AdminClient({"bootstrap.servers": request.getfixturevalue("kafka_bootstrap")})

    def delete(partition: Partition, before: int) -> None:
        for answer in admin.delete_records([TopicPartition(*partition, before)]).values():
            answer.result(30)

    return delete


def test_a_member_that_is_overtaken(
    broker: Broker, unique: Names, closing: ExitStack, expire: Expire
) -> None:
    topic = unique("overtaken")
    broker.create([topic], 1, None)
    send(broker, topic, [(b"", b"%d" % n) for n in range(50)])
    consumer = broker.consumer([topic], unique("group"), Notes(answer={Partition(topic, 0): 10}))
    closing.callback(consumer.close)
    assert read(consumer, 40)[0].offset == 10
    send(broker, topic, [(b"", b"%d" % n) for n in range(50, 100)])
    expire(Partition(topic, 0), 80)
    # It stood at 50, or had read ahead already; either way all that is left comes, and once.
    consumer.seek(Partition(topic, 0), 50)
    assert [message.offset for message in read(consumer, 20)] == list(range(80, 100))
    assert consumer.take_expired() == {Partition(topic, 0): 30}
    assert consumer.take_expired() == {}


def test_whoever_begins_has_lost_nothing(
    broker: Broker, unique: Names, closing: ExitStack, expire: Expire
) -> None:
    topic = unique("begins")
    broker.create([topic], 1, None)
    send(broker, topic, [(b"", b"%d" % n) for n in range(50)])
    expire(Partition(topic, 0), 20)
    reader = broker.reader([topic], beginning=True)
    consumer = broker.consumer([topic], unique("group"), Notes())
    for one in (reader, consumer):
        closing.callback(one.close)
        assert [message.offset for message in read(one, 30)] == list(range(20, 50))
        assert one.take_expired() == {}


def test_a_member_that_comes_back_too_late(
    broker: Broker, unique: Names, closing: ExitStack, expire: Expire
) -> None:
    topic = unique("late")
    broker.create([topic], 1, None)
    send(broker, topic, [(b"", b"%d" % n) for n in range(50)])
    expire(Partition(topic, 0), 50)
    consumer = broker.consumer([topic], unique("group"), Notes(answer={Partition(topic, 0): 7}))
    closing.callback(consumer.close)
    expired: dict[Partition, int] = {}

    def look() -> None:
        assert consumer.poll(10, 0.1) == []
        expired.update(consumer.take_expired())

    until(lambda: bool(expired), look, "what is gone to be told")
    assert expired == {Partition(topic, 0): 43}
    send(broker, topic, [(b"", b"new")])
    assert [message.offset for message in read(consumer, 1)] == [50]


def test_a_log_that_ends_before_what_is_committed_is_another(
    broker: Broker, unique: Names, closing: ExitStack
) -> None:
    topic = unique("replaced")
    broker.create([topic], 1, None)
    send(broker, topic, [(b"", b"%d" % n) for n in range(50)])
    consumer = broker.consumer([topic], unique("group"), Notes(answer={Partition(topic, 0): 70}))
    closing.callback(consumer.close)
    with pytest.raises(LogReplaced, match=rf"{topic}\[0\] ends at 50, before 70"):
        until(lambda: False, lambda: consumer.poll(10, 0.1), "the error")
