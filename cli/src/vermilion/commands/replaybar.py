"""The progress of a replay, on a terminal only: how far, how fast, and where in the capture's time."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from vermilion.replaying import moment
from vermilion_capture.replay import ReplayPublisher, ReplaySource

Show = Callable[[ReplaySource, ReplayPublisher], object]
_EVERY_SECONDS = 0.2


@contextmanager
def replay_bar() -> Iterator[Show]:
    """A function to call with what is replayed, whenever a record has gone; it draws the bar."""
    if not sys.stderr.isatty():
        yield lambda _source, _publisher: None
        return
    columns = (
        TextColumn("{task.fields[at]}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]:,.0f} records/s"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, at="", rate=0.0)
        drawn = time.monotonic()
        before = 0

        def show(source: ReplaySource, publisher: ReplayPublisher) -> None:
            nonlocal drawn, before
            now = time.monotonic()
            if now - drawn < _EVERY_SECONDS:
                return
            rate = (publisher.produced - before) / (now - drawn)
            drawn, before = now, publisher.produced
            # A pipe has no size: the bar then only shows that it goes on.
            bar.update(
                task,
                completed=source.consumed,
                total=source.size or None,
                at=moment(source.newest),
                rate=rate,
            )

        yield show
