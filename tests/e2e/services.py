"""Services as processes of their own, as they run in production."""

import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from cli.command import COMMAND

PATIENCE = 60.0


class Service:
    """One running service; its log is kept for the failure's message."""

    def __init__(
        self, name: str, bootstrap: str, prefix: str, folder: Path, number: int = 0, more: Sequence[str] = ()
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.log = folder / f"{name}-{number}.log"
        arguments = [name, "-b", bootstrap, "--topic-prefix", prefix, "--http-port", str(self.port)]
        arguments += more
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*COMMAND, *arguments], stdout=log, stderr=log)

    def metric(self, name: str) -> float:
        """A metric's value, all labels summed; 0 while the service is not up."""
        return sum(
            float(value)
            for value in re.findall(rf"^vermilion_{name}(?:{{.*}})? (\S+)$", self.metrics(), re.MULTILINE)
        )

    def metrics(self) -> str:
        """What the service shows; nothing while it is not up."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def page(self, path: str) -> int:
        """The status of an endpoint."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return int(answer.status)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """SIGKILL: nothing is committed, nothing is closed."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Until ``condition`` holds; fails with ``what`` when it does not in time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s for {what}"
        time.sleep(0.1)
