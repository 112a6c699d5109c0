"""Packet sockets: opening one, so that nothing is seen twice and nothing unwanted, and what it counts.

Sources: packet(7); Documentation/networking/packet_mmap.rst and filter.rst of the kernel.
"""

import contextlib
import ctypes
import fcntl
import mmap
import os
import socket
import stat
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vermilion_capture.frame import MAX_CAPTURED, CaptureError
from vermilion_capture.ring import BLOCK_HEADER, PACKET_HEADER, Block, Ring

SOCKETS = "VERMILION_PACKET_SOCKETS"
"""Environment: the descriptors that the launcher opened, as FIRST-LAST."""
LOOPBACK = 772
"""ARPHRD_LOOPBACK."""

Wanted = Callable[[bytes, int], bool]

_ETH_P_ALL = 3
_SOL_PACKET = 263
_ADD_MEMBERSHIP, _RX_RING, _STATISTICS, _AUXDATA = 1, 5, 6, 8
_VERSION, _FANOUT, _IGNORE_OUTGOING = 10, 18, 23
_TPACKET_V3 = 2
_MR_PROMISC = 1
# By the flow, the same for both directions. Not ROLLOVER: a full ring's flows would be torn apart.
_FANOUT_HASH, _FANOUT_UNIQUE, _FANOUT_DEFRAG = 0, 0x2000, 0x8000
_SO_ATTACH_FILTER, _SO_TIMESTAMPNS = 26, 35
_SIOCGIFFLAGS, _SIOCGIFMTU, _SIOCGIFHWADDR = 0x8913, 0x8921, 0x8927
_IFF_UP = 1
_RETURN = 0x06  # BPF_RET | BPF_K
_RETIRE_MS = 20
"""Milliseconds after which the kernel hands over a block that is not full."""
_BLOCK = 1 << 20
"""Bytes of a block; a frame has to fit: 64 KiB by segmentation offload, 512 KiB by BIG TCP."""
_BUFFER = 1 << 25
_BATCH = 256
_AUX = struct.Struct("=IIIHHHH")  # status, len, snaplen, mac, net, vlan_tci, vlan_tpid
_TIMESPEC = struct.Struct("@ll")
_BLOCK_HEAD = struct.Struct("=6I24x")
_PACKET_HEAD = struct.Struct("=6I2H2I2H8x")


@dataclass(frozen=True)
class Options:
    """How interfaces are read. ``snaplen``: bytes of a frame; ``ring_mib``: MiB of each ring."""

    bpf: str = ""
    promiscuous: bool = False
    snaplen: int = MAX_CAPTURED
    ring_mib: int = 64


def new_socket() -> socket.socket:
    """A packet socket that receives nothing yet: the launcher's, or one of our own. Raises CaptureError."""
    if not hasattr(socket, "AF_PACKET"):
        raise CaptureError("interfaces are read on Linux only; scan a file that tcpdump wrote")
    if os.environ.get(SOCKETS):
        return _inherited()
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError:
        raise CaptureError(
            "no right to capture: run vermilion-capture, which has CAP_NET_RAW (docs/capture.md), or as root"
        ) from None
    except OSError as error:
        raise CaptureError(f"no packet socket: {error.strerror}") from None


def _inherited() -> socket.socket:
    first, _, last = os.environ[SOCKETS].partition("-")
    try:
        number, end = int(first), int(last)
        mode = os.fstat(number).st_mode
        taken = socket.socket(fileno=number) if stat.S_ISSOCK(mode) else None
    except (ValueError, OSError) as error:
        raise CaptureError(f"{SOCKETS}={os.environ[SOCKETS]}: no packet sockets: {error}") from None
    os.environ[SOCKETS] = f"{number + 1}-{end}" if number < end else "0-0"
    if number == 0 or taken is None or taken.family != socket.AF_PACKET or taken.type != socket.SOCK_RAW:
        raise CaptureError(
            f"{SOCKETS} names no packet socket that is left: too many workers and interfaces, or an "
            "interface that was made anew too often; start it again"
        )
    taken.setblocking(True)
    os.set_inheritable(number, False)
    return taken


def attach(sock: socket.socket, program: Sequence[tuple[int, int, int, int]]) -> None:
    """Let the kernel run a filter program on what the socket would receive. Raises OSError."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in program))
    sock.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(code))
    )


def nothing(sock: socket.socket) -> None:
    """Let nothing more in."""
    attach(sock, [(_RETURN, 0, 0, 0)])


def cut(program: Sequence[tuple[int, int, int, int]], snaplen: int) -> list[tuple[int, int, int, int]]:
    """The program, which accepts ``snaplen`` bytes at most; without one, all frames."""
    return [
        (code, yes, no, min(operand, snaplen) if code == _RETURN else operand)
        for code, yes, no, operand in program or [(_RETURN, 0, 0, snaplen)]
    ]


class Reader:
    """One socket on one interface: what it gives are blocks, from a ring, or where there is none, its own."""

    def __init__(self, name: str, hardware: int, options: Options) -> None:
        """Open; ``bind`` comes next. Raises CaptureError, OSError."""
        self.socket = new_socket()
        try:
            nothing(self.socket)
            if hardware == LOOPBACK:  # each of its frames passes twice
                self.socket.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
            self._ring = self._map(options.ring_mib)
        except OSError as error:
            self.socket.close()
            raise CaptureError(f"{name}: {error.strerror}; Linux 4.20 or newer is needed") from None

    def _map(self, mebibytes: int) -> Ring | None:
        blocks = max(2, mebibytes * (1 << 20) // _BLOCK)
        try:
            self.socket.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
            # block size, blocks, frame size, frames; retire after, private area, feature bits
            request = struct.pack("@7I", _BLOCK, blocks, 2048, _BLOCK // 2048 * blocks, _RETIRE_MS, 0, 0)
            self.socket.setsockopt(_SOL_PACKET, _RX_RING, request)
            return Ring(mmap.mmap(self.socket.fileno(), _BLOCK * blocks), _BLOCK, blocks)
        except OSError:
            self.socket.setsockopt(_SOL_PACKET, _AUXDATA, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            return None

    @property
    def by_ring(self) -> bool:
        """Whether the kernel gave it a ring."""
        return self._ring is not None

    def bind(self, name: str, promiscuous: bool) -> None:
        """Listen on the interface. Raises OSError."""
        self.socket.bind((name, _ETH_P_ALL))
        if promiscuous:
            request = struct.pack("@iHH8s", socket.if_nametoindex(name), _MR_PROMISC, 0, b"")
            self.socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, request)

    def join(self, group: int | None) -> int:
        """Share the interface's flows with the others of the group, or of a new one; its number."""
        unique = _FANOUT_UNIQUE if group is None else 0
        kind = _FANOUT_HASH | _FANOUT_DEFRAG | unique
        self.socket.setsockopt(_SOL_PACKET, _FANOUT, struct.pack("=I", (group or 0) | kind << 16))
        return self.socket.getsockopt(_SOL_PACKET, _FANOUT) & 0xFFFF

    def next(self, link_type: int, longest: int, wanted: Wanted | None) -> Block | None:
        """The next block, good until the one after is asked for. Raises OSError."""
        if self._ring is not None:
            return self._ring.next(link_type, longest, wanted)
        packets: list[bytes] = []
        with contextlib.suppress(BlockingIOError):
            while len(packets) < _BATCH:
                packets.append(_packet(*self.socket.recvmsg(MAX_CAPTURED, 256, socket.MSG_DONTWAIT)[:2]))
        if not packets:
            return None
        body = b"".join(packets)
        head = _BLOCK_HEAD.pack(0, 0, 0, len(packets), BLOCK_HEADER, BLOCK_HEADER + len(body))
        return Block(head + body, link_type, longest, wanted)

    def dropped(self) -> int:
        """Packets for which there was no room, since the last time it was asked."""
        # struct tpacket_stats: packets, drops; the kernel sets both to 0.
        return int(struct.unpack_from("@II", self.socket.getsockopt(_SOL_PACKET, _STATISTICS, 12))[1])

    def close(self) -> None:
        """Close the socket."""
        self._ring = None  # the mapping, with the last block of it: the socket lives as long
        self.socket.close()


def _packet(data: bytes, extra: list[tuple[int, int, bytes]]) -> bytes:
    """A packet as it would lie in a block."""
    seconds = nanoseconds = status = tci = tpid = 0
    length = len(data)
    for level, kind, value in extra:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(value[: _TIMESPEC.size])
        elif (level, kind) == (_SOL_PACKET, _AUXDATA):
            status, length, _, _, _, tci, tpid = _AUX.unpack(value[: _AUX.size])
    size = PACKET_HEADER + len(data)
    return (
        _PACKET_HEAD.pack(
            size, seconds, nanoseconds, len(data), length, status, PACKET_HEADER, 0, 0, tci, tpid, 0
        )
        + data
    )


@dataclass(frozen=True)
class State:
    """What an interface is now: its number, ARPHRD type, MTU in bytes, and whether it is up."""

    index: int
    hardware: int
    mtu: int
    up: bool


def state(name: str) -> State | None:
    """An interface of this network namespace, which /sys may not show; None: there is none. netdevice(7)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as any_socket:

        def ask(request: int, layout: str) -> int:
            answer = fcntl.ioctl(any_socket, request, struct.pack("16s24x", os.fsencode(name)[:15]))
            return int(struct.unpack_from(layout, answer, 16)[0])

        try:
            return State(
                socket.if_nametoindex(name),
                ask(_SIOCGIFHWADDR, "=H"),
                ask(_SIOCGIFMTU, "=i"),
                bool(ask(_SIOCGIFFLAGS, "=H") & _IFF_UP),
            )
        except OSError:
            return None
