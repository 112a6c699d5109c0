"""Calls into librdkafka that are given up when they do not return.

Some ignore the time-out that they are given: ``send_offsets_to_transaction`` waits for a group
coordinator that is gone for as long as no other broker changes its state (librdkafka's issues 5456
and 5511, both open with 2.16.1). The process keeps its membership meanwhile, so that its whole group
stands still.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class DidNotReturn(Exception):
    """The call is still under way, and nothing can end it."""


class _Answer(Generic[T]):
    """What a call gave, or raised, once it has returned."""

    def __init__(self) -> None:
        self.returned = threading.Event()
        self.value: T | None = None
        self.error: BaseException | None = None


class PatientThread:
    """Makes one call at a time, on a thread of its own.

    After ``DidNotReturn`` it is of no more use, and what the call uses must not be touched: it is
    the thread's until the call returns.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Callable[[], Any], _Answer[Any]] | None] = SimpleQueue()
        # A daemon: a call that never returns must not keep the process.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], T], within: float) -> T:
        """What ``function`` returns or raises. Raises ``DidNotReturn`` after ``within`` seconds."""
        answer: _Answer[T] = _Answer()
        self._calls.put((function, answer))
        if not answer.returned.wait(within):
            raise DidNotReturn(f"no return within {within:.0f} s")
        if answer.error is not None:
            raise answer.error
        return answer.value  # type: ignore[return-value]

    def close(self) -> None:
        """Let the thread end, when the call under way has returned."""
        self._calls.put(None)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            function, answer = item
            try:
                answer.value = function()
            except BaseException as error:
                answer.error = error
            answer.returned.set()
            del item, function, answer  # nothing of the last call is kept while waiting for the next
