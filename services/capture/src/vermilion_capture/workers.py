"""Several processes that share the flows of the same interfaces, and what they count together.

The kernel gives each flow, both directions of it, to one of them (PACKET_FANOUT_HASH). Each is a
run of its own. Processes, since Python runs one thread at a time.
"""

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import NoReturn, cast

from vermilion_capture.frame import CaptureError
from vermilion_capture.live import InterfaceReplaced, LiveCapture
from vermilion_capture.metrics import Numbers

_log = logging.getLogger(__name__)

_REPLACED = 75
"""Exit code of a worker whose interface was made anew."""
_WAIT_SECONDS = 0.2
_PR_SET_PDEATHSIG = 1

Tell = Callable[[Numbers], None]
Work = Callable[[LiveCapture, Tell], None]


def together(parts: list[Numbers]) -> Numbers:
    """What processes that share interfaces have counted: all of it, but they were blind at the same time."""
    total = Numbers()
    for each in parts:
        total = total.plus(each)
    blind = max((each.tally.blind for each in parts), default=0)
    return total._replace(tally=total.tally._replace(blind=blind))


class Workers:
    """Starts them, hears what they count, starts them anew when an interface was made anew.

    ``work`` is what each does with its capture; it calls a function with its numbers now and then, and
    when it ends. ``numbers``: of all together, those that have ended included.
    """

    def __init__(self, captures: Callable[[], list[LiveCapture]], work: Work) -> None:
        self._captures, self._work = captures, work
        self._told: dict[Connection, Numbers] = {}
        self._past: tuple[Numbers, tuple[Numbers, ...]] = Numbers(), ()
        """Of all that ran before those that run together now; and of these, of each that has ended."""
        self._all: list[ForkProcess] = []
        self._processes: list[ForkProcess] = []
        self._stopping = False

    def numbers(self) -> Numbers:
        """What all have counted. For any thread."""
        before, ended = self._past
        return before.plus(together([*ended, *list(self._told.values())]))

    def stop(self) -> None:
        """End them: each ends its run. For signal handlers."""
        self._stopping = True
        self._end()

    def _end(self) -> None:
        """Tell those that run to end, once: a second time would make them leave at once."""
        processes, self._processes = self._processes, []
        for process in processes:
            process.terminate()

    def run(self, tick: Callable[[], None]) -> None:
        """Until they are stopped; ``tick`` is called now and then. Raises CaptureError when one dies."""
        captures: list[LiveCapture] | None = self._captures()
        while not self._stopping:
            if captures is None:
                try:
                    captures = self._captures()
                except CaptureError:  # it was there, so it may come back
                    time.sleep(_WAIT_SECONDS)
                    tick()
                    continue
            self._start(captures)
            captures = None
            codes = self._attend(tick)
            fine = (0, _REPLACED, -signal.SIGTERM) if self._stopping else (0, _REPLACED)
            if bad := [code for code in codes if code not in fine]:
                raise CaptureError(f"{len(bad)} of {len(codes)} workers failed (exit code {bad[0]})")
            if not self._stopping:
                _log.warning("an interface is gone; the workers begin anew when it is back")

    def _start(self, captures: list[LiveCapture]) -> None:
        context = multiprocessing.get_context("fork")
        self._past, self._all = (self.numbers(), ()), []
        for capture in captures:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=self._child, args=(captures, capture, theirs, os.getpid()))
            process.start()
            theirs.close()
            self._all.append(process)
            self._told[ours] = Numbers()
        for capture in captures:
            capture.abandon()
        self._processes = list(self._all)
        if self._stopping:
            self._end()

    def _child(
        self, captures: list[LiveCapture], own: LiveCapture, pipe: Connection, parent: int
    ) -> NoReturn:
        """What a worker does, in its process."""
        _end_with(parent)
        # Ctrl-C reaches every process of a terminal: the parent tells them.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for other in captures:
            if other is not own:
                other.abandon()
        try:
            self._work(own, pipe.send)
        except InterfaceReplaced:
            sys.exit(_REPLACED)
        sys.exit(0)

    def _attend(self, tick: Callable[[], None]) -> list[int]:
        while self._told:
            for ready in wait(list(self._told), _WAIT_SECONDS):
                pipe = cast("Connection", ready)
                try:
                    self._told[pipe] = pipe.recv()
                except EOFError:
                    last = self._told.pop(pipe)
                    before, ended = self._past
                    self._past = before, (*ended, last._replace(flows=0))
                    pipe.close()
                    self._end()  # the others would see a part of the flows only
            tick()
        for process in self._all:
            process.join()
        return [process.exitcode or 0 for process in self._all]


def _end_with(parent: int) -> None:
    """Be told to end when ``parent`` dies, of whatever: a supervisor starts others then (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
