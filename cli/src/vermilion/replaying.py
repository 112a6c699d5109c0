"""Replays captures: each pass over one capture is a run, published as ``capture`` does, and resumable."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from vermilion.errors import CommandFailed
from vermilion.interrupts import interrupts
from vermilion.replaystate import Keeper, Position, identities
from vermilion.topicreading import between, numbered
from vermilion.verifying import Verifier
from vermilion_capture.capturefile import CaptureError
from vermilion_capture.pacing import Pace
from vermilion_capture.replay import Choice, ReplayPublisher, ReplaySource
from vermilion_capture.source import Policy, summary
from vermilion_pipeline.codec import Codec
from vermilion_pipeline.ports import Broker, BrokerUnavailable, UnknownTopic
from vermilion_pipeline.topics import PAYLOADS

_KEEP_EVERY_SECONDS = 5.0
_LATE_SECONDS = 0.1
_PATIENCE_SECONDS = 120.0
_PAUSE_SECONDS = 1.0


@dataclass
class Order:
    """What is to be replayed, and how."""

    captures: list[Path]
    sensor: str
    policy: Policy
    choice: Choice | None = None
    options: dict[str, Any] = field(default_factory=dict)
    """What of this the records depend on, in words that compare."""
    speed: float | None = None
    rate: float | None = None
    passes: int = 1
    """Over all captures; 0: for ever."""
    verify: bool = False
    prefix: str = "vermilion."


class Replay:
    """One replay. ``tell`` hears of each capture and of what is unusual; ``show`` draws the progress."""

    def __init__(
        self,
        order: Order,
        broker: Broker,
        codec: Codec,
        keeper: Keeper | None,
        tell: Callable[[str], object],
        show: Callable[[ReplaySource, ReplayPublisher], object],
    ) -> None:
        self._order, self._broker, self._codec, self._keeper = order, broker, codec, keeper
        self._tell, self._show = tell, show
        self._topic = PAYLOADS.full_name(order.prefix)
        self.publisher = ReplayPublisher(broker, codec, order.prefix)
        self.verifier: Verifier | None = None
        self.counts: Counter[str] = Counter()
        """Of all captures together."""
        self.passes = self.failed = 0
        self._position = Position([], {})

    def begin(self, *, resume: bool) -> None:
        """Find where to begin. Raises CommandFailed when that is nowhere, or not the same any more."""
        fresh = Position(identities(self._order.captures), self._order.options)
        left = self._keeper.read() if self._keeper else None
        if resume:
            if left is None:
                where = f" ({self._keeper.path})" if self._keeper else ""
                raise CommandFailed(f"nothing to resume: no replay of these captures was interrupted{where}")
            self._same(left, fresh)
            self._position = left
            self._order.captures = [Path(name) for name, _, _ in left.captures]
        else:
            self._position = fresh
            if left is not None and left.run:
                self.publisher.end(left.options["sensor"], left.run, left.newest)
                self._tell(
                    f"run {left.run} was interrupted and is ended where it was; --resume would have gone on"
                )
        if self._order.verify:
            starts = self._position.answers
            if not resume:
                starts = self._position.answers = Verifier.marks(self._broker, self._order.prefix)
            self.verifier = Verifier(self._broker, self._codec, self._order.prefix, starts)

    def _same(self, left: Position, fresh: Position) -> None:
        """Raise CommandFailed where the replay would not go on with the same records."""
        other = [name for name, value in left.options.items() if fresh.options.get(name) != value]
        if other:
            was = ", ".join(f"--{name} was {left.options[name]}" for name in other)
            raise CommandFailed(f"the interrupted replay cannot go on otherwise than it began: {was}")
        now = identities([Path(name) for name, _, _ in left.captures])
        first = left.done % len(now) if self._order.passes == 1 else 0
        for before, after in list(zip(left.captures, now, strict=True))[first:]:
            if tuple(before) != after:
                raise CommandFailed(
                    f"{before[0]}: has changed since its replay was interrupted: what would come is not what "
                    "was begun; replay it anew, without --resume"
                )
        if new := {name for name, _, _ in fresh.captures} - {name for name, _, _ in now}:
            self._tell(f"{len(new)} captures have come since; they are not of the interrupted replay")

    def run(self) -> None:
        """Make the passes that are left. Raises KeyboardInterrupt when stopped, and the broker's errors."""
        captures, position = self._order.captures, self._position
        for number in count(position.done):
            if self._order.passes and number >= self._order.passes * len(captures):
                break
            try:
                self._pass(captures[number % len(captures)])
            except CaptureError as error:
                self.failed += 1
                self._tell(f"vermilion: error: {error}")
            position.done, position.run, position.records, position.ends = number + 1, "", 0, None
            self._keep()
            if self.verifier:
                self.verifier.drain()
        if self._keeper:
            self._keeper.clear()

    def _pass(self, path: Path) -> None:
        order, position = self._order, self._position
        pace = None
        if order.speed is not None or order.rate is not None:
            pace = Pace(order.speed, order.rate, lambda line: self._tell(f"{path}: {line}"))
        source = ReplaySource(
            path,
            order.sensor,
            order.policy,
            choice=order.choice,
            pace=pace,
            run=position.run or None,
            resumable=self._keeper is not None,
            witness=self.verifier.witness if self.verifier else None,
        )
        if self.verifier:
            self.verifier.begin(source.run)
        self.passes += 1
        with closing(source), interrupts(source.stop):
            if position.run:
                source.pass_over(position.records)
                if position.ends is None:
                    position.ends = self._ends(source)
                    self._keep()  # from here on something may be on its way
                else:
                    self._find_arrived(source.run, position.ends)
                self._tell(
                    f"{path}: run {source.run} goes on behind packet {source.counts.get('packets', 0)}"
                )
            elif self._keeper:
                position.run, position.ends = source.run, self._ends(source)
                self._keep()
            self._publish(path, source, pace)

    def _publish(self, path: Path, source: ReplaySource, pace: Pace | None) -> None:
        publisher, before = self.publisher, Counter(source.counts)
        produced, acknowledged = publisher.produced, publisher.acknowledged
        given = source.position
        next_keep = time.monotonic() + _KEEP_EVERY_SECONDS

        def progress() -> None:
            nonlocal given, next_keep
            given = source.position
            if time.monotonic() >= next_keep:
                self._checkpoint(source, given)
                next_keep = time.monotonic() + _KEEP_EVERY_SECONDS
            self._show(source, publisher)

        try:
            publisher.publish(source, progress)
        finally:
            produced, acknowledged = publisher.produced - produced, publisher.acknowledged - acknowledged
            self._report(path, source, before, produced, acknowledged)
            if pace is not None and pace.late > _LATE_SECONDS:
                self._tell(f"{path}: up to {pace.late:.1f} s behind the timing asked for")
            if source.unfinished and self._keeper:
                self._checkpoint(source, given, clean=True)
                self._stopped(path, source, self._keeper)

    def _ends(self, source: ReplaySource) -> list[int]:
        """Where the topic ends. A Kafka that is away in mid-replay is waited for, as publishing does."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return numbered(self._broker.ends([self._topic]))
            except (BrokerUnavailable, UnknownTopic) as error:  # its leader may not be there yet
                if source.stopped:
                    raise KeyboardInterrupt from error
                if time.monotonic() >= until:
                    raise
                self._tell(f"waiting for Kafka: {error}")
                time.sleep(_PAUSE_SECONDS)

    def _checkpoint(self, source: ReplaySource, given: int, *, clean: bool = False) -> None:
        """Keep how far all is acknowledged, if it is."""
        if self._keeper is None or (ends := self.publisher.settle()) is None:
            return
        position = self._position
        position.records, position.newest = given, source.newest
        position.packets = source.counts.get("packets", 0)
        position.ends = None if clean else numbered(ends)
        self._keep()

    def _keep(self) -> None:
        if self._keeper:
            self._keeper.write(self._position)

    def _find_arrived(self, run: str, starts: list[int]) -> None:
        """What the broker took of the run after the position, from a process that died before it knew."""
        decode, mark = self._codec.decoder(PAYLOADS), run.encode()
        for message in between(self._broker, self._topic, starts, self._broker.ends([self._topic])):
            if message.value and mark in message.value and decode(message.value)["run"] == run:
                partition = message.partition.number if message.key is None else None
                self.publisher.arrived.add(message.value, partition)

    def _report(
        self, path: Path, source: ReplaySource, before: Counter[str], produced: int, acknowledged: int
    ) -> None:
        counts = Counter(source.counts) - before
        self.counts.update(counts)
        self._tell(f"{path}: run {source.run}: {summary(counts)}; {acknowledged} of {produced} acknowledged")

    def _stopped(self, path: Path, source: ReplaySource, keeper: Keeper) -> None:
        self._tell(
            f"{path}: stopped behind packet {source.counts.get('packets', 0)}, at {moment(source.newest)}: "
            f"--resume goes on there ({keeper.path})"
        )


def moment(microseconds: int) -> str:
    """A packet time, as ISO 8601 writes it."""
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)).isoformat()
    except OverflowError:
        return f"{microseconds / 1e6:.6f} s since 1970"
