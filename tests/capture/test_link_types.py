"""Frames of every link type, as scapy builds them, whole and cut."""

import random
import struct
from pathlib import Path

import pytest
from capture.blocks import enhanced, interface, section
from capture.frames import ETHER, pcap, write
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import ARP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Loopback
from scapy.packet import Raw

from vermilion_capture.capturefile import CaptureError, CaptureFile
from vermilion_capture.packet import BAD, CUT, LINK_TYPES, NOT_IP, Segment, segment
from vermilion_capture.source import FileSource

V4 = IP(src="192.0.2.1", dst="198.51.100.2")
V6 = IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrDestOpt()
DATA = TCP(sport=40000, dport=443, seq=7, ack=9, flags="PA") / Raw(b"hello")
# In a cooked header scapy asks the system for what is left out.
SLL = CookedLinux(pkttype=4, lladdrtype=1, lladdrlen=6, src=b"\2\0\0\0\0\1")
SLL_QINQ = CookedLinux(pkttype=4, lladdrtype=1, lladdrlen=6, src=b"\2\0\0\0\0\1", proto=0x88A8)
SLL2 = CookedLinuxV2(ifindex=3, pkttype=4, lladdrtype=1, lladdrlen=6, src=b"\2\0\0\0\0\1")
QINQ = Dot1AD(vlan=100) / Dot1Q(vlan=5)

CASES: list[tuple[int, bytes, tuple[int, ...]]] = [
    (1, bytes(ETHER / V4 / DATA), ()),
    (1, bytes(ETHER / QINQ / V6 / DATA), (100, 5)),
    *((link, bytes(ip / DATA), ()) for link in (12, 14, 101) for ip in (V4, V6)),
    (228, bytes(V4 / DATA), ()),
    (229, bytes(V6 / DATA), ()),
    (113, bytes(SLL / V4 / DATA), ()),
    (113, bytes(SLL / V6 / DATA), ()),
    (113, bytes(SLL_QINQ / QINQ / V4 / DATA), (100, 5)),
    (276, bytes(SLL2 / V4 / DATA), ()),
    (276, bytes(SLL2 / V6 / DATA), ()),
    (276, bytes(SLL2 / Dot1Q(vlan=7) / V6 / DATA), (7,)),
    # scapy's header has the byte order of the machine that it runs on
    (0, bytes(Loopback(type=2) / V4 / DATA), ()),
    (0, bytes(Loopback(type=30) / V6 / DATA), ()),
    *(
        (link, struct.pack(order + "I", family) + bytes(ip / DATA), ())
        for link in (0, 108)
        for order in "<>"
        for family, ip in ((2, V4), (24, V6), (28, V6), (30, V6))
    ),
]
EACH = pytest.mark.parametrize(
    ("link", "data", "vlans"), CASES, ids=[f"{LINK_TYPES[link]} {n}" for n, (link, _, _) in enumerate(CASES)]
)


@EACH
def test_finds_the_segment(link: int, data: bytes, vlans: tuple[int, ...]) -> None:
    found = segment(data, link)
    assert isinstance(found, Segment)
    assert (found.src_port, found.dst_port, found.payload, found.vlans) == (40000, 443, b"hello", vlans)
    assert found.src_ip in (b"\xc0\0\2\1", bytes.fromhex("20010db8000000000000000000000001"))


@EACH
def test_every_truncation_of_the_headers(link: int, data: bytes, vlans: tuple[int, ...]) -> None:
    assert {segment(data[:end], link) for end in range(len(data) - 5)} == {CUT}


@pytest.mark.parametrize(
    ("link", "data", "why"),
    [
        (113, bytes(SLL / ARP()), NOT_IP),
        (276, bytes(SLL2 / ARP()), NOT_IP),
        (0, bytes(8), NOT_IP),
        (0, b"\0\1\0\2" + bytes(V4 / DATA), NOT_IP),
        (0, b"\7\0\0\0" + bytes(V4 / DATA), NOT_IP),
        (0, b"\2\0\0\0" + bytes(V6 / DATA), BAD),
        (101, b"\x50" + bytes(60), NOT_IP),
        (228, bytes(V6 / DATA), BAD),
        (229, bytes(V4 / DATA), BAD),
        (101, b"", CUT),
    ],
)
def test_says_why_there_is_none(link: int, data: bytes, why: str) -> None:
    assert segment(data, link) == why


@EACH
def test_corrupted_headers_never_give_more_than_is_there(
    link: int, data: bytes, vlans: tuple[int, ...]
) -> None:
    draw = random.Random(link)
    for _ in range(1000):
        changed = bytearray(data)
        for _ in range(draw.randrange(1, 4)):
            changed[draw.randrange(len(data))] = draw.randrange(256)
        result = segment(bytes(changed[: draw.randrange(len(data) + 1)]), link)
        if isinstance(result, Segment):
            assert result.payload in bytes(changed)
            assert len(result.payload) <= result.size


def test_link_types_are_the_same_everywhere(tmp_path: Path) -> None:
    """What a file is read with is what a frame is read with; any other is refused by name."""
    assert {link for link, _, _ in CASES} == set(LINK_TYPES)
    for link in range(300):
        path = write(tmp_path, pcap([], link=link))
        if link in LINK_TYPES:
            CaptureFile(path).close()
            segment(b"", link)
            continue
        with pytest.raises(ValueError, match=f"link type {link}"):
            segment(b"", link)
        with pytest.raises(
            CaptureError, match=rf"offset 20: link type {link} is not read.*Linux cooked \(113\)"
        ):
            CaptureFile(path)


def test_a_frame_check_sequence_is_no_part_of_the_link_type(tmp_path: Path) -> None:
    with CaptureFile(write(tmp_path, pcap([b"x"], link=0x2400_0001))) as capture:
        assert [frame.link_type for frame in capture] == [1]


@EACH
def test_a_source_tells_the_link_type(tmp_path: Path, link: int, data: bytes, vlans: tuple[int, ...]) -> None:
    several = section() + interface(105) + interface(link) + enhanced(data, number=1)
    for file in (pcap([data], link=link), several):
        records = [item.record for item in FileSource(write(tmp_path, file), "sensor")]
        assert [record["payload"] for record in records] == [b"hello", b""]
        assert records[0]["vlans"] == list(vlans)


def test_packets_of_interfaces_that_differ(tmp_path: Path) -> None:
    """One file, every link type."""
    file = section() + b"".join(interface(link) for link, _, _ in CASES)
    file += b"".join(enhanced(data, number=number) for number, (_, data, _) in enumerate(CASES))
    source = FileSource(write(tmp_path, file), "sensor")
    assert sum(item.record["kind"] == "SEGMENT" for item in source) == len(CASES)


def test_scapy_sees_the_same_layers() -> None:
    """The oracle's own view of the tagged frames, so that the tests above test what they say."""
    tagged = {link: data for link, data, vlans in CASES if vlans}
    for cooked in (CookedLinux(tagged[113][:14] + b"\x81\0" + tagged[113][20:]), CookedLinuxV2(tagged[276])):
        assert cooked[Dot1Q].vlan in (5, 7)
        assert cooked[TCP].dport == 443
