"""Ctrl-C and SIGTERM: a command ends what it does, and loses nothing of what it knows."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer


def enough() -> NoReturn:
    """Whoever reads standard output has enough (``| head``), which is no failure."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would complain at exit
    raise typer.Exit(0)


def at_once() -> NoReturn:
    """Stop: nothing needs to be ended first."""
    raise KeyboardInterrupt


@contextmanager
def interrupts(stop: Callable[[], None] = lambda: None) -> Iterator[None]:
    """While inside, SIGINT and SIGTERM call ``stop``, which may raise KeyboardInterrupt.

    Where it did not, as what it stops was at its end anyway, KeyboardInterrupt is raised on leaving: whoever
    does more than one thing must not go on with the next.
    """
    asked = False

    def handler(*_: object) -> None:
        nonlocal asked
        asked = True
        stop()

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
    if asked:
        raise KeyboardInterrupt
