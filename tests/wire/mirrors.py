"""How a switch's monitor port wraps the frames that it copies.

A new kind, a tunnel for one, is a function and a line in ``MIRRORS``.
"""

import struct
from collections.abc import Callable, Mapping

Mirror = Callable[[bytes], bytes]
"""From a frame on the wire to the frame on the monitor link."""

# IEEE 802.1Q-2022 table 9-1: the customer's tag, and the service provider's (802.1ad).
CUSTOMER, SERVICE = 0x8100, 0x88A8
_MAC_ADDRESSES = 12


def tagged(*tags: tuple[int, int]) -> Mirror:
    """A mirror that puts tags behind the MAC addresses: (TPID, VLAN id), outermost first."""
    inserted = b"".join(struct.pack("!HH", *tag) for tag in tags)

    def mirror(frame: bytes) -> bytes:
        return frame[:_MAC_ADDRESSES] + inserted + frame[_MAC_ADDRESSES:]

    return mirror


MIRRORS: Mapping[str, tuple[Mirror, list[int]]] = {
    "untagged": (tagged(), []),
    "802.1Q": (tagged((CUSTOMER, 42)), [42]),
    "802.1ad": (tagged((SERVICE, 7), (CUSTOMER, 42)), [7, 42]),
}
"""By name: the mirror, and the VLAN ids that an event must tell."""
