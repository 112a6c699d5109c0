"""Trying in a forked child what may kill the process (docs/decisions/0007)."""

import contextlib
import ctypes
import gc
import os
import select
import signal
import struct
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

PATIENCE: Final = 20.0
"""Seconds without progress after which the child hangs; a process that does so is ended by its probe."""
_OFFSET: Final = struct.Struct("=q")
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)


class Died(NamedTuple):
    """A child that did not come to its end."""

    offset: int | None
    """What it had in hand; None when it died before it began."""
    how: str
    """``SIGSEGV``, ``exit code 1``, ``nothing for 20 s``."""


def trial(
    offsets: Sequence[int],
    attempt: Callable[[int], object],
    beat: Callable[[], None],
    patience: float = PATIENCE,
) -> Died | None:
    """Let a child ``attempt`` each of ``offsets``; None when it came to the end.

    What ``attempt`` raises is no death. It must not touch what only the parent may: the network, or
    anything that another thread may hold. ``beat`` is called while waiting.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of other threads, whose locks the child may find taken: see above.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os.close(reading)
        _child(writing, offsets, attempt)
    os.close(writing)
    try:
        last, hung = _followed(reading, pid, beat, patience)
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # it has ended, hangs, or this is an exception's way out
        _, status = os.waitpid(pid, 0)
    if hung:
        return Died(last, f"nothing for {patience:g} s")
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return None
    return Died(last, signal.Signals(-code).name if code < 0 else f"exit code {code}")


def _followed(reading: int, pid: int, beat: Callable[[], None], patience: float) -> tuple[int | None, bool]:
    """The last offset that the child named, and whether it hangs. Returns when it has ended or does."""
    heard, rest = time.monotonic(), b""
    last: int | None = None
    while time.monotonic() - heard < patience:
        beat()
        if not select.select([reading], [], [], min(1.0, patience))[0]:
            continue
        data = os.read(reading, 1 << 16)
        if not data:
            # Its end of the pipe closes as it ends; wait for that without taking its status yet.
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            return last, False
        heard, rest = time.monotonic(), rest + data
        if whole := len(rest) // _OFFSET.size:
            (last,) = _OFFSET.unpack_from(rest, (whole - 1) * _OFFSET.size)
            rest = rest[whole * _OFFSET.size :]
    return last, True


def _child(writing: int, offsets: Sequence[int], attempt: Callable[[int], object]) -> NoReturn:
    code = 1
    try:
        gc.disable()  # a Kafka client that is collected here would wait for threads that are not
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):
            # Where memory runs out, this is the process that may go.
            Path("/proc/self/oom_score_adj").write_text("1000")
        for offset in offsets:
            os.write(writing, _OFFSET.pack(offset))
            with contextlib.suppress(Exception):
                attempt(offset)
        code = 0
    finally:
        os._exit(code)
