"""Tunnels: what is found inside, what is told of them, and what is none. scapy is the oracle."""

import random
import struct
from collections.abc import Callable
from typing import Any

import pytest
from capture.frames import ETHER
from scapy.contrib.geneve import GENEVE
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import ARP, GRE, Dot1AD, Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from vermilion_capture.heads import FlowHeads
from vermilion_capture.packet import BAD, CUT, EMPTY, NOT_IP, OTHER_PROTOCOL, TOO_DEEP, Segment, segment
from vermilion_capture.tunnels import KINDS, Around

A, B = b"\xcb\0\x71\1", b"\xcb\0\x71\2"
A6, B6 = (bytes.fromhex("20010db8") + bytes(11) + bytes([end]) for end in (1, 2))
OUTER = IP(src="203.0.113.1", dst="203.0.113.2", ttl=9)
OUTER6 = IPv6(src="2001:db8::1", dst="2001:db8::2")
V4 = IP(src="192.0.2.1", dst="198.51.100.2", ttl=57, id=0x1234)
V6 = IPv6(src="2001:db8:1::1", dst="2001:db8:1::2", hlim=57)
DATA = TCP(sport=40000, dport=443, seq=7, ack=9, flags="PA", window=500) / Raw(b"hello")
INNER = V4 / DATA
INNER6 = V6 / IPv6ExtHdrDestOpt() / DATA
ARP_PACKET = ARP(psrc="192.0.2.1", pdst="192.0.2.2", hwsrc="02:00:00:00:00:01")
FRAME = Ether(src="02:00:00:00:00:03", dst="0a:00:00:00:00:04") / INNER
ERSPAN_2 = struct.pack("!HHI", 0x1000 | 7, 300, 0)


def udp(port: int) -> UDP:
    return UDP(sport=50001, dport=port)


def gtp(**fields: Any) -> GTP_U_Header:
    return GTP_U_Header(teid=0xDEADBEEF, gtp_type=255, **fields)


ETHERNET_IN: dict[str, tuple[Packet, list[Around]]] = {
    "gre": (OUTER / GRE(proto=0x6558), [Around("gre", A, B, None)]),
    "nvgre": (OUTER / GRE(proto=0x6558, key_present=1, key=0x123456FF), [Around("gre", A, B, 0x123456FF)]),
    "vxlan": (OUTER / udp(4789) / VXLAN(flags=8, vni=0xABCDEF), [Around("vxlan", A, B, 0xABCDEF)]),
    "linux": (OUTER6 / udp(8472) / VXLAN(flags=8, vni=1), [Around("vxlan", A6, B6, 1)]),
    "policy": (OUTER / udp(4789) / VXLAN(flags=0x88, gpid=77, vni=5), [Around("vxlan", A, B, 5)]),
    "geneve": (OUTER / udp(6081) / GENEVE(vni=9, proto=0x6558), [Around("geneve", A, B, 9)]),
    "erspan1": (OUTER / GRE(proto=0x88BE), [Around("erspan", A, B, None)]),
    "erspan2": (
        OUTER / GRE(proto=0x88BE, seqnum_present=1, sequence_number=3) / Raw(ERSPAN_2),
        [Around("erspan", A, B, 300)],
    ),
    "pseudowire": (MPLS(label=17, s=1) / Raw(b"\0\0\0\1"), [Around("mpls", b"", b"", 17)]),
    "no control word": (MPLS(label=18, s=1), [Around("mpls", b"", b"", 18)]),
}
IP_IN: dict[str, tuple[Packet, list[Around]]] = {
    "ipip": (OUTER, [Around("ipip", A, B, None)]),
    "ipip6": (OUTER6, [Around("ipip", A6, B6, None)]),
    "gre": (OUTER / GRE(), [Around("gre", A, B, None)]),
    "gre6": (OUTER6 / GRE(key_present=1, key=0), [Around("gre", A6, B6, 0)]),
    "gre all": (
        OUTER / GRE(chksum_present=1, key_present=1, seqnum_present=1, key=0xFFFFFFFF, sequence_number=3),
        [Around("gre", A, B, 0xFFFFFFFF)],
    ),
    "geneve": (OUTER / udp(6081) / GENEVE(vni=0), [Around("geneve", A, B, 0)]),
    "gtp": (OUTER / udp(2152) / gtp(), [Around("gtp-u", A, B, 0xDEADBEEF)]),
    "gtp sequence": (OUTER / udp(2152) / gtp(S=1, seq=5), [Around("gtp-u", A, B, 0xDEADBEEF)]),
    "gtp extended": (
        OUTER / udp(2152) / gtp(E=1, next_ex=0x85) / GTPPDUSessionContainer(type=1, QFI=9),
        [Around("gtp-u", A, B, 0xDEADBEEF)],
    ),
    "mpls": (MPLS(label=16, s=0) / MPLS(label=99, s=1), [Around("mpls", b"", b"", 16)]),
    "mpls in gre": (
        OUTER / GRE(proto=0x8847) / MPLS(label=5, s=1),
        [Around("gre", A, B, None), Around("mpls", b"", b"", 5)],
    ),
    "pppoe": (PPPoE(sessionid=0x17F) / PPP(), [Around("pppoe", b"", b"", 0x17F)]),
    "tagged pppoe": (
        Dot1AD(vlan=7) / Dot1Q(vlan=8) / PPPoE(sessionid=1) / PPP(),
        [Around("pppoe", b"", b"", 1)],
    ),
}  # fmt: skip
ALL = [
    *((f"{name} with a frame", head / FRAME, around) for name, (head, around) in ETHERNET_IN.items()),
    *((f"{name} with IPv4", head / INNER, around) for name, (head, around) in IP_IN.items()),
    *((f"{name} with IPv6", head / INNER6, around) for name, (head, around) in IP_IN.items()),
]
each = pytest.mark.parametrize(("packet", "around"), [one[1:] for one in ALL], ids=[one[0] for one in ALL])
OFTEN = Dot1Q(vlan=4) / OUTER / udp(4789) / VXLAN(flags=8, vni=3) / ETHER / Dot1Q(vlan=5) / OUTER6 / GRE()
DEEP = OFTEN / OUTER / GRE(proto=0x8847) / MPLS(label=9, s=1)


def frame(packet: Packet) -> bytes:
    return bytes(ETHER / packet)


def found(data: bytes) -> Segment:
    result = segment(data)
    assert isinstance(result, Segment), result
    return result


@each
@pytest.mark.parametrize("padding", [0, 20])
def test_the_segment_inside_and_what_is_around(packet: Packet, around: list[Around], padding: int) -> None:
    one = found(frame(packet) + bytes(padding))
    assert (one.src_port, one.dst_port, one.seq, one.ack, one.window) == (40000, 443, 7, 9, 500)
    assert (one.payload, one.size, one.ttl) == (b"hello", 5, 57)
    assert one.src_ip in (b"\xc0\0\2\1", bytes.fromhex("20010db80001") + bytes(9) + b"\1")
    assert one.tunnels == tuple(around)
    networks = [each.id for each in around if each.kind in ("vxlan", "geneve")]
    assert one.vni == (networks[-1] if networks else None)
    assert one.vlans == tuple(layer.vlan for layer in packet.iterpayloads() if isinstance(layer, Dot1Q))


@each
def test_a_datagram_inside(packet: Packet, around: list[Around]) -> None:
    packet = packet.copy()
    packet[TCP].underlayer.payload = UDP(sport=1, dport=53) / Raw(b"query")
    for layer in packet.iterpayloads():
        if isinstance(layer, IP) and layer.proto == 6:
            layer.proto = 17
        elif layer.fields.get("nh") == 6:
            layer.nh = 17
    one = found(frame(packet))
    assert (one.transport, one.payload, one.tunnels) == (17, b"query", tuple(around))


@each
def test_every_truncation(packet: Packet, around: list[Around]) -> None:
    """Where the segment is cut off, nothing is made up; of a tunnel in UDP its datagram may be told."""
    data = frame(packet)
    for end in range(len(data) - 5):
        result = segment(data[:end])
        if isinstance(result, Segment):
            assert result.transport == 17
            assert UDP in packet
            assert result.payload == b"" or data[:end].endswith(result.payload)
        else:
            assert result in (CUT, NOT_IP)
    for cut in range(1, 6):
        assert (found(data[:-cut]).payload, found(data[:-cut]).size) == (b"hello"[: 5 - cut], 5)


@each
def test_what_is_inside_ends_where_its_outer_packet_does(packet: Packet, around: list[Around]) -> None:
    """A forged length reaches into the padding, not into a tunnel's packet."""
    whole = bytes(ETHER / packet) + bytes(100)
    for inner in (IP, IPv6):
        lengths = [layer for layer in packet.iterpayloads() if isinstance(layer, inner)]
        if not lengths or lengths[-1].payload.name not in (
            "TCP",
            "IPv6 Extension Header - Destination Options Header",
        ):
            continue
        at = whole.index(bytes(lengths[-1]))
        field = at + (2 if inner is IP else 4)
        told = int.from_bytes(whole[field : field + 2], "big")
        forged = whole[:field] + (told + 1).to_bytes(2, "big") + whole[field + 2 :]
        outermost = around[0].kind == "mpls"  # nothing around it has a length
        result = segment(forged)
        if outermost:
            assert isinstance(result, Segment)
        else:
            assert result == BAD
        # Offload leaves no length: then the outer packet's end is the inner one's.
        absent = whole[:field] + bytes(2) + whole[field + 2 :]
        if not outermost:
            assert (found(absent).payload, found(absent).size) == (b"hello", 5)


@each
def test_corrupted_headers_never_give_more_than_is_there(packet: Packet, around: list[Around]) -> None:
    draw = random.Random(len(around[0].kind))
    data = bytearray(frame(packet))
    for _ in range(2000):
        at, value = draw.randrange(12, len(data)), draw.randrange(256)
        old, data[at] = data[at], value
        result = segment(bytes(data))
        if isinstance(result, Segment):
            assert bytes(data).find(result.payload) >= 0
            assert 0 <= len(result.payload) <= result.size
            assert all(each.kind in KINDS for each in result.tunnels)
        data[at] = old


def test_tunnels_in_tunnels_up_to_four() -> None:
    one = found(frame(DEEP / INNER))
    assert [each.kind for each in one.tunnels] == ["vxlan", "gre", "gre", "mpls"]
    assert (one.vlans, one.vni, one.payload) == ((4, 5), 3, b"hello")
    assert one.tunnels[1] == Around("gre", A6, B6, None)
    for head in (OUTER, OUTER / GRE(), OUTER / udp(4789) / VXLAN(flags=8) / ETHER):
        assert segment(frame(DEEP / head / INNER)) == TOO_DEEP
    for depth in range(5, 50, 5):
        packet: Packet = INNER
        for _ in range(depth):
            packet = OUTER / packet
        assert segment(frame(packet)) == TOO_DEEP


def test_tags_are_bounded_over_all_frames_together() -> None:
    packet: Packet = INNER
    for vlan in range(5):
        packet = Dot1Q(vlan=vlan) / packet
    packet = OUTER / GRE(proto=0x6558) / Ether(src="02:00:00:00:00:03", dst="02:00:00:00:00:04") / packet
    for vlan in range(5):
        packet = Dot1Q(vlan=vlan) / packet
    assert segment(frame(packet)) == BAD


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (OUTER / GRE(version=1, proto=0x880B, key_present=1), OTHER_PROTOCOL),  # PPTP's
        (OUTER / GRE(routing_present=1), OTHER_PROTOCOL),
        (OUTER / GRE(strict_route_source=1), OTHER_PROTOCOL),
        (OUTER / GRE(proto=0x0806), NOT_IP),
        (OUTER / GRE(proto=0x6558) / ETHER / ARP_PACKET, NOT_IP),
        (OUTER / udp(4789) / VXLAN(flags=8) / ETHER / Raw(b"x"), NOT_IP),
        (PPPoE() / PPP(proto=0xC021), NOT_IP),
        (PPPoE(code=9), BAD),
        (PPPoE(version=2) / PPP(), BAD),
        (PPPoE(len=1) / PPP(), BAD),
        (OUTER / PPPoE(len=9000), OTHER_PROTOCOL),
        (MPLS(label=1, s=1) / Raw(b"\x10\0\0\x57"), NOT_IP),  # RFC 4385 5: an associated channel
        (OUTER / GRE(proto=0x8847) / MPLS(label=1, s=1), BAD),
        (OUTER / GRE(proto=0x6558) / Raw(bytes(13)), BAD),
        (IP(src="203.0.113.1", dst="203.0.113.2", proto=47) / Raw(b"\0\0\x08"), BAD),
        (IP(src="203.0.113.1", dst="203.0.113.2", proto=47) / Raw(b"\x20\0\x08\0"), BAD),
        (IP(src="203.0.113.1", dst="203.0.113.2", proto=4), BAD),
    ],
)  # fmt: skip
def test_what_is_no_flow_in_a_tunnel(head: Packet, why: str) -> None:
    assert segment(frame(head)) == why or segment(frame(head / INNER)) == why


def test_labels_without_end_are_none() -> None:
    packet: Packet = INNER
    for label in range(40):
        packet = MPLS(label=label, s=label == 0) / packet
    assert segment(frame(packet)) == BAD


def vxlan(data: bytes) -> bytes:
    return bytes.fromhex("0800000000000100") + data


@pytest.mark.parametrize(
    ("port", "payload"),
    [
        (4789, b"question"),
        (4789, vxlan(bytes(13))),
        (4789, b"\0" + vxlan(bytes(ETHER / INNER))[1:]),
        (4789, b"\x0c" + vxlan(bytes(ETHER / INNER))[1:]),
        (4789, vxlan(bytes(ETHER / INNER))[:7] + b"\1" + bytes(ETHER / INNER)),
        (4789, b"\x08\1\0\0" + vxlan(bytes(ETHER / INNER))[4:]),
        (8472, b"short"),
        (6081, b"\x40\0\x08\0\0\0\0\0" + bytes(INNER)),
        (6081, b"\0\0\0\x08\0\0\0\0" + bytes(INNER)),
        (6081, b"\0\1\x08\0\0\0\0\0" + bytes(INNER)),
        (6081, b"\0\0\x08\0\0\0\0\1" + bytes(INNER)),
        (6081, b"\x3f\0\x08\0\0\0\0\0" + bytes(INNER)),
        (2152, bytes(gtp() / INNER).replace(b"\x30\xff", b"\x32\x01")),  # an echo request
        (2152, b"\x50" + bytes(gtp() / INNER)[1:]),
        (2152, b"\x20" + bytes(gtp() / INNER)[1:]),
        (2152, bytes(gtp() / Raw(b"\x50" + bytes(30)))),
        (2152, bytes(gtp(length=500) / INNER)),
        (2152, bytes(gtp(length=0) / INNER)),
        (2152, bytes.fromhex("34ff000400000001000000 85".replace(" ", ""))),
        (2152, bytes.fromhex("34ff00080000000100000085") + b"\0\0\0\0"),
        (2152, bytes.fromhex("34ff00080000000100000085") + b"\2\0\0\0"),
        (2152, bytes.fromhex("34ff008c0000000100000085") + b"\1\0\0\x85" * 34),
        (53, vxlan(bytes(ETHER / INNER))),
    ],
)
def test_a_datagram_on_a_tunnels_port_that_is_none_is_a_datagram(port: int, payload: bytes) -> None:
    one = found(frame(OUTER / udp(port) / Raw(payload)))
    assert (one.transport, one.dst_port, one.payload, one.tunnels, one.vni) == (17, port, payload, (), None)


def test_only_the_port_it_is_sent_to_makes_a_tunnel() -> None:
    one = found(frame(OUTER / UDP(sport=4789, dport=40000) / Raw(vxlan(bytes(ETHER / INNER)))))
    assert (one.transport, one.tunnels) == (17, ())
    assert segment(frame(OUTER / udp(4789))) == EMPTY


def turned(packet: Packet) -> Packet:
    """The same in the other direction."""
    packet = packet.copy()
    for layer in (packet, *packet.iterpayloads()):
        if isinstance(layer, IP | IPv6):
            layer.src, layer.dst = layer.dst, layer.src
        elif isinstance(layer, TCP):
            layer.sport, layer.dport = layer.dport, layer.sport
    return packet


def of_one_flow(one: Packet, other: Packet) -> bool:
    heads = FlowHeads()
    first, second = heads.keep(found(frame(one))), heads.keep(found(frame(other)))
    assert first is not None
    assert second is not None
    assert first.ordinal == 0
    return second.ordinal == 1


@each
def test_both_directions_are_one_flow_and_no_other_is(packet: Packet, around: list[Around]) -> None:
    assert of_one_flow(packet, turned(packet))
    assert of_one_flow(turned(packet), packet)
    assert not of_one_flow(packet, INNER6 if len(found(frame(packet)).src_ip) == 16 else INNER)
    assert not of_one_flow(packet, Dot1Q(vlan=3) / packet)
    if around[0].src_ip:
        elsewhere = packet.copy()
        if len(around[0].src_ip) == 4:
            elsewhere[IP].src = "203.0.113.9"
        else:
            elsewhere[IPv6].src = "2001:db8::9"
        assert not of_one_flow(packet, elsewhere)


def with_id(layer: type[Packet], **fields: int) -> Callable[[Packet], Packet]:
    def change(packet: Packet) -> Packet:
        packet = packet.copy()
        for name, value in fields.items():
            setattr(packet[layer], name, value)
        return packet

    return change


@pytest.mark.parametrize(
    ("packet", "change", "same"),
    [
        (ETHERNET_IN["vxlan"][0] / FRAME, with_id(VXLAN, vni=4), False),
        (ETHERNET_IN["geneve"][0] / FRAME, with_id(GENEVE, vni=4), False),
        (IP_IN["gre all"][0] / INNER, with_id(GRE, key=4), False),
        (IP_IN["gre all"][0] / INNER, with_id(GRE, sequence_number=4), True),
        (IP_IN["pppoe"][0] / INNER, with_id(PPPoE, sessionid=4), False),
        # Each direction has its own.
        (IP_IN["gtp"][0] / INNER, with_id(GTP_U_Header, teid=4), True),
        (IP_IN["mpls"][0] / INNER, with_id(MPLS, label=4), True),
        # A tunnel's outer port is drawn from the inner flow, by direction.
        (ETHERNET_IN["vxlan"][0] / FRAME, with_id(UDP, sport=4), True),
    ],
)
def test_which_ids_tell_flows_apart(packet: Packet, change: Callable[[Packet], Packet], same: bool) -> None:
    assert of_one_flow(packet, change(packet)) is same


def test_the_order_of_tags_and_of_tunnels_tells_flows_apart() -> None:
    gre, ipip = OUTER / GRE(), OUTER
    assert not of_one_flow(gre / ipip / INNER, ipip / gre / INNER)
    assert not of_one_flow(Dot1Q(vlan=1) / Dot1Q(vlan=2) / INNER, Dot1Q(vlan=2) / Dot1Q(vlan=1) / INNER)
    assert not of_one_flow(Dot1Q(vlan=1) / INNER, Dot1Q(vlan=1) / Dot1Q(vlan=0) / INNER)
    assert of_one_flow(Dot1Q(vlan=1) / INNER, turned(Dot1Q(vlan=1) / INNER))
