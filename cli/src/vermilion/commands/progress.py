"""Progress bars on stderr, for a terminal, and only for what takes longer than a second."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn

if TYPE_CHECKING:
    from vermilion_capture.metrics import Numbers

_PATIENCE_SECONDS = 1.0


def wide_console() -> Console:
    """Standard output; where it is no terminal, wide enough for a table not to be folded."""
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False)


@contextmanager
def bytes_read() -> Iterator[Callable[[int, int], None]]:
    """A function to call with the bytes done and the bytes there are; draws a bar if need be."""
    console = Console(stderr=True)
    if not sys.stderr.isatty():
        yield lambda _done, _size: None
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    started = time.monotonic()
    task: TaskID | None = None

    def advance(done: int, size: int) -> None:
        nonlocal task
        if task is None:
            if time.monotonic() - started < _PATIENCE_SECONDS:
                return
            # A pipe has no size: the bar then only shows that it goes on.
            task = bar.add_task("reading", total=size or None)
            bar.start()
        bar.update(task, completed=done, total=size or None)

    try:
        yield advance
    finally:
        bar.stop()


@contextmanager
def working(what: str) -> Iterator[None]:
    """Tell a terminal that something goes on which takes more than a second; nothing where it is none."""
    if not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status(what):
        yield


@contextmanager
def status_line() -> Iterator[Callable[["Numbers"], None]]:
    """A function that shows a live capture's numbers in one line of a terminal, in place."""
    if not sys.stderr.isatty():
        yield lambda _numbers: None
        return
    before: tuple[float, Numbers] | None = None
    with Console(stderr=True).status("capturing") as line:

        def show(now: "Numbers") -> None:
            nonlocal before
            moment = time.monotonic()
            if before is None or moment - before[0] < 1.0:
                before = before or (moment, now)
                return
            seconds, fresh = moment - before[0], now.tally.since(before[1].tally)
            before = moment, now
            lost = ", ".join(f"{count:,} {cause}" for cause, count in now.tally.drops().items() if count)
            line.update(
                f"{fresh.packets / seconds:,.0f} packets/s, {fresh.published / seconds:,.0f} records/s, "
                f"{now.flows:,} flows; dropped: {lost or 'none'}"
            )

        yield show
