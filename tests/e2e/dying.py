"""A fingerprint service that dies of one record of one source port: run by ``test_isolation``.

Arguments: how it dies (``SIGKILL`` or ``SIGSEGV``), and the port. Settings come from the environment.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

from vermilion_fingerprint.stage import FingerprintStage
from vermilion_pipeline.service import serve
from vermilion_pipeline.settings import load
from vermilion_pipeline.stage import Handled, Incoming, Task

_ORDINAL = 2  # SYN, SYN/ACK, and then the hello


class DyingTask:
    """The real task, but for the records that kill."""

    def __init__(self, task: Task, how: str, port: int) -> None:
        self._task, self._how, self._port = task, how, port
        self.low_water = task.low_water

    def handle(self, batch: Sequence[Incoming]) -> Handled:
        if any((item.record["src_port"], item.record["ordinal"]) == (self._port, _ORDINAL) for item in batch):
            if self._how == "SIGKILL":
                os.kill(os.getpid(), signal.SIGKILL)
            ctypes.string_at(0)
        return self._task.handle(batch)


class DyingStage(FingerprintStage):
    """A fingerprint stage whose tasks die."""

    def __init__(self, how: str, port: int) -> None:
        super().__init__()
        self._how, self._port = how, port

    def task(self) -> Task:  # type: ignore[override]
        return DyingTask(super().task(), self._how, self._port)


if __name__ == "__main__":
    serve(load(), lambda: DyingStage(sys.argv[1], int(sys.argv[2])))
