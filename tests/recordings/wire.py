"""Packets off a network interface, cut to the start of every flow, into pcap files."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

ETH_P_ALL = 3
SO_TIMESTAMPNS = 35
LARGEST_FRAME = 1514
PAYLOAD_KEPT = 8192
FIN, SYN, RST = 1, 2, 4
NO_FLAGS = 0  # of no TCP segment: each but the first acknowledges
TRANSPORTS = (socket.IPPROTO_TCP, socket.IPPROTO_UDP)


@dataclass(frozen=True)
class Frame:
    """One captured Ethernet frame that carries TCP, or UDP: then it has no flags."""

    time_ns: int
    data: bytes
    source: tuple[str, int]
    target: tuple[str, int]
    flags: int
    payload: bytes


@dataclass
class Flow:
    """One connection, from the end that opened it, and the frames of it that are kept."""

    client: tuple[str, int]
    server: tuple[str, int]
    frames: list[Frame] = field(default_factory=list)
    sent: dict[tuple[str, int], int] = field(default_factory=dict)

    def add(self, frame: Frame) -> None:
        """Keep a frame, unless its side has said enough already; beginnings and ends are always kept."""
        said = self.sent.get(frame.source, 0)
        self.sent[frame.source] = said + len(frame.payload)
        opposite = self.sent.get(frame.target, 0)
        over = said >= PAYLOAD_KEPT or (not frame.payload and opposite > PAYLOAD_KEPT)
        if not over or frame.flags & (FIN | SYN | RST):
            self.frames.append(frame)

    def first_bytes(self) -> list[bytes]:
        """The payloads that the opener sent, a segment each."""
        return [frame.payload for frame in self.frames if frame.source == self.client and frame.payload]

    def hello_segments(self) -> int:
        """Over how many segments the first TLS record goes; none if the flow begins with something else."""
        segments = self.first_bytes()
        if not segments or segments[0][:2] != b"\x16\x03":
            return 0
        left = 5 + int.from_bytes(segments[0][3:5], "big")
        for count, payload in enumerate(segments, start=1):
            left -= len(payload)
            if left <= 0:
                return count
        return len(segments) + 1


def parse(data: bytes, time_ns: int = 0) -> Frame | None:
    """Read the addresses and ports of an Ethernet frame; none unless it carries TCP or UDP."""
    kind, packet = data[12:14], data[14:]
    if kind == b"\x08\x00" and packet[9] in TRANSPORTS:
        head, length = (packet[0] & 15) * 4, int.from_bytes(packet[2:4], "big")
        transport, addresses = packet[9], (packet[12:16], packet[16:20])
    elif kind == b"\x86\xdd" and packet[6] in TRANSPORTS:
        head, length = 40, 40 + int.from_bytes(packet[4:6], "big")
        transport, addresses = packet[6], (packet[8:24], packet[24:40])
    else:
        return None
    carried = packet[head:length]
    ports = struct.unpack_from("!HH", carried)
    source, target = (
        (str(ip_address(address)), port) for address, port in zip(addresses, ports, strict=True)
    )
    if transport == socket.IPPROTO_UDP:
        return Frame(time_ns, data, source, target, NO_FLAGS, carried[8:])
    return Frame(time_ns, data, source, target, carried[13], carried[(carried[12] >> 4) * 4 :])


class Recorder:
    """Listens on an interface in the background and sorts frames into flows."""

    def __init__(self, interface: str, wanted: Callable[[str], bool]) -> None:
        self._wanted = wanted
        self._flows: dict[frozenset[tuple[str, int]], Flow] = {}
        self._finished: list[Flow] = []
        self._stopped = threading.Event()
        self.problems: list[str] = []
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.bind((interface, 0))
        self._socket.settimeout(0.1)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def take(self) -> list[Flow]:
        """Hand over the flows that began since the last call."""
        flows = [*self._finished, *self._flows.values()]
        self._flows, self._finished = {}, []
        return flows

    def close(self) -> None:
        """Stop listening."""
        self._stopped.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(TimeoutError):
                data, ancillary, _, _ = self._socket.recvmsg(65536, 64)
                seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
                self._sort(data, seconds * 1_000_000_000 + nanoseconds)

    def _sort(self, data: bytes, time_ns: int) -> None:
        frame = parse(data, time_ns)
        if frame is None or not (self._wanted(frame.source[0]) or self._wanted(frame.target[0])):
            return
        if len(data) > LARGEST_FRAME:
            self.problems.append(f"a frame of {len(data)} bytes: segmentation is still left to the interface")
        ends = frozenset((frame.source, frame.target))
        opens = frame.flags & (SYN | 16) == SYN or (frame.flags == NO_FLAGS and ends not in self._flows)
        if opens and ends in self._flows:
            if not self._flows[ends].sent or not any(self._flows[ends].sent.values()):
                self._flows[ends].add(frame)  # the same opening once more
                return
            self._finished.append(self._flows.pop(ends))
        if opens:
            self._flows[ends] = Flow(frame.source, frame.target)
        if ends in self._flows:
            self._flows[ends].add(frame)


def write_pcap(file: Path, flows: Iterable[Flow]) -> None:
    """Write the kept frames of flows, in the order they were seen, as a pcap file of microseconds."""
    frames = sorted((frame for flow in flows for frame in flow.frames), key=lambda frame: frame.time_ns)
    with file.open("wb") as output:
        output.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for frame in frames:
            seconds, rest = divmod(frame.time_ns, 1_000_000_000)
            length = len(frame.data)
            output.write(struct.pack("<IIII", seconds, rest // 1000, length, length) + frame.data)
