import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from conformance.support import Notes

from vermilion_pipeline.ports import Broker, UnknownTopic

Names = Callable[[str], str]


def test_create_makes_what_is_missing_and_nothing_twice(broker: Broker, unique: Names) -> None:
    first, second = unique("first"), unique("second")
    assert broker.create([first], 3, None) == [first]
    assert broker.create([first, second], 5, 1) == [second]
    assert broker.create([first, second], 5, None) == []
    assert broker.partitions([first, second]) == {first: 3, second: 5}


def test_several_may_create_the_same_topics_at_once(broker: Broker, unique: Names) -> None:
    names = [unique("race") for _ in range(3)]
    created: list[str] = []
    threads = [
        threading.Thread(target=lambda: created.extend(broker.create(names, 2, None))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(created) == sorted(names)
    assert broker.partitions(names) == dict.fromkeys(names, 2)


def test_topics_lists_what_is_not_internal(broker: Broker, unique: Names, closing: ExitStack) -> None:
    name = unique("listed")
    broker.create([name], 2, None)
    # On Kafka a group brings the internal topics about.
    notes = Notes()
    consumer = broker.consumer([name], unique("group"), notes)
    closing.callback(consumer.close)
    while not notes.held:
        consumer.poll(1, 0.2)
    assert broker.topics()[name] == 2
    assert not [topic for topic in broker.topics() if topic.startswith("__")]


@pytest.mark.parametrize("use", ["partitions", "consumer", "reader", "produce", "transaction"])
def test_an_unknown_topic_is_named_with_the_remedy(
    broker: Broker, unique: Names, closing: ExitStack, use: str
) -> None:
    name = unique("unknown")

    def transaction() -> None:
        producer = broker.transactional(unique("producer"))
        closing.callback(producer.close)
        producer.begin()
        producer.produce(name, b"key", b"value")

    def produce() -> None:
        producer = broker.producer()
        closing.callback(producer.close)
        producer.produce(name, b"key", b"value")

    uses: dict[str, Callable[[], object]] = {
        "partitions": lambda: broker.partitions([name]),
        "consumer": lambda: broker.consumer([name], unique("group"), Notes()),
        "reader": lambda: broker.reader([name], beginning=True),
        "produce": produce,
        "transaction": transaction,
    }
    with pytest.raises(UnknownTopic, match="vermilion topics create") as caught:
        uses[use]()
    assert name in str(caught.value)


def test_a_topic_is_usable_once_it_has_been_created(
    broker: Broker, unique: Names, closing: ExitStack
) -> None:
    name = unique("late")
    producer = broker.producer()
    closing.callback(producer.close)
    with pytest.raises(UnknownTopic):
        producer.produce(name, None, b"1")
    broker.create([name], 1, None)
    producer.produce(name, None, b"2")
    assert producer.flush(10) == 0
    assert producer.delivered == 1
