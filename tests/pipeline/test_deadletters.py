"""Dead letters go back once, whole and in order; what cannot go back is told and left."""

from typing import Any

import pytest
from pipeline.faults import Crash, Faults, FaultyBroker
from pipeline.test_runtime import PREFIX, committed, drain, prepared, runtime, traffic

from vermilion_pipeline import headers
from vermilion_pipeline.deadletters import put_back
from vermilion_pipeline.memory import MemoryBroker
from vermilion_pipeline.ports import BrokerError, Headers, Message, Partition
from vermilion_pipeline.topics import DEADLETTER, FINGERPRINTS, PAYLOADS

SOURCE = PAYLOADS.full_name(PREFIX)


def with_letters(count: int = 7) -> MemoryBroker:
    """A broker on which ``count`` records that are no Avro have become dead letters."""
    broker = prepared(traffic(8), 3, *(b"poison %d" % number for number in range(count)))
    one = runtime(broker)
    drain(one)
    one._consumer.close()  # leaves its partitions to the next
    assert len(committed(broker, DEADLETTER)) == count
    return broker


def poisoned(broker: MemoryBroker) -> list[Message]:
    return [m for m in committed(broker, PAYLOADS) if m.key == b"poison"]


def test_a_letter_goes_back_as_it_was_and_once() -> None:
    broker = with_letters()
    before = poisoned(broker)
    report = put_back(broker, PREFIX, None, pytest.fail)
    assert (report.put_back, report.left) == ({SOURCE: 7}, 0)
    after = poisoned(broker)
    assert after[:7] == before
    for old, new in zip(before, after[7:], strict=True):
        assert (new.partition, new.key, new.value, new.headers) == (
            old.partition,
            b"poison",
            old.value,
            (("origin", b"kept"),),
        )
    assert put_back(broker, PREFIX, None, pytest.fail).put_back.total() == 0


def test_a_limit_and_the_rest() -> None:
    broker = with_letters()
    assert [put_back(broker, PREFIX, limit, pytest.fail).put_back.total() for limit in (3, 1, None)] == [
        3,
        1,
        3,
    ]
    values = [message.value for message in poisoned(broker)]
    assert values[7:] == values[:7]


def test_a_letter_that_dies_again_waits_for_the_next_replay() -> None:
    broker = with_letters(2)
    assert put_back(broker, PREFIX, None, pytest.fail).put_back.total() == 2
    drain(runtime(broker))
    letters = committed(broker, DEADLETTER)
    assert len(letters) == 4
    # Its headers are not heaped up: a letter of a letter reads like the first.
    assert {tuple(name for name, _ in letter.headers) for letter in letters} == {
        tuple(name for name, _ in letters[0].headers)
    }
    assert put_back(broker, PREFIX, None, pytest.fail).put_back.total() == 2


@pytest.mark.parametrize("seed", range(6))
def test_nothing_goes_back_twice_or_is_skipped_when_it_fails_on_the_way(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vermilion_pipeline.deadletters._BATCH", 2)
    broker = with_letters(15)
    faults = Faults(seed, rate=0.2)
    for _ in range(100):
        try:
            report = put_back(FaultyBroker(broker, faults), PREFIX, None, pytest.fail)
        except (BrokerError, Crash):
            continue
        break
    else:
        pytest.fail("never ended")
    assert report is not None
    assert faults.happened
    values = [message.value for message in poisoned(broker)]
    assert len(values) == 30
    assert values[15:] == values[:15]


OWN = headers.dead_letter(
    Message(Partition(SOURCE, 0), 5, b"k", b"v", (("mine", b"1"),), 0), "classify", ValueError("no")
).headers


def changed(**values: bytes) -> Headers:
    return tuple((name, values.get(name, value)) for name, value in OWN)


@pytest.mark.parametrize(
    ("head", "why"),
    [
        ((), "do not say where it came from"),
        (OWN[:-1], "do not say where it came from"),
        (changed(vermilion_origin_partition=b"-1"), "do not say where it came from"),
        (changed(vermilion_origin_topic=b"bank.transfers"), "'bank.transfers', from which no stage reads"),
        (changed(vermilion_origin_topic=DEADLETTER.full_name(PREFIX).encode()), "no stage reads"),
        (changed(vermilion_origin_topic=b"\xff\x1b[2J"), r"'\ufffd\x1b[2J'"),
        (changed(vermilion_origin_partition=b"3"), "partition 3 of test.payloads, which has 3"),
        ((OWN[0], ("vermilion_value_size", b"999999"), *OWN[1:]), "is cut"),
    ],
)
def test_what_cannot_go_back_is_told_and_left(head: Headers, why: str) -> None:
    broker = with_letters(1)
    producer = broker.producer()
    producer.produce(DEADLETTER.full_name(PREFIX), b"k", b"v", head, 0)
    producer.close()
    lines: list[str] = []
    report = put_back(broker, PREFIX, None, lines.append)
    assert (report.put_back.total(), report.left) == (1, 1)
    (line,) = lines
    assert why in line
    assert "test.deadletter[0] offset" in line
    assert len(poisoned(broker)) == 2
    # It was passed over: the next replay does not tell it again.
    again: Any = put_back(broker, PREFIX, None, pytest.fail)
    assert (again.put_back.total(), again.left) == (0, 0)


def test_the_original_of_any_letter_is_found() -> None:
    for own in ((), (("ce_id", b"1"), ("a", b"")), OWN):
        message = Message(Partition(FINGERPRINTS.full_name(PREFIX), 2), 9, None, b"x", own, 0)
        letter = headers.dead_letter(message, "classify", RuntimeError("é" * 3000))
        found = headers.origin(message._replace(**letter._asdict()))
        assert found == headers.Origin(message.partition, own, True)


MANY = tuple((str(n), b"x" * 1000) for n in range(200))


@pytest.mark.parametrize(
    ("large", "kept"),
    [
        ({"value": b"x" * 600_000}, (("mine", b"1"),)),
        ({"key": b"k" * 999_000}, (("mine", b"1"),)),
        ({"headers": (("mine", b"1"), ("large", b"x" * 999_000), ("more", b"2"))}, (("mine", b"1"),)),
        ({"headers": (("n" * 999_000, b""),)}, ()),
        ({"value": b"x" * 600_000, "key": b"k" * 100_000, "headers": MANY}, MANY[:129]),
        # On the wire each takes two bytes, so that a million bytes hold half a million of them.
        ({"headers": (("", b""),) * 500_000}, (("", b""),) * 13_107),
    ],
)
def test_what_is_too_large_for_a_letter_is_cut_and_told(large: dict[str, Any], kept: Headers) -> None:
    message = Message(Partition(SOURCE, 2), 9, b"key", b"value", (("mine", b"1"),), 0)._replace(**large)
    letter = headers.dead_letter(message, "classify", RuntimeError("é" * 3000))
    own = sum(len(name) + len(text) + 10 for name, text in letter.headers)
    assert len(letter.key or b"") + len(letter.value or b"") + own < 900_000
    found = headers.origin(message._replace(**letter._asdict()))
    assert found == headers.Origin(message.partition, kept, False)
    told = dict(letter.headers)
    for part, values in large.items():
        size = sum(len(n) + len(v) + 10 for n, v in values) if part == "headers" else len(values)
        assert told[f"vermilion_{part}_size"] == str(size).encode()
