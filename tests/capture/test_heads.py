"""Flow heads: what is kept, how it is numbered, and when a flow begins anew."""

from pathlib import Path
from typing import Any

import pytest
from capture.frames import ETHER, pcap, write
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Raw

from vermilion_capture.capturefile import CaptureError
from vermilion_capture.heads import DATAGRAMS, FlowHeads, Kept
from vermilion_capture.packet import Segment, segment
from vermilion_capture.source import FileSource


def seg(seq: int, data: bytes = b"", flags: str = "A", *, back: bool = False, ack: int = 0) -> Segment:
    ends: dict[str, Any] = {"src": "192.0.2.1", "dst": "192.0.2.2"}
    ports: dict[str, Any] = {"sport": 1000, "dport": 443}
    if back:
        ends = {"src": ends["dst"], "dst": ends["src"]}
        ports = {"sport": 443, "dport": 1000}
    found = segment(bytes(ETHER / IP(**ends) / TCP(seq=seq, ack=ack, flags=flags, **ports) / Raw(data)))
    assert isinstance(found, Segment)
    return found


def datagram(data: bytes, *, back: bool = False, snapped: int = 0) -> Segment:
    ends: Any = {"src": "192.0.2.1", "dst": "192.0.2.2"}
    ports: Any = {"sport": 1000, "dport": 443}
    if back:
        ends, ports = {"src": ends["dst"], "dst": ends["src"]}, {"sport": 443, "dport": 1000}
    frame = bytes(ETHER / IP(**ends) / UDP(**ports) / Raw(data))
    found = segment(frame[: len(frame) - snapped])
    assert isinstance(found, Segment)
    return found


def kept(heads: FlowHeads, *args: Any, **more: Any) -> Kept:
    found = heads.keep(seg(*args, **more))
    assert found is not None
    return found


def test_records_of_both_directions_are_numbered_together() -> None:
    heads = FlowHeads()
    assert kept(heads, 5, flags="S").ordinal == 0
    assert kept(heads, 90, flags="SA", back=True).ordinal == 1
    assert kept(heads, 6, b"x").ordinal == 2


def test_the_head_ends_at_the_depth_of_each_direction() -> None:
    heads = FlowHeads(depth=10)
    kept(heads, 0, flags="S")
    assert kept(heads, 1, b"1234567").missing == 0
    assert kept(heads, 8, b"890abc") == Kept(2, b"890", 3)
    assert heads.keep(seg(14, b"more")) is None
    assert kept(heads, 500, b"answer", back=True).payload == b"answer"
    assert kept(heads, 9000, b"bye", "FA") == Kept(4, b"", 3)
    assert kept(heads, 9003, flags="R") == Kept(5, b"", 0)


def test_depth_0_keeps_all() -> None:
    heads = FlowHeads(depth=0)
    assert [kept(heads, at, b"x" * 1000).missing for at in range(1, 200_000, 1000)] == [0] * 200


def test_sequence_numbers_wrap() -> None:
    heads = FlowHeads(depth=10)
    kept(heads, 0xFFFFFFFA, flags="S")
    assert kept(heads, 0xFFFFFFFB, b"12345").payload == b"12345"
    assert kept(heads, 0, b"67890a") == Kept(2, b"67890", 1)


def test_a_flow_of_many_gigabytes_is_published_once() -> None:
    """Beyond 2 GiB a sequence number looks as if it lay before the head."""
    heads = FlowHeads(depth=1000)
    kept(heads, 0, flags="S")
    assert kept(heads, 1, b"x" * 1000).missing == 0
    step = 1 << 27
    assert [heads.keep(seg((1 + step * i) & 0xFFFFFFFF, b"more")) for i in range(1, 200)] == [None] * 199


def test_a_syn_begins_a_flow_anew_but_not_a_repeated_or_late_one() -> None:
    heads = FlowHeads()
    assert kept(heads, 5, flags="S").ordinal == 0
    assert kept(heads, 5, flags="S").ordinal == 1
    assert kept(heads, 70000, flags="S").ordinal == 0
    late = FlowHeads()
    assert kept(late, 106, b"data").ordinal == 0
    assert kept(late, 105, flags="S").ordinal == 1
    assert kept(late, 106, b"data").payload == b"data"


def test_data_before_the_first_seen_moves_the_head_down() -> None:
    heads = FlowHeads(depth=10)
    assert kept(heads, 105, b"56789").payload == b"56789"
    assert kept(heads, 100, b"01234").payload == b"01234"
    assert heads.keep(seg(110, b"x")) is None


def test_the_number_of_flows_is_bounded() -> None:
    heads = FlowHeads(flows=2)
    flows = [segment(bytes(ETHER / IP() / TCP(sport=port, seq=1) / b"x")) for port in (1, 2, 3)]
    for flow in flows:
        assert isinstance(flow, Segment)
        heads.keep(flow)
    assert heads.evicted == 1


def test_a_source_marks_time_and_its_end_also_when_the_file_breaks(tmp_path: Path) -> None:
    frames = [bytes(ETHER / IP() / TCP(seq=1, flags="PA") / b"x")] * 2
    one, two = (pcap(frames, time=(second, 0)) for second in (1000, 1011))
    source = FileSource(write(tmp_path, one + two[24:]), "sensor")
    assert [item.record["kind"] for item in source] == [
        "SEGMENT",
        "SEGMENT",
        "SEGMENT",
        "TIME_MARK",
        "SEGMENT",
        "END_OF_RUN",
    ]
    assert source.counts == {"packets": 4, "kept": 4}
    broken = FileSource(write(tmp_path, one[:-1]), "sensor")
    kinds: list[str] = []
    with pytest.raises(CaptureError):
        kinds.extend(item.record["kind"] for item in broken)
    assert kinds == ["SEGMENT", "END_OF_RUN"]
    assert broken.run != source.run


def test_a_flow_that_was_quiet_or_is_old_begins_anew() -> None:
    """As the reader closes it: requests each minute on one connection are all seen."""
    heads = FlowHeads()
    minute = 60_000_000
    assert [heads.keep(seg(1, b"x"), time) for time in (0, minute, 2 * minute + 1)] == [
        Kept(0, b"x", 0), Kept(1, b"x", 0), Kept(0, b"x", 0),
    ]  # fmt: skip
    lasting = FlowHeads()
    ordinals = [kept.ordinal for i in range(25) if (kept := lasting.keep(seg(1, b"x"), i * minute // 2))]
    assert ordinals == [*range(21), *range(4)]


def test_a_syn_of_a_side_unseen_opens_another_connection_unless_it_is_answered() -> None:
    heads = FlowHeads()
    old = seg(5000, b"old", back=True)
    assert heads.keep(old) == Kept(0, b"old", 0)
    assert heads.keep(seg(100, b"", "S")) == Kept(0, b"", 0)
    overtaken = FlowHeads()
    answer = seg(5000, b"", "SA", back=True, ack=101)
    assert overtaken.keep(answer) == Kept(0, b"", 0)
    assert overtaken.keep(seg(100, b"", "S")) == Kept(1, b"", 0)


def test_of_datagrams_a_bounded_number_and_depth_bytes_of_each_direction() -> None:
    heads = FlowHeads(depth=10)
    assert heads.keep(datagram(b"1234567")) == Kept(0, b"1234567", 0)
    assert heads.keep(datagram(b"890abc")) == Kept(1, b"890", 3)
    assert heads.keep(datagram(b"more")) is None
    assert heads.keep(datagram(b"1234567890", back=True)) == Kept(2, b"1234567890", 0)
    assert heads.keep(datagram(b"1", back=True)) is None
    many = FlowHeads()
    assert [many.keep(datagram(b"x")) for _ in range(DATAGRAMS)] == [
        Kept(i, b"x", 0) for i in range(DATAGRAMS)
    ]
    assert many.keep(datagram(b"x")) is None
    assert many.keep(datagram(b"y", back=True)) == Kept(DATAGRAMS, b"y", 0)
    everything = FlowHeads(depth=0)
    assert all(everything.keep(datagram(b"x" * 1000)) for _ in range(1000))


def test_of_a_datagram_that_was_cut_what_is_missing_is_told() -> None:
    heads = FlowHeads(depth=10)
    assert heads.keep(datagram(b"123456", snapped=4)) == Kept(0, b"12", 4)
    assert heads.keep(datagram(b"7890ab", snapped=1)) == Kept(1, b"7890", 2)
    assert heads.keep(datagram(b"c")) is None


def test_a_flow_of_datagrams_begins_anew_as_one_of_segments_does() -> None:
    heads = FlowHeads(depth=4)
    minute = 60_000_000
    assert [heads.keep(datagram(b"xyz"), time) for time in (0, minute, minute, 2 * minute + 1)] == [
        Kept(0, b"xyz", 0), Kept(1, b"x", 2), None, Kept(0, b"xyz", 0),
    ]  # fmt: skip


def test_tcp_and_udp_on_the_same_ports_are_two_flows() -> None:
    heads = FlowHeads()
    assert heads.keep(datagram(b"x")) == Kept(0, b"x", 0)
    assert heads.keep(seg(1, b"x")) == Kept(0, b"x", 0)
    assert heads.remembered == 2
