"""Fragments: what they make when they are whole, and that what is never whole is bounded and counted."""

import random
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest
from capture.frames import ETHER
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, fragment6
from scapy.layers.l2 import GRE, Dot1Q
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from vermilion_capture.fragments import Fragments
from vermilion_capture.items import Item, Origin
from vermilion_capture.sieve import Sieve

ORIGIN = Origin("sensor", "run", True)
SECOND = 1_000_000
V4 = IP(src="192.0.2.1", dst="198.51.100.2", ttl=57, id=0x1234)
V6 = IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=61)
BODY = bytes(range(256)) * 2
DATA = TCP(sport=40000, dport=443, seq=7, flags="PA") / Raw(BODY)
DATAGRAM = UDP(sport=40000, dport=443) / Raw(BODY)


def pieces(packet: Packet, size: int = 136) -> list[Packet]:
    """The packet in fragments of so many bytes of it."""
    if isinstance(packet, IP):
        return list(fragment(packet, fragsize=size))  # type: ignore[no-untyped-call]
    head = packet.copy()
    data = bytes(head[IPv6ExtHdrFragment].payload)
    kind = head[IPv6ExtHdrFragment].nh
    head[IPv6ExtHdrFragment].remove_payload()
    out = []
    for at in range(0, len(data), size):
        one = head.copy()
        one[IPv6ExtHdrFragment].offset, one[IPv6ExtHdrFragment].m = at // 8, int(at + size < len(data))
        one[IPv6ExtHdrFragment].nh = kind
        out.append(one / Raw(data[at : at + size]))
    return out


def inside(around: tuple[Packet, ...], packet: Packet) -> bytes:
    """The frame of a packet within others."""
    for head in reversed(around):
        packet = head / packet
    return bytes(ETHER / packet)


def taken(sieve: Sieve, frames: Sequence[Packet | bytes], time: int = 0) -> list[Item]:
    made = [
        sieve.frame(one if isinstance(one, bytes) else bytes(ETHER / one), 1, time, ORIGIN) for one in frames
    ]
    return [one for one in made if one is not None]


def told(packet: Packet | bytes) -> dict[str, Any]:
    """What is published of a packet."""
    (one,) = taken(Sieve(), [packet])
    return dict(one.record)


WHOLE = {
    "tcp": V4 / DATA,
    "udp": V4 / DATAGRAM,
    "options": IP(src="192.0.2.1", dst="198.51.100.2", options=[IPOption_NOP()] * 4) / DATA,
    "tcp6": V6 / IPv6ExtHdrFragment(id=5) / DATA,
    "udp6": V6 / IPv6ExtHdrFragment(id=5) / DATAGRAM,
    "extensions": V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrFragment(id=5) / IPv6ExtHdrDestOpt() / DATA,
    "gre": IP(src="203.0.113.1", dst="203.0.113.2") / GRE(key_present=1, key=5) / V4 / DATA,
    "vxlan": IP(src="203.0.113.1", dst="203.0.113.2")
    / UDP(sport=5, dport=4789) / VXLAN(flags=8, vni=5) / ETHER / Dot1Q(vlan=9) / V6 / DATA,
}  # fmt: skip
each = pytest.mark.parametrize("packet", WHOLE.values(), ids=WHOLE)


@each
@pytest.mark.parametrize("around", [(), (Dot1Q(vlan=5),), (Dot1Q(vlan=5), V4, GRE()), (V6, V4)])
def test_in_any_order_they_give_what_the_whole_packet_gives(
    packet: Packet, around: tuple[Packet, ...]
) -> None:
    parts = pieces(packet)
    assert len(parts) > 3
    expected = told(inside(around, packet))
    for number, order in enumerate(permutations(parts[:3])):
        sieve = Sieve()
        frames = [inside(around, part) for part in [*parts[3:], *order]]
        if number % 2:
            frames = [one for one in frames for _ in range(2)][:-1]  # each twice
        (one,) = taken(sieve, frames)
        assert one.record == expected
        assert sieve.counts == {"ip_fragment": len(frames) - 1, "kept": 1, "packets": len(frames)}
        assert (sieve.fragments.waiting, sieve.fragments.held) == (0, 0)


def test_fragments_of_a_fragment_in_a_tunnel() -> None:
    outer = IP(src="203.0.113.1", dst="203.0.113.2")
    parts = [
        part
        for number, inner in enumerate(pieces(V4 / DATA, 264))
        for part in pieces(IP(src=outer.src, dst=outer.dst, id=number) / GRE() / inner, 64)
    ]
    random.Random(1).shuffle(parts)
    sieve = Sieve()
    (one,) = taken(sieve, parts)
    expected = told(outer / GRE() / V4 / DATA)
    assert one.record == expected
    assert sieve.fragments.held == 0


def test_an_overlap_drops_all_of_the_packet() -> None:
    for packet in (V4 / DATA, V6 / IPv6ExtHdrFragment(id=5) / DATA):
        parts = pieces(packet)
        other = parts[1].copy()
        if isinstance(packet, IP):
            other.frag -= 1
        else:
            other[IPv6ExtHdrFragment].offset -= 1
        changed = parts[1].copy()
        changed[Raw].load = bytes(len(changed[Raw].load))
        for strange in (other, changed):
            for order in ([parts[0], strange, *parts], [*parts[:2], strange, *parts[2:]], [strange, *parts]):
                sieve = Sieve()
                assert taken(sieve, order) == []
                assert sieve.counts["fragments_overlapping"] == 1
                assert sieve.counts["ip_fragment"] == len(order)
                # Another packet of that identification, a minute later.
                assert len(taken(sieve, parts, 61 * SECOND)) == 1


def v4(offset: int, size: int, more: bool) -> Packet:
    return IP(src=V4.src, dst=V4.dst, proto=17, id=9, frag=offset, flags="MF" if more else 0) / Raw(
        bytes(size)
    )


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([v4(0, 12, True)], "fragments_malformed"),
        ([v4(0, 0, True)], "fragments_malformed"),
        ([v4(2, 0, False)], "fragments_malformed"),
        ([v4(8, 8, False), v4(9, 8, True)], "fragments_malformed"),
        ([v4(8, 8, False), v4(10, 8, False)], "fragments_malformed"),
        ([v4(9, 8, True), v4(5, 8, False)], "fragments_malformed"),
        ([v4(8191, 16, False)], "fragments_malformed"),
        ([v4(0, 8, True), v4(8190, 15, False), *(v4(at, 8 * 431, True) for at in range(1, 8190, 431))],
         "fragments_malformed"),  # 65,535 bytes, and a header before them
        ([bytes(ETHER / v4(0, 80, True))[:-1]], "fragments_cut"),
        ([v4(0, 16, True), v4(1, 16, True)], "fragments_overlapping"),
        ([v4(1, 8, True), v4(0, 24, True)], "fragments_overlapping"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_packet_is_given_up_at_once(parts: Sequence[Packet | bytes], why: str) -> None:
    sieve = Sieve()
    assert taken(sieve, parts) == []
    assert {name for name in sieve.counts if name.startswith("fragments")} == {why}
    assert sieve.counts[why] == 1
    assert sieve.fragments.held < 1000


def test_the_longest_packet() -> None:
    whole = UDP(sport=1, dport=2) / Raw(bytes(65_535 - 28))
    for order in (1, -1):
        (one,) = taken(Sieve(depth=0), list(pieces(V4 / whole, 1480))[::order])
        assert len(one.record["payload"]) == 65_535 - 28


def test_what_is_not_whole_is_bounded_in_time_number_and_bytes() -> None:
    first = pieces(V4 / DATA)[0]

    def of(number: int) -> Packet:
        part = first.copy()
        part.id = number
        return part

    sieve = Sieve()
    taken(sieve, [of(1)])
    taken(sieve, [of(2)], 60 * SECOND)
    assert (sieve.fragments.waiting, sieve.counts.get("fragments_timed_out")) == (2, None)
    taken(sieve, [of(3)], 60 * SECOND + 1)
    assert (sieve.fragments.waiting, sieve.counts["fragments_timed_out"]) == (2, 1)
    few = Sieve(fragments=Fragments(datagrams=10))
    taken(few, [of(number) for number in range(100)])
    assert (few.fragments.waiting, few.counts["fragments_evicted"]) == (10, 90)
    small = Sieve(fragments=Fragments(room=10_000))
    taken(small, [of(number) for number in range(100)])
    assert small.fragments.held <= 10_000
    assert small.counts["fragments_evicted"] + small.fragments.waiting == 100
    (one,) = taken(small, list(pieces(V4 / DATA)))
    assert one.record["payload"] == BODY


def test_other_packets_fragments_are_not_mixed() -> None:
    """Of another identification, protocol, address, tag or tunnel."""
    parts = pieces(V4 / DATA)
    for field, value in (("id", 1), ("proto", 17), ("src", "192.0.2.9"), ("dst", "192.0.2.9")):
        other = parts[-1].copy()
        setattr(other, field, value)
        sieve = Sieve()
        assert taken(sieve, [*parts[:-1], other]) == []
        assert sieve.fragments.waiting == 2
    for head in (Dot1Q(vlan=5), V4 / GRE(), V6):
        sieve = Sieve()
        assert taken(sieve, [*parts[:-1], head / parts[-1]]) == []
        assert sieve.fragments.waiting == 2


def test_scapy_agrees_on_ipv6() -> None:
    whole = V6 / IPv6ExtHdrFragment(id=77) / UDP(sport=1, dport=2) / Raw(bytes(5000))
    (one,) = taken(Sieve(), fragment6(whole, 1280))  # type: ignore[no-untyped-call]
    assert len(one.record["payload"]) == 5000


@each
def test_every_truncation_and_corruption(packet: Packet) -> None:
    draw = random.Random(2)
    parts = [bytes(ETHER / part) for part in pieces(packet)]
    sieve = Sieve(fragments=Fragments(room=100_000))
    for number in range(len(parts)):
        for end in range(0, len(parts[number]), 7):
            taken(sieve, [part[:end] if i == number else part for i, part in enumerate(parts)])
    for _ in range(100):
        frames = [bytearray(part) for part in parts]
        for frame in frames:
            frame[draw.randrange(14, len(frame))] = draw.randrange(256)
        for item in taken(sieve, [bytes(frame) for frame in frames]):
            assert len(item.record["payload"]) <= sum(map(len, frames))
        assert 0 <= sieve.fragments.held <= 100_000
