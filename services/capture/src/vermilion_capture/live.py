"""Frames from a network interface, by a packet socket. Linux only.

Source: packet(7): PACKET_AUXDATA (VLAN tags that the kernel took out), PACKET_STATISTICS.
"""

import contextlib
import socket
import struct
from collections.abc import Iterator, Mapping

from vermilion_capture.frame import MAX_CAPTURED, CaptureError, Frame

_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_PACKET_AUXDATA = 8
_SO_TIMESTAMPNS = 35
_PACKET_OUTGOING = 4
_VLAN_VALID = 1 << 4
_VLAN_TPID_VALID = 1 << 6
_TPID_CUSTOMER = 0x8100
# status, len, snaplen, mac, net, vlan_tci, vlan_tpid
_AUXDATA = struct.Struct("=IIIHHHH")
_STATISTICS = struct.Struct("=II")
_TIMESPEC = struct.Struct("@ll")
_ETHERNET, _RAW_IP = 1, 101
# ARPHRD_ETHER, ARPHRD_LOOPBACK; ARPHRD_PPP, ARPHRD_NONE (tun)
_LOOPBACK = 772
_LINK_TYPES = {1: _ETHERNET, _LOOPBACK: _ETHERNET, 512: _RAW_IP, 65534: _RAW_IP}
_BUFFER = 1 << 25
_TICK_SECONDS = 1.0


class Interface:
    """Frames as they pass an interface. Iterating gives None when none came for a second.

    ``size`` and ``consumed`` are a file's; here they are 0. ``dropped``: frames that the kernel
    had no room for, once it is closed.
    """

    size = consumed = 0

    def __init__(self, name: str) -> None:
        """Open a packet socket on interface ``name``. Raises CaptureError."""
        self.name = name
        self.dropped = 0
        if not hasattr(socket, "AF_PACKET"):
            raise CaptureError(f"{name}: interfaces are read on Linux only; scan a file that tcpdump wrote")
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except PermissionError:
            raise CaptureError(
                f"{name}: no right to capture; run it as root or with CAP_NET_RAW (setpriv, sudo)"
            ) from None
        except OSError as error:
            raise CaptureError(f"{name}: {error.strerror}") from None
        try:
            self._socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._socket.settimeout(_TICK_SECONDS)
            self._socket.bind((name, _ETH_P_ALL))
        except OSError as error:
            self.close()
            there = ", ".join(sorted(each for _, each in socket.if_nameindex()))
            raise CaptureError(f"{name}: {error.strerror}; interfaces here: {there}") from None

    def __iter__(self) -> Iterator[Frame | None]:
        """Frames, until the interface goes. Raises CaptureError."""
        while True:
            try:
                data, extra, _, address = self._socket.recvmsg(MAX_CAPTURED, 256)
            except TimeoutError:
                yield None
                continue
            except OSError as error:
                raise CaptureError(f"{self.name}: {error.strerror}") from None
            _, _, direction, hardware, _ = address
            if hardware == _LOOPBACK and direction == _PACKET_OUTGOING:
                continue  # each of its frames passes twice
            link_type = _LINK_TYPES.get(hardware)
            if link_type is None:
                raise CaptureError(f"{self.name}: hardware type {hardware} (ARPHRD) is not read")
            time, tag = _ancillary(extra)
            if tag:
                data = data[:12] + tag + data[12:]
            yield Frame(time, data, len(data), link_type)

    @property
    def drops(self) -> Mapping[str, int]:
        """Frames that the kernel had no room for; known once it is closed."""
        return {"kernel": self.dropped}

    def close(self) -> None:
        """Close the socket; ``dropped`` is known then."""
        with contextlib.suppress(OSError):
            _, self.dropped = _STATISTICS.unpack(self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._socket.close()


def _ancillary(extra: list[tuple[int, int, bytes]]) -> tuple[int, bytes]:
    """The frame's time in microseconds, and the VLAN tag that the kernel took out of it."""
    time, tag = 0, b""
    for level, kind, data in extra:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
            time = seconds * 1_000_000 + nanoseconds // 1000
        elif (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = _AUXDATA.unpack(data[: _AUXDATA.size])
            if status & _VLAN_VALID:
                tag = struct.pack("!HH", tpid if status & _VLAN_TPID_VALID else _TPID_CUSTOMER, tci)
    return time, tag
