"""From captures to payload records: one run a pass over a file or a life of an interface, with its marks."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import time_ns
from typing import Protocol
from uuid import uuid4

from vermilion_capture.capturefile import CaptureError, CaptureFile, Frame
from vermilion_capture.heads import DEPTH, FlowHeads
from vermilion_capture.items import Item, Origin, segment_item
from vermilion_capture.packet import Segment, segment
from vermilion_pipeline.flowid import community_id
from vermilion_pipeline.records import Payload

# A file has no clock but its packets': a mark at each so many microseconds of packet time.
_MARK_EVERY = 10_000_000
_LIVE_MARK_EVERY = 1_000_000


class Capture(Protocol):
    """What gives frames: a file, or an interface, which gives None when nothing came for a while."""

    @property
    def size(self) -> int:
        """Bytes of the file; 0 when there is no end."""

    @property
    def consumed(self) -> int:
        """Bytes of the file read so far."""

    def __iter__(self) -> Iterator[Frame | None]:
        """The frames. Raises CaptureError where it breaks."""

    @property
    def drops(self) -> Mapping[str, int]:
        """Packets lost before they came here, since it was opened: ``kernel``, ``interface``."""

    def close(self) -> None:
        """Nothing more is wanted of it."""


class Source:
    """Payload records of one run: one pass over a capture file, or one life of a live capture.

    ``counts``: ``packets`` read, ``kept``, and each reason for which a packet gave no record.
    """

    def __init__(self, capture: Capture, sensor: str, depth: int = DEPTH, *, replayed: bool) -> None:
        self.run = uuid4().hex
        self.sensor = sensor
        self.replayed = replayed
        self.unfinished = False
        self.counts: Counter[str] = Counter()
        self._capture = capture
        self._heads = FlowHeads(depth)
        self._origin = Origin(sensor, self.run, replayed)
        self._newest = 0
        self._reading = self._stopped = False

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

    def stop(self) -> None:
        """End the run: its mark comes next, then KeyboardInterrupt is raised. For signal handlers."""
        again, self._stopped = self._stopped, True
        if self._reading or again:
            raise KeyboardInterrupt

    def __iter__(self) -> Iterator[Item]:
        """The records in packet order, and time marks; the END_OF_RUN mark last.

        Where the capture breaks, or is stopped, the mark comes too, and then CaptureError or
        KeyboardInterrupt is raised: what was read before is answered.
        """
        counts = self.counts
        self._origin = Origin(self.sensor, self.run, self.replayed)
        mark = 0
        every = _MARK_EVERY if self.replayed else _LIVE_MARK_EVERY
        broken: BaseException | None = None
        frames = iter(self._capture)
        while not self._stopped:
            try:
                self._reading = True
                frame = None if self._stopped else next(frames)
                self._reading = False
            except StopIteration:
                break
            except (CaptureError, KeyboardInterrupt) as error:
                broken = error
                break
            if frame is None:
                self._newest = max(self._newest, time_ns() // 1000)
            else:
                counts["packets"] += 1
                found = segment(frame.data, frame.link_type)
                if isinstance(found, Segment):
                    if item := self._item(frame, found):
                        yield item
                else:
                    counts[found or "acknowledgment"] += 1
                self._newest = max(self._newest, frame.time)
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

    def _item(self, frame: Frame, found: Segment) -> Item | None:
        kept = self._heads.keep(found, frame.time)
        if kept is None:
            self.counts["beyond_head"] += 1
            return None
        self.counts["kept"] += 1
        key = community_id(found.src_ip, found.dst_ip, found.src_port, found.dst_port, 6)
        return segment_item(
            key.encode(), self._origin, found, frame.time, kept.ordinal, kept.payload, kept.missing
        )

    def _mark(self, kind: str) -> Item:
        return Item(None, time_mark(kind, self.sensor, self.run, self._newest, replayed=self.replayed))


class FileSource(Source):
    """Payload records of one pass over one capture file."""

    def __init__(self, path: Path, sensor: str, depth: int = DEPTH) -> None:
        """Open the file. Raises CaptureError."""
        super().__init__(CaptureFile(path), sensor, depth, replayed=True)


def time_mark(kind: str, sensor: str, run: str, time: int, *, replayed: bool) -> Payload:
    """A TIME_MARK or END_OF_RUN record."""
    return Payload(
        kind=kind, sensor=sensor, run=run, replayed=replayed, time=time, ordinal=0, vlans=[], vni=None,
        src_ip=b"", dst_ip=b"", src_port=0, dst_port=0, transport=6, ttl=0, ip_id=0, seq=0, ack=0,
        flags=0, window=0, options=b"", payload=b"", missing=0,
    )  # fmt: skip
