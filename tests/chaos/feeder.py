"""Traffic: passes over the project's own recordings, each a run of its own, as long as wanted."""

import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from chaos.fleet import ENVIRONMENT, NotHit

ROOT: Final = Path(__file__).parent.parent.parent
RECORDINGS: Final = tuple(sorted((ROOT / "cli/src/vermilion/recordings").glob("*.pcap")))
SMALL: Final = tuple(sorted((ROOT / "tests/data").glob("*.pcap")))
_TOLD = ": run "
"""In the line that ``capture`` writes when a file is published."""
_RUN = re.compile(r"^(.+): run (\w+): ", re.MULTILINE)
_REFUSED = ("no Kafka broker answers", "schema registry http")
"""What it says when it comes while all brokers, or the registry, are down: it publishes nothing then."""


class Capture:
    """One ``vermilion capture``, which publishes files one after the other."""

    def __init__(
        self,
        files: Sequence[Path | str],
        bootstrap: str,
        prefix: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start; relative names are looked for beside ``log``."""
        self.log = log
        command = [str(Path(sys.executable).with_name("vermilion")), "capture", "-b", bootstrap]
        command += ["--topic-prefix", prefix, "--sensor", "chaos", *map(str, files)]
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                stdout=out,
                stderr=out,
                env={**os.environ, **ENVIRONMENT, **(environment or {})},
                cwd=log.parent,
            )

    def published(self) -> int:
        """Files that have been published wholly."""
        return self.log.read_text(errors="replace").count(_TOLD)


class Feeder:
    """Publishes until stopped.

    ``runs``: how many whole files; ``acknowledged``: the runs of captures that Kafka has taken wholly, and
    the file of each.
    """

    def __init__(
        self,
        folder: Path,
        bootstrap: str,
        prefix: str,
        draw: random.Random,
        pause: float,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``pause``: mean seconds between two captures."""
        self.runs = 0
        self.acknowledged: dict[str, Path] = {}
        self.trouble: list[str] = []
        self._folder, self._bootstrap, self._prefix = folder, bootstrap, prefix
        self._draw, self._pause, self._environment = draw, pause, environment
        self._count = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)

    def begin(self) -> None:
        """Publish from now on."""
        self._thread.start()

    def publish(self, files: Sequence[Path], *, refusable: bool = True) -> None:
        """Publish ``files`` and wait. ``refusable``: brokers may be down; being refused is no trouble."""
        capture = self.capture(files)
        code = capture.process.wait()
        log = capture.log.read_text()
        refused = refusable and not capture.published() and any(words in log for words in _REFUSED)
        if code and not refused:
            self.trouble.append(f"capture ended with {code}: {log[-300:]}")
        self.runs += capture.published()
        if code == 0:
            self.acknowledged |= {run: Path(name) for name, run in _RUN.findall(capture.log.read_text())}

    def capture(self, files: Sequence[Path]) -> Capture:
        """Begin to publish ``files``."""
        self._count += 1
        log = self._folder / f"capture.{threading.current_thread().name}.{self._count}.log"
        return Capture(files, self._bootstrap, self._prefix, log, self._environment)

    def kill_one(self, draw: random.Random, until: Callable[[Callable[[], bool], str], None]) -> str:
        """Kill a capture while it publishes; what was seen. Raises what ``until`` raises, and NotHit."""
        files = [*SMALL, *RECORDINGS] * 4
        wanted = draw.randint(1, 12)
        capture = self.capture(files)
        try:
            until(lambda: capture.published() >= wanted, f"{wanted} files published by one capture")
        finally:
            capture.process.kill()
            code = capture.process.wait()
        done = capture.published()
        self.runs += done
        if code != -9 or done >= len(files):
            raise NotHit(f"capture had ended by itself, with {code}")
        return f"capture {capture.process.pid} killed after {done} of {len(files)} files"

    def fill(self, passes: int) -> None:
        """Publish so many passes over all recordings; nothing is down."""
        self.publish([*RECORDINGS, *SMALL] * passes, refusable=False)

    def stop(self) -> None:
        """Publish no more; the capture in hand ends first."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            files = [*RECORDINGS, *self._draw.sample(SMALL, 4)] * self._draw.randint(1, 2)
            self._draw.shuffle(files)
            self.publish(files)
            self._stop.wait(self._draw.uniform(0, 2 * self._pause))
