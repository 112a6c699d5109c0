"""Records encoded straight from a segment are what the general encoder makes of them."""

from pathlib import Path
from typing import Any

import pytest
from capture.frames import ETHER
from capture.test_tunnels import ALL
from fingerprint.hellos import ROOT
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Dot1Q
from scapy.packet import Packet, Raw

from vermilion_capture.items import Item, Origin, agrees, segment_item
from vermilion_capture.packet import Segment, segment
from vermilion_capture.source import FileSource
from vermilion_capture.tunnels import Around
from vermilion_pipeline.codec import Codec
from vermilion_pipeline.topics import PAYLOADS, SENSORS

CODEC = Codec()
HEADER, ENCODE, DECODE = CODEC.header(PAYLOADS), CODEC.encoder(PAYLOADS), CODEC.decoder(PAYLOADS)
U16, U32, I64 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.integers(-(1 << 63), (1 << 63) - 1)


def both_ways(item: Item) -> None:
    value = item.encoded(HEADER, ENCODE)
    assert value == ENCODE(item.record)
    assert DECODE(value) == item.record
    assert item.encoded(None, ENCODE) == value


@pytest.mark.parametrize("capture", sorted((ROOT / "tests/data").glob("*.pcap")), ids=lambda path: path.stem)
def test_of_captures(capture: Path) -> None:
    for item in FileSource(capture, "a sensor"):
        both_ways(item)


@given(
    st.text(st.characters(codec="utf-8"), max_size=300), st.booleans(), I64, st.integers(0, (1 << 63) - 1),
    U16, U32, U32, U16, st.binary(max_size=20_000), st.integers(0, 1 << 40),
    st.lists(st.integers(0, 0xFFF), max_size=8), st.booleans(), st.integers(0, 255), st.booleans(),
)  # fmt: skip
def test_of_anything(
    sensor: str, replayed: bool, time: int, ordinal: int, port: int, seq: int, ack: int, window: int,
    payload: bytes, missing: int, vlans: list[int], six: bool, flags: int, udp: bool,
) -> None:  # fmt: skip
    ip: Any = IPv6(src="2001:db8::1") if six else IP(src="192.0.2.1", ttl=port & 0xFF, id=port)
    tags: Any = ETHER
    for vlan in vlans:
        tags = tags / Dot1Q(vlan=vlan)
    tcp = TCP(
        sport=port, dport=443, seq=seq, ack=ack, window=window, flags=flags | 2, options=[("MSS", 1460)]
    )
    found = segment(bytes(tags / ip / (UDP(sport=port, dport=443) if udp else tcp) / Raw(b"x")))
    assert isinstance(found, Segment)
    both_ways(segment_item(b"k", Origin(sensor, "run", replayed), found, time, ordinal, payload, missing))


@pytest.mark.parametrize(("packet", "around"), [one[1:] for one in ALL], ids=[one[0] for one in ALL])
def test_of_tunnels(packet: Packet, around: list[Around]) -> None:
    found = segment(bytes(ETHER / packet))
    assert isinstance(found, Segment)
    item = segment_item(b"k", Origin("sensor", "run", True), found, 1, 2, b"payload", 3)
    both_ways(item)
    assert item.record["tunnels"] == [each._asdict() for each in around]


def test_of_as_much_as_can_be_around() -> None:
    """The numbers have a buffer of their own, which this fills the most."""
    outer = IPv6(src="2001:db8::1", dst="2001:db8::2")
    packet: Any = IPv6(src="2001:db8::3", dst="2001:db8::4", fl=0xFFFFF) / TCP(
        sport=65535,
        dport=65535,
        seq=0xFFFFFFFF,
        ack=0xFFFFFFFF,
        flags=0xFF,
        window=65535,
        options=[("NOP", None)] * 40,
    )
    for _ in range(4):
        packet = outer / GRE(key_present=1, key=0xFFFFFFFF) / packet
    for _ in range(8):
        packet = Dot1Q(vlan=4095) / packet
    found = segment(bytes(ETHER / packet))
    assert isinstance(found, Segment)
    assert (len(found.tunnels), len(found.vlans), len(found.options)) == (4, 8, 40)
    both_ways(segment_item(b"k", Origin("s", "r", True), found, -1 << 63, 1 << 62, b"", 1 << 62))


def test_another_schema_is_noticed() -> None:
    assert agrees(HEADER, ENCODE)
    assert not agrees(CODEC.header(SENSORS), ENCODE)
    assert not agrees(HEADER, lambda record: ENCODE(record) + b"\0")
