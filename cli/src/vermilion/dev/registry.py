"""A Confluent-compatible schema registry without containers: Apicurio Registry on 127.0.0.1.

What it knows is in its data folder and outlives a stop, as a registry's ids must: records carry them.
"""

from __future__ import annotations

import contextlib
import http.client
import shutil
import signal
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from vermilion.dev import process
from vermilion.dev.jars import SMALL_JAVA, DevError, exclusive, java, pinned_version, pins, provide, tools_dir

WHAT = "the schema registry"
START_SECONDS = 60.0
STOP_SECONDS = 20.0
API = "/apis/ccompat/v7"
"""Where Apicurio answers as Confluent's registry does."""


def fetch(root: Path | None = None) -> Path:
    """Bring Apicurio Registry into the checkout and return its folder; do nothing where it is.

    The archive must hash to what ``registry.sha256`` says, so a changed download is refused.
    """
    return provide(
        tools_dir(root), "registry", WHAT, ["dependency:copy"], _unpack, lambda libs: _runner(libs).is_file()
    )


def default_data(root: Path | None = None) -> Path:
    """Say where the developers' registry keeps its data."""
    return tools_dir(root) / "registry" / "data"


class Registry:
    """One registry; ``with Registry(folder) as registry`` starts it and stops it."""

    def __init__(self, data: Path, port: int = 8081, libs: Path | None = None) -> None:
        self.folder = data.resolve()
        self.port = port
        self._libs = libs

    @classmethod
    def at(cls, data: Path) -> Registry:
        """The registry that a folder holds, as it was last started."""
        try:
            return cls(data, int((data / "port").read_text()))
        except (OSError, ValueError):
            raise DevError(
                f"there is no registry in {data}: `vermilion dev registry start` makes one"
            ) from None

    @property
    def url(self) -> str:
        """What clients are configured with (VERMILION_REGISTRY_URL)."""
        return f"http://127.0.0.1:{self.port}{API}"

    @property
    def mark(self) -> str:
        """The setting that names its database, which writes at once; it tells the process from others."""
        return f"-Dapicurio.datasource.url=jdbc:h2:file:{self.folder / 'registry'};WRITE_DELAY=0"

    @property
    def logs(self) -> Sequence[str]:
        """What it writes to."""
        return ("console.log",)

    @property
    def pid(self) -> int | None:
        """Its process, if it runs."""
        return process.pid_of(self)

    def start(self) -> str:
        """Start it unless it runs, wait until it answers, and return ``url``. Raises DevError."""
        with exclusive(self.folder / "registry.lock"):
            if self.pid is not None:
                running = Registry.at(self.folder).port
                if running != self.port:
                    raise DevError(
                        f"{self.folder} runs on port {running} already: stop it to start it elsewhere"
                    )
                return self.url
            if not process.is_free(self.port):
                raise DevError(f"in use on 127.0.0.1: port {self.port}; choose another one (--port)")
            libs = self._libs or fetch()
            (self.folder / "port").write_text(f"{self.port}\n")
            process.launch(self, self._command(java(WHAT), libs))
            with contextlib.ExitStack() as undo:
                undo.callback(process.end, [self], STOP_SECONDS)
                self._wait()
                undo.pop_all()
        return self.url

    def stop(self) -> bool:
        """Ask it to end and wait for it; whether it had to be killed for being late."""
        if not self.folder.is_dir():
            return False
        with exclusive(self.folder / "registry.lock"):
            return bool(process.end([self], STOP_SECONDS))

    def kill(self) -> None:
        """End it the hard way: for tests. ``start`` brings it back."""
        process.send(self, signal.SIGKILL)
        process.await_end([self], STOP_SECONDS)

    def __enter__(self) -> Registry:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _command(self, program: str, libs: Path) -> list[str]:
        settings = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": self.port,
            "quarkus.log.level": "WARN",  # else a line for each request, in a file without bound
            "quarkus.http.access-log.enabled": "false",
            "apicurio.datasource.jdbc.initial-size": 2,
            "apicurio.datasource.jdbc.min-size": 2,
            "apicurio.datasource.jdbc.max-size": 10,
        }
        options = [f"-D{name}={value}" for name, value in settings.items()]
        return [program, *SMALL_JAVA, self.mark, *options, "-jar", str(_runner(libs))]

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.pid is None:
                raise DevError(f"{WHAT} ended while starting; the end of its log:\n{process.log_end(self)}")
            with (
                contextlib.suppress(OSError, http.client.HTTPException),
                contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)) as probe,
            ):
                probe.request("GET", f"{API}/subjects")
                if probe.getresponse().status == 200:
                    return
            time.sleep(0.1)
        raise DevError(
            f"{WHAT} was not there after {START_SECONDS:.0f} s; the end of its log:\n{process.log_end(self)}"
        )


def _runner(libs: Path) -> Path:
    return libs / f"apicurio-registry-app-{pinned_version('registry')}-runner.jar"


def _unpack(part: Path, libs: Path) -> None:
    (archive,) = pins("registry")
    try:
        with tarfile.open(part / archive) as tar:
            tar.extractall(libs, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise DevError(f"could not unpack {part / archive}: {error}") from error
    shutil.rmtree(part)
