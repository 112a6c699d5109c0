"""Frames as scapy builds them, cut and corrupted; scapy is the oracle of what is in them."""

import random

import pytest
from capture.frames import ETHER
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_RR
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q
from scapy.packet import Packet, Raw

from vermilion_capture.packet import BAD, CUT, EMPTY, FRAGMENT, NOT_IP, OTHER_PROTOCOL, Segment, segment

V4 = IP(src="192.0.2.1", dst="198.51.100.2", ttl=57, id=0x1234)
V6 = IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=61)
DATA = TCP(sport=40000, dport=443, seq=7, ack=9, flags="PA", window=500) / Raw(b"hello")

DATAGRAM = UDP(sport=40000, dport=443) / Raw(b"hello")


def frame(packet: Packet) -> bytes:
    return bytes(ETHER / packet)


def found(data: bytes) -> Segment:
    result = segment(data)
    assert isinstance(result, Segment), result
    return result


@pytest.mark.parametrize(
    "packet",
    [
        V4 / DATA,
        IP(src="192.0.2.1", dst="198.51.100.2", ttl=57, id=0x1234, options=[IPOption_NOP(), IPOption_RR()])
        / DATA,
        Dot1Q(vlan=5) / V4 / DATA,
        Dot1AD(vlan=100) / Dot1Q(vlan=5) / V4 / DATA,
        V6 / DATA,
        V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting() / IPv6ExtHdrDestOpt() / DATA,
        V6 / IPv6ExtHdrFragment(offset=0, m=0) / DATA,
    ],
)
@pytest.mark.parametrize("padding", [0, 6])
def test_finds_the_segment(packet: Packet, padding: int) -> None:
    """Whatever lies around it; frame padding is not payload."""
    one = found(frame(packet) + bytes(padding))
    assert (one.src_port, one.dst_port, one.seq, one.ack, one.window) == (40000, 443, 7, 9, 500)
    assert (one.payload, one.size, one.flags) == (b"hello", 5, 0x18)
    assert len(one.src_ip) == (16 if IPv6 in packet else 4)
    assert one.vlans == tuple(layer.vlan for layer in packet.iterpayloads() if isinstance(layer, Dot1Q))
    assert one.ttl == (61 if IPv6 in packet else 57)


@pytest.mark.parametrize("packet", [V4 / DATAGRAM, Dot1Q(vlan=5) / V6 / IPv6ExtHdrDestOpt() / DATAGRAM])
def test_finds_the_datagram(packet: Packet) -> None:
    """As long as its own header says, whatever IP carries behind it (RFC 768, Length)."""
    one = found(frame(packet / Raw(b"x")) + bytes(6))
    assert (one.transport, one.src_port, one.dst_port) == (17, 40000, 443)
    assert (one.payload, one.size) == (b"hellox", 6)
    assert (one.seq, one.ack, one.flags, one.window, one.options) == (0, 0, 0, 0, b"")
    packet[UDP].len = 12
    one = found(frame(packet / Raw(b"x")))
    assert (one.payload, one.size) == (b"hell", 4)
    assert one.ttl == (61 if IPv6 in packet else 57)
    cut = frame(packet)[:-3]
    assert (found(cut).payload, found(cut).size) == (b"he", 4)
    del packet[UDP].len


def test_a_datagram_of_more_than_its_length_can_tell() -> None:
    """Offload has put datagrams together: IP's length is 0, and UDP's (RFC 2675 section 4)."""
    one = found(frame(IP(len=0) / UDP(len=0) / Raw(b"x" * 70_000)))
    assert (one.size, len(one.payload)) == (70_000, 70_000)


def test_options_of_a_syn() -> None:
    one = found(frame(V4 / TCP(flags="S", options=[("MSS", 1460), ("NOP", None), ("WScale", 7)])))
    assert one.options.hex().startswith("020405b401030307")


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (ARP(), NOT_IP),
        (V4 / ICMP() / b"x", OTHER_PROTOCOL),
        (V6 / IPv6ExtHdrDestOpt(nh=132) / Raw(b"x" * 20), OTHER_PROTOCOL),
        (V4 / UDP(), EMPTY),
        (V6 / UDP(), EMPTY),
        (V4 / UDP(len=7) / b"x", BAD),
        (V4 / UDP(len=0) / b"x", BAD),
        (V4 / UDP(len=10) / b"x", BAD),
        (IP(proto=17) / Raw(b"1234567"), BAD),
        (IP(flags="MF") / DATA, FRAGMENT),
        (IP(frag=3) / DATA, FRAGMENT),
        (V6 / IPv6ExtHdrFragment(offset=5) / DATA, FRAGMENT),
        (V4 / TCP(flags="A"), None),
        (IP(ihl=4) / DATA, BAD),
        (IP(len=19) / DATA, BAD),
        (IP(version=5) / DATA, BAD),
        (V4 / TCP(dataofs=4) / b"x", BAD),
        (V4 / TCP(dataofs=15) / b"x", BAD),
    ],
)
def test_says_why_there_is_none(packet: Packet, why: str | None) -> None:
    assert segment(frame(packet)) == why


def test_too_many_tags() -> None:
    packet: Packet = V4 / DATA
    for vlan in range(20):
        packet = Dot1Q(vlan=vlan) / packet
    assert segment(frame(packet)) == BAD


def test_what_was_not_captured_is_told() -> None:
    data = frame(V4 / DATA)
    for kept in range(5):
        one = found(data[: len(data) - 5 + kept])
        assert (one.size, one.payload) == (5, b"hello"[:kept])


@pytest.mark.parametrize(
    "packet", [V4 / DATA, Dot1Q(vlan=1) / V6 / IPv6ExtHdrHopByHop() / DATA, V4 / DATAGRAM]
)
def test_every_truncation_of_the_headers(packet: Packet) -> None:
    data = frame(packet)
    assert {segment(data[:end]) for end in range(len(data) - 5)} == {CUT}


@given(st.binary(max_size=120))
def test_any_bytes(data: bytes) -> None:
    result = segment(data)
    assert result in (None, BAD, CUT, EMPTY, FRAGMENT, NOT_IP, OTHER_PROTOCOL) or isinstance(result, Segment)


@pytest.mark.parametrize(
    "packet", [V4 / DATA, V6 / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting() / DATA, V6 / DATAGRAM]
)
def test_corrupted_headers_never_give_more_than_is_there(packet: Packet) -> None:
    draw = random.Random(1)
    data = bytearray(frame(packet))
    for _ in range(20_000):
        at, value = draw.randrange(12, len(data)), draw.randrange(256)
        old, data[at] = data[at], value
        result = segment(bytes(data))
        if isinstance(result, Segment):
            assert bytes(data).find(result.payload) >= 0
            assert 0 <= len(result.payload) <= result.size
        data[at] = old
