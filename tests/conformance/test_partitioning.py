from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from conformance.support import read, send

from vermilion_pipeline.memory.murmur2 import murmur2, partition_of
from vermilion_pipeline.ports import Broker

Names = Callable[[str], str]


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_the_java_clients(key: bytes, signed: int) -> None:
    """The vectors of Kafka's own ``UtilsTest``."""
    assert murmur2(key) == signed & 0xFFFFFFFF
    assert partition_of(key, 7) == (signed & 0x7FFFFFFF) % 7


def test_a_key_goes_to_the_partition_that_java_clients_choose(
    broker: Broker, unique: Names, closing: ExitStack
) -> None:
    topic = unique("keys")
    broker.create([topic], 7, None)
    keys = [b"", b"\x00", "schlüssel".encode(), *(b"1:flow%d=" % number for number in range(200))]
    send(broker, topic, [(key, b"") for key in keys])
    transactional = broker.transactional(unique("producer"))
    closing.callback(transactional.close)
    transactional.begin()
    for key in keys:
        transactional.produce(topic, key, b"")
    transactional.commit()
    reader = broker.reader([topic], beginning=True)
    closing.callback(reader.close)
    found = read(reader, 2 * len(keys))
    wrong = [m for m in found if m.key is None or m.partition.number != partition_of(m.key, 7)]
    assert not wrong
    assert len({message.partition.number for message in found}) == 7


def test_no_key_goes_anywhere_and_a_given_partition_wins(
    broker: Broker, unique: Names, closing: ExitStack
) -> None:
    topic = unique("placed")
    broker.create([topic], 3, None)
    send(broker, topic, [(None, b"anywhere")] * 20)
    send(broker, topic, [(b"key", b"placed")] * 3, partitions=(0, 1, 2))
    reader = broker.reader([topic], beginning=True)
    closing.callback(reader.close)
    found = read(reader, 23)
    assert sorted(m.partition.number for m in found if m.value == b"placed") == [0, 1, 2]
    assert sum(m.key is None for m in found) == 20


def test_order_is_kept_per_key(broker: Broker, unique: Names, closing: ExitStack) -> None:
    topic = unique("order")
    broker.create([topic], 4, None)
    send(broker, topic, [(b"key%d" % (n % 13), b"%d" % n) for n in range(1000)])
    reader = broker.reader([topic], beginning=True)
    closing.callback(reader.close)
    by_key = defaultdict(list)
    offsets = defaultdict(list)
    for message in read(reader, 1000):
        by_key[message.key].append(int(message.value or b""))
        offsets[message.partition].append(message.offset)
    assert {key: sorted(values) for key, values in by_key.items()} == by_key
    assert {partition: sorted(set(found)) for partition, found in offsets.items()} == offsets
