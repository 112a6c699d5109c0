"""How a switch's monitor port wraps the frames that it copies.

A new kind is a function and a line in ``MIRRORS``, or for a tunnel in ``TUNNELS``, of which one mirror uses
each in turn.

Sources: IEEE 802.1Q, RFC 2784 and 2890 (GRE), RFC 7348 (VXLAN), RFC 8926 (Geneve), RFC 2003 (IP in IP),
RFC 3032 and 4448 (MPLS), RFC 2516 (PPPoE), 3GPP TS 29.281 (GTP-U).
"""

import socket
import struct
from collections.abc import Callable, Mapping
from itertools import cycle
from typing import Any
from zlib import crc32

Mirror = Callable[[bytes], bytes]
"""From a frame on the wire to the frame on the monitor link."""

# IEEE 802.1Q-2022 table 9-1: the customer's tag, and the service provider's (802.1ad).
CUSTOMER, SERVICE = 0x8100, 0x88A8
IPV4, IPV6, MPLS, PPPOE = 0x0800, 0x86DD, 0x8847, 0x8864
_MAC_ADDRESSES = 12
_HEADER = 14
_MACS = bytes.fromhex("020000000102020000000101")
_ENDS = "192.0.2.101", "192.0.2.102"


def tagged(*tags: tuple[int, int]) -> Mirror:
    """A mirror that puts tags behind the MAC addresses: (TPID, VLAN id), outermost first."""
    inserted = b"".join(struct.pack("!HH", *tag) for tag in tags)

    def mirror(frame: bytes) -> bytes:
        return frame[:_MAC_ADDRESSES] + inserted + frame[_MAC_ADDRESSES:]

    return mirror


def ends(frame: bytes) -> tuple[bytes, bytes] | None:
    """Address and port of who sent a frame's packet, and of whom it is for; None of what is not IP."""
    kind = int.from_bytes(frame[_MAC_ADDRESSES:_HEADER], "big")
    if kind == IPV4:
        at, width, ports = _HEADER + 12, 4, _HEADER + (frame[_HEADER] & 15) * 4
    elif kind == IPV6:
        at, width, ports = _HEADER + 8, 16, _HEADER + 40
    else:
        return None
    one, two = frame[at : at + width], frame[at + width : at + 2 * width]
    return one + frame[ports : ports + 2], two + frame[ports + 2 : ports + 4]


def _upwards(frame: bytes) -> bool:
    """Which of the two directions it goes in."""
    found = ends(frame)
    return found is not None and found[0] < found[1]


def _sum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def in_ip(frame: bytes, protocol: int, body: bytes) -> bytes:
    """A frame with an IPv4 packet between the tunnel's ends, in the direction of ``frame``."""
    pair = [socket.inet_aton(end) for end in (_ENDS if _upwards(frame) else _ENDS[::-1])]
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0, *pair)
    header = header[:10] + _sum(header).to_bytes(2, "big") + header[12:]
    return _MACS + IPV4.to_bytes(2, "big") + header + body


def in_udp(frame: bytes, port: int, body: bytes) -> bytes:
    """The same with a datagram; its source port is drawn from the flow, by direction."""
    source = 0xC000 | crc32(repr(ends(frame)).encode()) & 0x3FFF
    return in_ip(frame, 17, struct.pack("!HHHH", source, port, 8 + len(body), 0) + body)


def _packet(frame: bytes) -> tuple[int, bytes]:
    return int.from_bytes(frame[_MAC_ADDRESSES:_HEADER], "big"), frame[_HEADER:]


def gre(frame: bytes) -> bytes:
    """GRE with a key and a sequence number, of the packet."""
    kind, packet = _packet(frame)
    return in_ip(frame, 47, struct.pack("!HHII", 0x3000, kind, 77, 5) + packet)


def gre_frame(frame: bytes) -> bytes:
    """GRE without options, of the frame."""
    return in_ip(frame, 47, struct.pack("!HH", 0, 0x6558) + frame)


def ipip(frame: bytes) -> bytes:
    """The packet as another one's payload."""
    kind, packet = _packet(frame)
    return in_ip(frame, 4 if kind == IPV4 else 41, packet)


def vxlan(frame: bytes) -> bytes:
    """VXLAN of the frame."""
    return in_udp(frame, 4789, struct.pack("!II", 0x08000000, 4242 << 8) + frame)


def geneve(frame: bytes) -> bytes:
    """Geneve of the frame, with an option of four bytes."""
    return in_udp(frame, 6081, struct.pack("!BBHIHBBI", 2, 0, 0x6558, 99 << 8, 0x0102, 3, 1, 7) + frame)


def gtp_u(frame: bytes) -> bytes:
    """GTP-U of the packet, each direction with a TEID of its own."""
    _, packet = _packet(frame)
    return in_udp(frame, 2152, struct.pack("!BBHI", 0x30, 0xFF, len(packet), 100 + _upwards(frame)) + packet)


def mpls(frame: bytes) -> bytes:
    """Two labels of each direction before the packet."""
    _, packet = _packet(frame)
    labels = struct.pack("!II", (200 + _upwards(frame)) << 12 | 64, 16 << 12 | 0x100 | 64)
    return _MACS + MPLS.to_bytes(2, "big") + labels + packet


def pseudowire(frame: bytes) -> bytes:
    """A label and a control word before the frame."""
    return _MACS + MPLS.to_bytes(2, "big") + struct.pack("!II", 300 << 12 | 0x100 | 64, 0) + frame


def pppoe(frame: bytes) -> bytes:
    """A session of an access line, in a VLAN."""
    kind, packet = _packet(frame)
    protocol = 0x0021 if kind == IPV4 else 0x0057
    session = struct.pack("!BBHHH", 0x11, 0, 0x17F, 2 + len(packet), protocol)
    return _MACS + struct.pack("!HHH", CUSTOMER, 5, PPPOE) + session + packet


def nested(frame: bytes) -> bytes:
    """VXLAN in GRE."""
    return gre_frame(vxlan(frame))


TUNNELS: Mapping[str, tuple[Mirror, list[dict[str, Any]], list[int]]] = {
    "gre": (gre, [{"kind": "gre", "id": 77}], []),
    "gre of frames": (gre_frame, [{"kind": "gre", "id": None}], []),
    "ipip": (ipip, [{"kind": "ipip", "id": None}], []),
    "vxlan": (vxlan, [{"kind": "vxlan", "id": 4242}], []),
    "geneve": (geneve, [{"kind": "geneve", "id": 99}], []),
    "gtp-u": (gtp_u, [{"kind": "gtp-u", "id": {True: 101, False: 100}}], []),
    "mpls": (mpls, [{"kind": "mpls", "id": {True: 201, False: 200}}], []),
    "pseudowire": (pseudowire, [{"kind": "mpls", "id": 300}], []),
    "pppoe": (pppoe, [{"kind": "pppoe", "id": 0x17F}], [5]),
    "nested": (nested, [{"kind": "gre", "id": None}, {"kind": "vxlan", "id": 4242}], []),
}
"""By name: the tunnel, what an event must tell of it (where each direction has an id, both), and VLANs."""


class InTurn:
    """A mirror that puts each flow in the next tunnel; ``chosen``: its name, by the flow's ends in order."""

    def __init__(self) -> None:
        self.chosen: dict[tuple[bytes, bytes], str] = {}
        self._next = cycle(TUNNELS)

    def __call__(self, frame: bytes) -> bytes:
        """The frame on the monitor link; what is not IP stays as it is."""
        if (found := ends(frame)) is None:
            return frame
        flow = min(found), max(found)
        if flow not in self.chosen:
            self.chosen[flow] = next(self._next)
        return TUNNELS[self.chosen[flow]][0](frame)


IN_TURN = InTurn()

MIRRORS: Mapping[str, tuple[Mirror, list[int]]] = {
    "untagged": (tagged(), []),
    "802.1Q": (tagged((CUSTOMER, 42)), [42]),
    "802.1ad": (tagged((SERVICE, 7), (CUSTOMER, 42)), [7, 42]),
    "tunnels": (IN_TURN, []),
}
"""By name: the mirror, and the VLAN ids that an event must tell, beside those of a tunnel."""
