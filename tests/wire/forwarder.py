"""The wire between two ends: it drops, reorders, doubles and delays frames, and mirrors them.

What happens to the n-th frame of a direction depends on the seed alone. Frames of one direction keep
their order otherwise.

Sources: packet(7); linux/virtio_net.h for the header in front of frames whose segmentation and
checksums are left to the interface.
"""

import heapq
import os
import random
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from recordings.wire import ETH_P_ALL, NO_FLAGS, SYN, parse
from wire.mirrors import Mirror

ACK = 16
_SOL_PACKET = 263
_PACKET_VNET_HDR = 15
_PACKET_IGNORE_OUTGOING = 23
# flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
_VNET = struct.Struct("=BBHHHH")
_NEEDS_CSUM = 1
_LARGEST = 1 << 17
_BUFFER = 1 << 24
# A frame held back lets those behind it pass for so long, seconds.
_HELD = (0.002, 0.008)

End = tuple[str, int]


@dataclass(frozen=True)
class Conditions:
    """What the wire does: shares of the frames of each direction, and seconds that each one takes."""

    loss: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0


def verdicts(conditions: Conditions, seed: str) -> Iterator[list[float]]:
    """For each frame in turn the seconds after which it is delivered: none: lost, two: twice."""
    chance = random.Random(seed)
    while True:
        lost, held, doubled = (chance.random() for _ in range(3))
        hold, again = (chance.uniform(*_HELD) for _ in range(2))
        if lost < conditions.loss:
            yield []
            continue
        after = [conditions.delay + (hold if held < conditions.reorder else 0.0)]
        if doubled < conditions.duplicate:
            after.append(after[0] + again)
        yield after


@dataclass
class Carried:
    """A connection, as its ends saw it: payload bytes that reached the other end, repeated ones too."""

    client: End
    server: End
    to_server: int = 0
    to_client: int = 0


@dataclass
class Report:
    """What the wire did. ``counts``: frames ``received``, ``lost``, ``doubled``, ``delivered``,
    ``overtaken`` (delivered after one that was sent later), ``mirrored``, ``merged`` (mirrored and larger
    than a frame may be).
    """

    counts: Counter[str] = field(default_factory=Counter)
    flows: dict[tuple[End, End], Carried] = field(default_factory=dict)


@dataclass(order=True)
class _Due:
    time: float
    number: int
    side: int = field(compare=False)
    frame: bytes = field(compare=False)


class Wire:
    """Forwards between two interfaces until stopped, and copies to a third.

    ``mirrored``: ``sent``: the monitor sees what the ends send, what is lost on the way too; ``delivered``:
    it sees what arrives, as it arrives. ``merged``: frames that carry several segments, and checksums yet
    to be made, pass as they are. To be made in the namespace of the interfaces.
    """

    def __init__(
        self,
        ends: tuple[str, str],
        monitor: str,
        conditions: Conditions,
        seed: int,
        mirror: Mirror,
        mirrored: Literal["sent", "delivered"],
        *,
        merged: bool = False,
    ) -> None:
        self.report = Report()
        self._header = _VNET.size if merged else 0
        self._mirror = mirror
        self._mirrored = mirrored
        self._ends = [self._socket(name) for name in ends]
        self._monitor = self._socket(monitor)
        self._verdicts = [verdicts(conditions, f"{seed} {side}") for side in range(2)]
        self._due: list[_Due] = []
        self._numbers, self._newest = [0, 0], [-1, -1]
        self._heard = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _socket(self, name: str) -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        made.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        made.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, int(bool(self._header)))
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            made.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        made.bind((name, ETH_P_ALL))
        return made

    def start(self) -> None:
        """Begin to forward."""
        self._thread.start()

    def settle(self, quiet: float = 0.3) -> None:
        """Wait until nothing has come for a while."""
        while time.monotonic() - self._heard < quiet:
            time.sleep(0.02)

    def stop(self) -> None:
        """Forward no more; the monitor link stays, and what is told from here on."""
        self._stopped.set()
        self._thread.join()

    def tell(self, frame: bytes) -> None:
        """Put a frame of the test's own on the monitor link."""
        self._monitor.send(bytes(self._header) + self._mirror(frame))

    def close(self) -> None:
        """Stop, and close the sockets."""
        if self._thread.ident is not None:
            self.stop()
        for each in (*self._ends, self._monitor):
            each.close()

    def _run(self) -> None:
        # Each processor has a queue of received frames: from one of them they stay in order.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        poll = select.poll()
        sides = {each.fileno(): side for side, each in enumerate(self._ends)}
        for number in sides:
            poll.register(number, select.POLLIN)
        while not self._stopped.is_set():
            wait = 50.0 if not self._due else max(0.0, (self._due[0].time - time.monotonic()) * 1000)
            for number, _ in poll.poll(min(wait, 50.0)):
                self._take(sides[number])
            self._deliver()
        while self._due:  # what has come is lost or arrives, at the end, too
            time.sleep(max(0.0, self._due[0].time - time.monotonic()))
            self._deliver()

    def _take(self, side: int) -> None:
        frame = self._ends[side].recv(_LARGEST, socket.MSG_DONTWAIT)
        self._heard = now = time.monotonic()
        counts = self.report.counts
        counts["received"] += 1
        if self._mirrored == "sent":
            self._copy(frame)
        after = next(self._verdicts[side])
        counts["lost"] += not after
        counts["doubled"] += len(after) - 1 if after else 0
        for seconds in after:
            heapq.heappush(self._due, _Due(now + seconds, self._numbers[side], side, frame))
        self._numbers[side] += 1

    def _deliver(self) -> None:
        while self._due and self._due[0].time <= time.monotonic():
            due = heapq.heappop(self._due)
            self.report.counts["delivered"] += 1
            self.report.counts["overtaken"] += due.number < self._newest[due.side]
            self._newest[due.side] = max(self._newest[due.side], due.number)
            self._ends[1 - due.side].send(due.frame)
            if self._mirrored == "delivered":
                self._copy(due.frame)
            self._note(due.side, due.frame[self._header :])

    def _copy(self, frame: bytes) -> None:
        header, copy = frame[: self._header], self._mirror(frame[self._header :])
        if header:
            flags, kind, length, size, start, offset = _VNET.unpack(header)
            added = len(copy) - (len(frame) - self._header)
            if flags & _NEEDS_CSUM:
                length, start = length + added if length else 0, start + added
            header = _VNET.pack(flags, kind, length, size, start, offset)
            self.report.counts["merged"] += kind != 0
        self._monitor.send(header + copy)
        self.report.counts["mirrored"] += 1

    def _note(self, side: int, frame: bytes) -> None:
        if (found := parse(frame)) is None:
            return
        flows = self.report.flows
        if found.flags & (SYN | ACK) == SYN:
            flows.setdefault((found.source, found.target), Carried(found.source, found.target))
        elif flow := flows.get((found.source, found.target)):
            flow.to_server += len(found.payload)
        elif flow := flows.get((found.target, found.source)):
            flow.to_client += len(found.payload)
        elif found.flags == NO_FLAGS:  # UDP: who is heard first is the client
            flows[found.source, found.target] = Carried(found.source, found.target, len(found.payload))
