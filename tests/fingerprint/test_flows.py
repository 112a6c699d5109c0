"""Flows: any segmentation, order and repetition gives the event that the whole gives."""

import random
from time import perf_counter
from typing import Any

import pytest
from fingerprint.flowrecords import (
    CLIENT,
    SECOND,
    SERVER,
    START,
    end,
    events,
    fresh,
    handle,
    mark,
    numbered,
    record,
)
from fingerprint.hellos import recorded, records
from hypothesis import given, settings
from hypothesis import strategies as st

from vermilion.events import address
from vermilion_fingerprint.limits import Limits
from vermilion_fingerprint.streams import in_order
from vermilion_pipeline.stage import Incoming

SYN, FIN = 2, 1


def pieces(stream: bytes, size: int, isn: int) -> list[tuple[int, bytes]]:
    return [(isn + 1 + at, stream[at : at + size]) for at in range(0, len(stream), size)]


def shuffled(items: list[Any], window: int, seed: int) -> list[Any]:
    """Each item at most about ``window`` places from where it was."""
    draw = random.Random(seed)
    return [item for _, item in sorted((i + draw.uniform(0, window), item) for i, item in enumerate(items))]


def whole(stream: bytes, isn: int) -> dict[str, Any]:
    (event,) = events(numbered([record(isn, flags=SYN), record(isn + 1, stream)]))
    return event


def same(found: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    (event,) = found
    # Into how many segments it was cut, and whether its SYN was seen before, is told of it as it was.
    as_it_came = {"reassembled": None, "syn": None}
    assert {**event, **as_it_came} == {**expected, **as_it_came}


@settings(max_examples=60)
@given(
    number=st.integers(0, len(recorded()) - 1),
    size=st.sampled_from([1, 1, 1, 2, 7, 100, 536]),
    window=st.integers(0, 60),
    repeat=st.floats(0, 1),
    isn=st.sampled_from([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFF00, 12345]),
    syn=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_any_segmentation_gives_the_event_of_the_whole(
    number: int, size: int, window: int, repeat: float, isn: int, syn: bool, seed: int
) -> None:
    stream = recorded()[number]
    draw = random.Random(seed)
    segments = [record(seq, data) for seq, data in pieces(stream, size, isn)]
    segments = [item for item in segments for _ in range(1 + (draw.random() < repeat))]
    segments = shuffled(segments, window, seed)
    opening = [record(isn, flags=SYN)] if syn else []
    same(events(numbered(opening + segments)), whole(stream, isn))


@given(split=st.integers(1, 400), seed=st.integers(0, 2**32))
def test_a_hello_over_records_and_segments(split: int, seed: int) -> None:
    stream = recorded()[3]
    cut = records(stream[5:], split)
    segments = shuffled([record(seq, data) for seq, data in pieces(cut, 50, 7)], 5, seed)
    (event,) = events(numbered([record(7, flags=SYN), *segments]))
    assert event["fingerprints"] == whole(stream, 7)["fingerprints"]


def test_the_syn_may_come_after_the_data() -> None:
    stream = recorded()[0]
    found = events(numbered([record(101, stream[:50]), record(100, flags=SYN), record(151, stream[50:])]))
    same(found, whole(stream, 100))


def test_data_may_ride_on_the_syn() -> None:
    stream = recorded()[0]
    same(events(numbered([record(100, stream, SYN)])), whole(stream, 100))


def test_overlap_keeps_what_came_first() -> None:
    stream = recorded()[0]
    bad = bytes(len(stream))
    found = events(numbered([record(1, stream[:100]), record(51, bad[50:150]), record(101, stream[100:])]))
    # The bytes that came first stay: the hello is spoilt from byte 100 on.
    assert [event["fingerprints"] for event in found] != [whole(stream, 0)["fingerprints"]]
    found = events(numbered([record(1, stream[:100]), record(1, bad[:100]), record(101, stream[100:])]))
    same(found, whole(stream, 0))


def test_event_start_is_the_time_of_the_segment_with_the_first_byte() -> None:
    stream = recorded()[0]
    late = [record(101, stream[100:], time=START + 1), record(1, stream[:100], time=START + 5)]
    (event,) = events(numbered([record(0, flags=SYN), *late]))
    assert event["event_start"] == START + 5
    assert event["reassembled"]


def test_what_was_not_captured_ends_the_stream() -> None:
    stream = recorded()[0]
    (event,) = events(numbered([record(0, flags=SYN), record(1, stream[:200], missing=len(stream) - 200)]))
    assert event["truncated"]


def test_fin_ends_the_stream_in_any_order() -> None:
    stream = recorded()[0]
    cut = [record(1, stream[:200]), record(201, flags=FIN | 16)]
    for segments in (cut, cut[::-1]):
        (event,) = events(numbered([record(0, flags=SYN), *segments]))
        assert event["truncated"]


def test_an_unfinished_hello_is_told_at_the_end_of_its_run_only() -> None:
    stream = recorded()[0]
    task = fresh()
    assert handle(task, numbered([record(0, flags=SYN), record(1, stream[:200])])) == []
    assert handle(task, [end("another")], 2) == []
    (event,) = handle(task, [end()], 3)
    assert event["truncated"]
    assert task.low_water() is None


def test_quiet_flows_are_closed_by_time_marks_and_late_segments_alike() -> None:
    stream = recorded()[0]
    first = numbered([record(0, flags=SYN), record(1, stream[:200])])
    late = record(201, stream[200:], ordinal=2, time=START + 61 * SECOND)
    with_mark = events([*first, mark(START + 61 * SECOND), late])
    without = events([*first, late])
    assert with_mark == without
    assert [event["truncated"] for event in without] == [True]
    assert events([*first, mark(START + 59 * SECOND)]) == []


def test_a_flow_begins_at_its_first_record_only() -> None:
    """What follows a flow that is done, or a rebuild's low-water mark, is no new flow."""
    stream = recorded()[0]
    assert events([record(1, stream, ordinal=3)]) == []
    assert len(events([record(1, stream, ordinal=0)])) == 1


def test_a_new_syn_restarts_the_flow() -> None:
    stream, other = recorded()[0], recorded()[7]
    first = [record(0, flags=SYN, ordinal=0), record(1, stream[:200])]
    second = [record(9000, flags=SYN, ordinal=0), record(9001, other, time=START + 1)]
    found = events(first + second)
    assert [event["truncated"] for event in found] == [True, False]
    assert len({event["event_id"] for event in found}) == 2


def test_flows_differ_by_run_sensor_vlan_and_addresses() -> None:
    stream = recorded()[0]
    other = [
        {"run": "two"}, {"sensor": "two"}, {"vlans": [5]}, {"vni": 7}, {"source": (b"\xc0\0\2\2", 40000)},
        {"source": (b"\xc0\0\2\1", 40001)}, {"time": START + 1}, {},
    ]  # fmt: skip
    found = [events([record(1, stream, ordinal=0, **fields)])[0] for fields in other]  # type: ignore[arg-type]
    assert len({event["event_id"] for event in found}) == len(other)
    again = events([record(1, stream, ordinal=0)])[0]
    assert again["event_id"] == found[-1]["event_id"]


def around(kind: str, source: bytes = b"", target: bytes = b"", number: int | None = None) -> dict[str, Any]:
    return {"kind": kind, "src_ip": source, "dst_ip": target, "id": number}


A, B = b"\xcb\0\x71\1", b"\xcb\0\x71\2"
A6, B6 = bytes(15) + b"\1", bytes(15) + b"\2"


def test_flows_differ_by_their_tunnels() -> None:
    stream = recorded()[0]
    tunnels = [
        [], [around("gre", A, B)], [around("gre", A, B, 0)], [around("gre", A, B, 1)], [around("ipip", A, B)],
        [around("gre", A, b"\xcb\0\x71\3")], [around("gre", A, B), around("gre", A, B)],
        [around("pppoe", number=1)], [around("pppoe", number=2)], [around("vxlan", A, B, 1)],
        [around("gre", A, B), around("ipip", A, B)], [around("ipip", A, B), around("gre", A, B)],
    ]  # fmt: skip
    found = [events([record(1, stream, ordinal=0, tunnels=each)])[0] for each in tunnels]
    assert len({event["event_id"] for event in found}) == len(tunnels)
    # All at once: none is taken for another's.
    together = events([record(1, stream, ordinal=0, tunnels=each) for each in tunnels])
    assert {event["event_id"] for event in together} == {event["event_id"] for event in found}
    assert len({event["community_id"] for event in found}) == 1


@pytest.mark.parametrize(
    ("out", "back"),
    [
        (around("gtp-u", A, B, 1), around("gtp-u", B, A, 2)),
        (around("mpls", number=16), around("mpls", number=17)),
        (around("vxlan", A, B, 7), around("vxlan", B, A, 7)),
        (around("ipip", A6, B6), around("ipip", B6, A6)),
    ],
)  # fmt: skip
def test_each_direction_tells_its_own_ends_and_ids(out: dict[str, Any], back: dict[str, Any]) -> None:
    """And the server's side is known by the client's SYN: it is one flow."""
    hello, answer = recorded()[0], recorded()[1]
    records = numbered([
        record(0, flags=SYN, tunnels=[out]),
        record(1, hello, tunnels=[out]),
        record(1, answer, source=SERVER, target=CLIENT, tunnels=[back]),
    ])  # fmt: skip
    task = fresh()
    one, two = handle(task, records)
    text = [
        {**each, "src_ip": address(each["src_ip"]), "dst_ip": address(each["dst_ip"])} for each in (out, back)
    ]
    assert (one["tunnels"], two["tunnels"]) == (text[:1], text[1:])
    assert (one["vni"], one["vlans"]) == (None, [])


def test_a_message_tells_the_tunnels_of_its_first_segment() -> None:
    stream = recorded()[0]
    parts = [stream[:100], stream[100:200], stream[200:]]
    records = numbered([
        record(1 + 100 * i, part, tunnels=[around("mpls", number=i)]) for i, part in enumerate(parts)
    ])  # fmt: skip
    (event,) = events(records)
    assert [each["id"] for each in event["tunnels"]] == [0]


@pytest.mark.parametrize(
    "tunnels",
    [
        [around("gre", b"123", b"123")], [around("gre", A, b"")], [around("x" * 21)],
        [around("gre", number=-1)], [around("gre", number=1 << 32)], [around("gre")] * 9,
    ],
)  # fmt: skip
def test_tunnels_that_cannot_be_are_rejected(tunnels: list[dict[str, Any]]) -> None:
    handled = fresh().handle([Incoming(0, None, record(1, b"x", ordinal=0, tunnels=tunnels))])
    assert [offset for offset, _ in handled.rejected] == [0]
    assert "tunnels" in str(handled.rejected[0].error)


def test_both_directions_are_looked_at() -> None:
    stream = recorded()[0]
    hello = record(500, stream, source=SERVER, target=CLIENT)
    (event,) = events(numbered([record(1, b"anything"), hello]))
    assert (event["src_ip"], event["dst_port"]) == ("198.51.100.1", 40000)


def test_memory_is_bounded_and_what_is_dropped_is_counted() -> None:
    task = fresh(Limits(flows=10, held=1 << 20))
    batch = [
        Incoming(i, None, record(1, b"\x16\3\1", ordinal=0, source=(b"\xc0\0\2\1", i))) for i in range(1000)
    ]
    counts = task.handle(batch).counts
    assert counts["flows_evicted", "flows"] == 990
    assert task.low_water() == 990


def test_a_run_that_falls_silent_is_finished_and_releases_the_low_water_mark() -> None:
    """Its sensor died: no mark and no end of that run will come. Other runs' flows are not touched."""
    task = fresh(Limits(span=10_000))
    handle(task, [record(1, recorded()[0][:200], ordinal=0, run="dead")])
    slow = (b"\xc0\0\2\x08", 8)
    handle(task, [record(1, b"\x16\3\1", ordinal=0, run="alive", source=slow)], 1)
    other = record(1, recorded()[0], ordinal=0, run="alive", source=(b"\xc0\0\2\x09", 7))
    found = []
    for offset in range(4000, 40_000, 2000):
        found += handle(task, [other], offset)
    assert [event["truncated"] for event in found if event["run"] == "dead"] == [True]
    assert task.low_water() == 1


def test_segments_in_descending_order_do_not_cost_their_square() -> None:
    """No SYN, each segment begins like a hello and lies before all others: 64 KiB stay cheap."""
    task = fresh()
    batch = numbered([record(100_000 - 6 * i, b"\x16\3\1\0\1\1") for i in range(10_000)])
    started = perf_counter()
    assert handle(task, batch) == []
    assert perf_counter() - started < 5.0  # 43 s when each moved the base


def test_a_hello_in_tiny_records_and_segments_is_found() -> None:
    stream = records(recorded()[3][5:], 1)
    segments = [record(seq, data) for seq, data in pieces(stream, 10, 0)]
    (event,) = events(numbered([record(0, flags=SYN), *segments]))
    assert event["fingerprints"] == whole(recorded()[3], 0)["fingerprints"]
    assert not event["truncated"]


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        # In order: what came first stays.
        (((0, b"0123"), (2, b"xxxx")), b"0123xx"),
        # The one that waits begins later: the lower one's bytes count, whichever came first.
        (((0, b"0"), (5, b"BBBB"), (3, b"aaaa"), (1, b"12")), b"012aaaaBB"),
        (((0, b"0"), (3, b"AAAA"), (5, b"bbbb"), (1, b"12")), b"012AAAAbb"),
        # Within one that waits: dropped. Around one that waits: it takes its place.
        (((0, b"0"), (3, b"AAAAAA"), (4, b"bb"), (1, b"12")), b"012AAAAAA"),
        (((0, b"0"), (4, b"BB"), (3, b"aaaaaa"), (1, b"12")), b"012aaaaaa"),
        (((0, b"0"), (3, b"BB"), (3, b"aaaa"), (1, b"12")), b"012aaaa"),
        (((0, b"0"), (3, b"AAAA"), (3, b"bb"), (1, b"12")), b"012AAAA"),
        # What closes the gap counts before what waits.
        (((0, b"0"), (3, b"AAAA"), (1, b"bbbb")), b"0bbbbAA"),
        # Three in a row, and one over two of them.
        (((0, b"0"), (3, b"AA"), (5, b"BB"), (7, b"CC"), (4, b"dddd"), (1, b"12")), b"012AABBCC"),
        # A part of a lower one goes when that is covered, and the covering one's bytes count.
        (((0, b"0"), (4, b"AAA"), (6, b"BBB"), (3, b"ccccc"), (1, b"12")), b"012cccccB"),
    ],
)
def test_overlaps_are_resolved_as_linux_does(pieces: tuple[tuple[int, bytes], ...], whole: bytes) -> None:
    assert in_order(pieces, syn=-1) == whole
    late = in_order([(seq + 1, data) for seq, data in pieces[1:]] + [(1, pieces[0][1])], syn=0)
    assert len(late) == len(whole)


def test_held_pieces_are_kept_once() -> None:
    task = fresh()
    again = numbered([record(0, flags=SYN), *[record(100, b"x" * 1000)] * 3000])
    assert task.handle([Incoming(i, None, item) for i, item in enumerate(again)]).counts == {}


def test_a_gap_that_never_closes_is_given_up() -> None:
    far = [record(10 + 2 * i, b"x", time=START) for i in range(5000)]
    task = fresh()
    handled = task.handle(
        [Incoming(i, None, item) for i, item in enumerate(numbered([record(0, flags=SYN), *far]))]
    )
    assert handled.counts["gaps_given_up", "pieces"] == 1


def test_low_water_is_the_oldest_unfinished_flow() -> None:
    stream = recorded()[0]
    task = fresh()
    other = (b"\xc0\0\2\x09", 1234)
    handle(task, [record(1, stream[:10], ordinal=0), record(1, stream[:10], ordinal=0, source=other)], 100)
    assert task.low_water() == 100
    handle(task, [record(11, stream[10:] + b"\x17\3\3\0\1x")], 102)
    assert task.low_water() == 100  # its other direction may still speak
    handle(task, [record(0, bytes(8000), 16, source=SERVER, target=CLIENT)], 103)
    assert task.low_water() == 101


@pytest.mark.parametrize(
    ("field", "value"),
    [("src_ip", b"12345"), ("dst_ip", b""), ("src_port", 65536), ("dst_port", -1), ("seq", -1),
     ("time", -1), ("time", 1 << 62), ("seq", 1 << 32), ("missing", -1), ("transport", 1),
     ("ttl", 256), ("ip_id", 1 << 20), ("window", -1), ("options", bytes(41))],
)  # fmt: skip
def test_a_record_that_cannot_be_is_rejected_and_the_batch_goes_on(field: str, value: object) -> None:
    bad = {**record(1, b"x", ordinal=0), field: value}
    good = record(1, recorded()[0], ordinal=0)
    handled = fresh().handle([Incoming(0, None, bad), Incoming(1, None, good)])
    assert [offset for offset, _ in handled.rejected] == [0]
    assert field in str(handled.rejected[0].error)
    assert len(handled.outputs) == 1


def test_a_datagram_is_counted_and_needs_no_memory() -> None:
    task = fresh()
    datagram = record(0, recorded()[0], 0, ordinal=0, transport=17)
    handled = task.handle([Incoming(0, None, datagram)])
    assert (handled.outputs, handled.counts) == ([], {("datagrams_not_recognised",): 1})
    assert task.low_water() is None


def test_rebuilding_from_the_low_water_mark_repeats_and_invents_nothing() -> None:
    """Cut the log anywhere, rebuild from the low-water mark: the rest of the events are the same."""
    draw = random.Random(1)
    log: list[Any] = []
    for number, stream in enumerate(recorded()[:12]):
        source = (b"\xc0\0\2\1", 40000 + number)
        parts = [record(seq, data, source=source) for seq, data in pieces(stream, 97, 5)]
        log.append(numbered([record(5, flags=SYN, source=source), *parts, *parts[:2]]))
    merged = []
    while any(log):
        flow = draw.choice([flow for flow in log if flow])
        merged.append(flow.pop(0))
    merged.append(end())
    expected = events(merged)
    assert len(expected) == 12
    for cut in range(0, len(merged) + 1, 3):
        before = fresh()
        first = handle(before, merged[:cut])
        low = before.low_water()
        after = fresh()
        if low is not None:
            handle(after, merged[low:cut], low)  # rebuilds; what comes out is thrown away
        assert first + handle(after, merged[cut:], cut) == expected
