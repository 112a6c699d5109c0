"""A batch is handled in slices: of bounded size, in order, failing as one."""

from collections.abc import Sequence

import pytest
from pipeline.test_runtime import CODEC, PREFIX, SLICE, Fragile, committed, drain, prepared, runtime, traffic

from vermilion_pipeline.runtime import StageFailed
from vermilion_pipeline.stage import Handled, Incoming
from vermilion_pipeline.topics import DEADLETTER, PAYLOADS


def test_a_batch_is_handled_in_slices_that_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SLICE, 100)
    items = traffic(20)
    sizes: list[int] = []
    seen: list[int] = []

    class Measured(Fragile):
        def _handle(self, batch: Sequence[Incoming]) -> Handled:
            sizes.append(len(batch))
            seen.extend(item.offset for item in batch)
            return Handled([], {})

    drain(runtime(prepared(items, 1), Measured(0)))
    assert max(sizes) == 100
    assert seen == list(range(len(items) + 1))


def test_dead_letters_are_in_the_order_of_their_records() -> None:
    items = traffic(3)
    broker = prepared([], 1)
    producer, encode = broker.producer(), CODEC.encoder(PAYLOADS)
    for value in (encode({**items[0].record, "src_ip": b"123"}), b"not Avro", encode(items[0].record)):
        producer.produce(PAYLOADS.full_name(PREFIX), b"key", value, (), 0)
    producer.close()
    drain(runtime(broker))
    letters = [dict(letter.headers) for letter in committed(broker, DEADLETTER)]
    assert [letter["vermilion_origin_offset"] for letter in letters] == [b"1", b"2"]
    assert [letter["vermilion_error_class"] for letter in letters] == [b"InvalidRecord", b"DecodeError"]


def test_a_stage_that_fails_in_two_slices_fails_one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SLICE, 100)
    items = traffic(20)
    bad = next(number for number, item in enumerate(items) if item.record["src_port"] == 30005)
    assert max(n for n, item in enumerate(items) if item.record["src_port"] == 30005) // 100 > bad // 100
    one = runtime(prepared(items, 1), Fragile(30005))
    failures = 0
    while one.totals.consumed <= len(items):
        try:
            one.step()
        except StageFailed:
            failures += 1
            one.restore()
    assert failures == 1
