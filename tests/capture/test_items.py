"""Records encoded straight from a segment are what the general encoder makes of them."""

from pathlib import Path
from typing import Any

import pytest
from capture.frames import ETHER
from fingerprint.hellos import ROOT
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q
from scapy.packet import Raw

from vermilion_capture.items import Item, Origin, agrees, segment_item
from vermilion_capture.packet import Segment, segment
from vermilion_capture.source import FileSource
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
    st.lists(st.integers(0, 0xFFF), max_size=8), st.booleans(), st.integers(0, 255),
)  # fmt: skip
def test_of_anything(
    sensor: str, replayed: bool, time: int, ordinal: int, port: int, seq: int, ack: int, window: int,
    payload: bytes, missing: int, vlans: list[int], six: bool, flags: int,
) -> None:  # fmt: skip
    ip: Any = IPv6(src="2001:db8::1") if six else IP(src="192.0.2.1", ttl=port & 0xFF, id=port)
    tags: Any = ETHER
    for vlan in vlans:
        tags = tags / Dot1Q(vlan=vlan)
    tcp = TCP(
        sport=port, dport=443, seq=seq, ack=ack, window=window, flags=flags | 2, options=[("MSS", 1460)]
    )
    found = segment(bytes(tags / ip / tcp / Raw(b"x")))
    assert isinstance(found, Segment)
    both_ways(segment_item(b"k", Origin(sensor, "run", replayed), found, time, ordinal, payload, missing))
    datagram = segment(bytes(tags / ip / UDP(sport=port, dport=443) / Raw(b"x")))
    assert isinstance(datagram, Segment)
    both_ways(segment_item(b"k", Origin(sensor, "run", replayed), datagram, time, ordinal, payload, missing))


def test_another_schema_is_noticed() -> None:
    assert agrees(HEADER, ENCODE)
    assert not agrees(CODEC.header(SENSORS), ENCODE)
    assert not agrees(HEADER, lambda record: ENCODE(record) + b"\0")
