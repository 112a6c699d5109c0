"""One replayed run: a pass over one capture, of a choice of its packets, paced, and from a position on.

What a run gives is numbered: its *position* is how many records and marks have been handed over. The
same capture, chosen from alike, gives the same ones again; so a run that was interrupted goes on where
it was, and the capture is read again from its start to know what the flows' heads then held.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from vermilion_capture.bpf import Filter, FilterError, compile_filter
from vermilion_capture.capturefile import CaptureBlocks, CaptureError, CaptureFile, Frame
from vermilion_capture.items import Item
from vermilion_capture.pacing import Pace
from vermilion_capture.publish import Publisher, Run
from vermilion_capture.source import Capture, Policy, Source, time_mark
from vermilion_pipeline.codec import Codec
from vermilion_pipeline.ports import Broker, Partition

_SETTLE_SECONDS = 10.0


class Moment(NamedTuple):
    """A time of the capture in microseconds: since 1970, or since its first packet."""

    time: int
    relative: bool = False


class Choice(NamedTuple):
    """Which packets of a capture are replayed: those from ``start`` on, before ``end``, that match."""

    start: Moment | None = None
    end: Moment | None = None
    bpf: str | None = None
    """A filter expression (pcap-filter(7)), for whatever link types the capture has."""


class Chosen:
    """A capture of which only some frames are wanted; ``counts`` learns why the others are not."""

    def __init__(self, capture: CaptureFile, choice: Choice, counts: Counter[str]) -> None:
        self._capture, self._choice, self._counts = capture, choice, counts
        self._filters: dict[int, Filter] = {}

    @property
    def size(self) -> int:
        """Bytes of the file; 0 when there is no end."""
        return self._capture.size

    @property
    def consumed(self) -> int:
        """Bytes of the file read so far."""
        return self._capture.consumed

    @property
    def drops(self) -> Mapping[str, int]:
        """None that the file tells of."""
        return self._capture.drops

    def close(self) -> None:
        """Close the file."""
        self._capture.close()

    def __iter__(self) -> Iterator[Frame]:
        """The frames that are wanted. Raises CaptureError where the file breaks."""
        start = end = None
        bpf = self._choice.bpf
        for number, frame in enumerate(self._capture):
            if number == 0:
                start, end = (_absolute(one, frame.time) for one in (self._choice.start, self._choice.end))
            if start is not None and frame.time < start:
                reason = "before_start"
            elif end is not None and frame.time >= end:
                reason = "after_end"
            elif bpf is not None and not self._matches(frame, bpf):
                reason = "filtered"
            else:
                yield frame
                continue
            self._counts["packets"] += 1
            self._counts[reason] += 1

    def _matches(self, frame: Frame, bpf: str) -> bool:
        found = self._filters.get(frame.link_type)
        if found is None:
            try:
                found = self._filters[frame.link_type] = compile_filter(bpf, frame.link_type)
            except FilterError as error:
                raise CaptureError(f"{self._capture.path}: {error}") from None
        return found.matches(frame.data, frame.wire_length)


def _absolute(moment: Moment | None, first: int) -> int | None:
    if moment is None:
        return None
    return moment.time + first if moment.relative else moment.time


class ReplaySource(Source):
    """The records of one pass over one capture. Where it is ``stopped``, it may be left ``unfinished``."""

    def __init__(
        self,
        path: Path,
        sensor: str,
        policy: Policy | None = None,
        *,
        choice: Choice | None = None,
        pace: Pace | None = None,
        run: str | None = None,
        resumable: bool = False,
        witness: Callable[[Item], None] | None = None,
    ) -> None:
        """Open the capture. Raises CaptureError.

        ``run``: the one that goes on. ``resumable``: when it is stopped, its end mark is not given,
        as nothing of a run may follow that. ``witness`` sees every item, those passed over as well.
        """
        self._left_out: Counter[str] = Counter()
        capture: Capture
        if choice:
            capture = Chosen(CaptureFile(path), choice, self._left_out)
        else:
            # What is paced stops between two packets.
            capture = CaptureFile(path) if pace else CaptureBlocks(path)
        super().__init__(
            capture,
            sensor,
            policy or Policy(),
            replayed=True,
        )
        self.run = run or self.run
        self.position = 0
        self._resumable = resumable
        self._pace = pace
        self._witness = witness
        self._items = super().__iter__()

    @property
    def counts(self) -> dict[str, int]:
        """``packets`` read, ``kept``, and each reason for which a packet gave no record."""
        return dict(Counter(self.sieve.counts) + self._left_out)

    def close(self) -> None:
        """Nothing more is wanted of it."""
        self._capture.close()

    def pass_over(self, position: int) -> None:
        """Read without giving anything, up to ``position``.

        Raises CaptureError when the capture ends before, and what stops a source.
        """
        while self.position < position:
            if self._next() is None:
                raise CaptureError(f"the capture ends at record {self.position}, before {position}")

    def __iter__(self) -> Iterator[Item]:
        """The records from the position on, each when it is due."""
        while (item := self._next()) is not None:
            if self._pace is not None:
                self._pace.wait(item.time, lambda: self._stopped)
            yield item

    def _next(self) -> Item | None:
        item = next(self._items, None)
        if item is not None and item.kind == "END_OF_RUN" and self._stopped and self._resumable:
            self.unfinished = True
            item = next(self._items, None)  # says what stopped it
        if item is not None:
            self.position += 1
            if self._witness is not None:
                self._witness(item)
        return item


class Arrived:
    """Records of a run that came to the topic without its publisher having learnt of it."""

    def __init__(self) -> None:
        self._there: Counter[tuple[int | None, bytes]] = Counter()

    def __len__(self) -> int:
        """Those that have not been met yet."""
        return len(self._there)

    def add(self, value: bytes, partition: int | None) -> None:
        """``value`` is there; in ``partition``, where it is a mark that goes to each."""
        self._there[partition, _digest(value)] += 1

    def take(self, value: bytes, partition: int | None) -> bool:
        """Whether ``value`` is there, once for each time that it is."""
        if not self._there:
            return False
        key = (partition, _digest(value))
        if key not in self._there:
            return False
        self._there[key] -= 1
        if not self._there[key]:
            del self._there[key]
        return True


def _digest(value: bytes) -> bytes:
    return blake2b(value, digest_size=16).digest()


class ReplayPublisher(Publisher):
    """A publisher that knows what of a run is there already, and up to where all is acknowledged."""

    def __init__(self, broker: Broker, codec: Codec, prefix: str) -> None:
        super().__init__(broker, codec, prefix)
        self._broker = broker
        self._lost = 0
        self.arrived = Arrived()

    def publish(self, source: Run, progress: Callable[[], None] = lambda: None) -> None:
        """As ``Publisher`` does it, but for what is there already. Raises DeliveryError."""
        self._lost = sum(self._producer.failures.values())
        super().publish(source, progress)

    def end(self, sensor: str, run: str, newest: int) -> None:
        """Give up a run that was left unfinished: nothing more of it will come."""
        self._item(Item(None, time_mark("END_OF_RUN", sensor, run, newest, replayed=True)), patient=True)

    def settle(self) -> dict[Partition, int] | None:
        """Wait for what is on its way: the topic's ends when all of it is acknowledged, else None.

        What of the run is still to come will lie behind those ends. So None, too, as long as some of that
        is there already: it would be looked for behind them.
        """
        if (
            self.arrived
            or self._producer.flush(_SETTLE_SECONDS)
            or sum(self._producer.failures.values()) > self._lost
        ):
            return None
        return self._broker.ends([self._topic])

    def _produce(self, key: bytes | None, value: bytes, partition: int | None, *, patient: bool) -> bool:
        return self.arrived.take(value, partition) or super()._produce(key, value, partition, patient=patient)
