"""From captures to payload records: one run a pass over a file or a life of an interface, with its marks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import Protocol
from uuid import uuid4

from vermilion_capture.capturefile import CaptureBlocks, CaptureError, Frame
from vermilion_capture.heads import DEPTH
from vermilion_capture.items import Item, Origin
from vermilion_capture.ring import Block
from vermilion_capture.sieve import TRANSPORTS, Sieve
from vermilion_pipeline.records import Payload

# A file has no clock but its packets': a mark at each so many microseconds of packet time.
_MARK_EVERY = 10_000_000
_LIVE_MARK_EVERY = 1_000_000


@dataclass(frozen=True)
class Policy:
    """What is published. ``depth``: bytes of each direction of a flow, 0 for all; ``ports`` and
    ``networks`` (as ``192.0.2.0/24``): left out, whichever end of a flow has them; ``transports``: "tcp",
    "udp", or both; ``brokers``: address and port of Kafka's nodes, left out, too.
    """

    depth: int = DEPTH
    ports: tuple[int, ...] = ()
    networks: tuple[str, ...] = ()
    transports: tuple[str, ...] = TRANSPORTS
    brokers: tuple[tuple[str, int], ...] = ()


class Capture(Protocol):
    """What gives frames: a file, or interfaces, which give blocks of them, and None when time has passed."""

    @property
    def size(self) -> int:
        """Bytes of the file; 0 when there is no end."""

    @property
    def consumed(self) -> int:
        """Bytes of the file read so far."""

    def __iter__(self) -> Iterator[Frame | Block | None]:
        """The frames. Raises CaptureError where it breaks."""

    @property
    def drops(self) -> Mapping[str, int]:
        """Packets lost before they came here, since it was opened: ``kernel``, ``interface``."""

    def close(self) -> None:
        """Nothing more is wanted of it."""


class Source:
    """Payload records of one run: one pass over a capture file, or one life of a live capture.

    ``sieve`` decides what is published, and counts.
    """

    drains = False
    """Whether the capture, once ``end`` has been called, ends by itself with what is there yet."""

    def __init__(self, capture: Capture, sensor: str, policy: Policy, *, replayed: bool) -> None:
        self.run = uuid4().hex
        self.sensor = sensor
        self.replayed = replayed
        self.unfinished = False
        self._origin = Origin(sensor, self.run, replayed)
        self.sieve = Sieve(policy.depth, policy.ports, policy.networks, policy.transports, policy.brokers)
        self._capture = capture
        self._newest = 0
        self._reading = self._stopped = False

    @property
    def counts(self) -> dict[str, int]:
        """``packets`` read, ``kept``, and each reason for which a packet gave no record."""
        return self.sieve.counts

    @property
    def size(self) -> int:
        """Bytes of the file; 0 when there is no end."""
        return self._capture.size

    @property
    def consumed(self) -> int:
        """Bytes of the file read so far."""
        return self._capture.consumed

    @property
    def newest(self) -> int:
        """The newest packet time seen, or on a quiet interface the time of day; microseconds, 0 at first."""
        return self._newest

    @property
    def drops(self) -> Mapping[str, int]:
        """Packets lost before they came here, by cause."""
        return self._capture.drops

    @property
    def blind(self) -> int:
        """Microseconds in which an interface was down or gone; a file never is."""
        return 0

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped

    def stop(self) -> None:
        """End the run: its mark comes next, then KeyboardInterrupt is raised. For signal handlers."""
        again, self._stopped = self._stopped, True
        if again or (self._reading and not self.drains):
            raise KeyboardInterrupt
        if self.drains:
            self.end()

    def end(self) -> None:
        """Tell a capture that drains to come to its end."""

    def __iter__(self) -> Iterator[Item]:
        """The records in packet order, and time marks; the END_OF_RUN mark last.

        Where the capture breaks, or is stopped, the mark comes too, and then CaptureError or
        KeyboardInterrupt is raised: what was read before is answered.
        """
        sieve = self.sieve
        self._origin = Origin(self.sensor, self.run, self.replayed)
        mark = 0
        every = _MARK_EVERY if self.replayed else _LIVE_MARK_EVERY
        broken: BaseException | None = None
        frames = iter(self._capture)
        while self.drains or not self._stopped:
            try:
                self._reading = True
                frame = None if self._stopped and not self.drains else next(frames)
                self._reading = False
            except StopIteration:
                break
            except (CaptureError, KeyboardInterrupt) as error:
                broken = error
                break
            more = True
            while more:
                more = False
                if isinstance(frame, Frame):
                    if item := sieve.frame(frame.data, frame.link_type, frame.time, self._origin):
                        yield item
                elif frame is None:
                    self._newest = max(self._newest, time_ns() // 1000)
                else:
                    yield from sieve.block(frame, self._origin, mark + every if mark else 0)
                    more = not frame.done and (self.drains or not self._stopped)
                self._newest = max(self._newest, sieve.newest)
                mark = mark or self._newest
                if self._newest - mark >= every:
                    mark = self._newest
                    yield self._mark("TIME_MARK")
        self._reading = False
        yield self._mark("END_OF_RUN")
        self._capture.close()
        if broken is None and self._stopped:
            broken = KeyboardInterrupt()
        if broken:
            raise broken

    def _mark(self, kind: str) -> Item:
        return Item(None, time_mark(kind, self.sensor, self.run, self._newest, replayed=self.replayed))


class FileSource(Source):
    """Payload records of one pass over one capture file."""

    def __init__(self, path: Path, sensor: str, policy: Policy | None = None) -> None:
        """Open the file. Raises CaptureError."""
        super().__init__(CaptureBlocks(path), sensor, policy or Policy(), replayed=True)


def skipped(counts: Mapping[str, int]) -> dict[str, int]:
    """Of a source's ``counts`` those of packets that gave no record, by reason."""
    return {reason: number for reason, number in sorted(counts.items()) if reason not in ("packets", "kept")}


def summary(counts: Mapping[str, int]) -> str:
    """What was read and published, and what not and why. Marks are not counted here."""
    left = ", ".join(f"{number} {reason}" for reason, number in skipped(counts).items())
    told = f"{counts.get('packets', 0)} packets, {counts.get('kept', 0)} published"
    return f"{told}; not: {left}" if left else told


def time_mark(kind: str, sensor: str, run: str, time: int, *, replayed: bool) -> Payload:
    """A TIME_MARK or END_OF_RUN record."""
    return Payload(
        kind=kind, sensor=sensor, run=run, replayed=replayed, time=time, ordinal=0, vlans=[], vni=None,
        tunnels=[], src_ip=b"", dst_ip=b"", src_port=0, dst_port=0, transport=6, ttl=0, ip_id=0, seq=0, ack=0,
        flags=0, window=0, options=b"", payload=b"", missing=0,
    )  # fmt: skip
