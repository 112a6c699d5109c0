"""A server of a developer's machine: a process that outlives the command that started it, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

EXEC_TRIES = 50
EXEC_SECONDS = 0.02


class Process(Protocol):
    """One server. Its folder holds its settings, its data, its logs and its process id."""

    @property
    def folder(self) -> Path:
        """Where all that is the server's lives."""

    @property
    def mark(self) -> str:
        """The argument of the command line that tells the server's process from a stranger."""

    @property
    def logs(self) -> Sequence[str]:
        """Names of the files in ``folder`` that the server writes to."""


Served = TypeVar("Served", bound=Process)


def pid_of(process: Process) -> int | None:
    """The server's process, if the one in its pid file still is the server and not a later stranger."""
    try:
        pid = int((process.folder / "pid").read_text())
        with contextlib.suppress(OSError):  # only this process's own children are its to reap
            os.waitpid(pid, os.WNOHANG)
        for _ in range(EXEC_TRIES):
            if arguments := Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid if os.fsencode(process.mark) in arguments.split(b"\0") else None
            # Empty in the moment of its exec, and for one that has ended and waits to be reaped.
            time.sleep(EXEC_SECONDS)
    except (OSError, ValueError):
        pass
    return None


def launch(process: Process, command: list[str]) -> None:
    """Start a process that outlives this one and does not hear its terminal's Ctrl-C."""
    console = str(process.folder / "console.log")
    # posix_spawn returns after the exec, so the command line is the server's from the start; and it leaves
    # no Popen object behind that would complain that its process is still running.
    pid = os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, console, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    (process.folder / "pid").write_text(f"{pid}\n")


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal to the server's process, if it has one."""
    pid = pid_of(process)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def log_end(process: Process) -> str:
    """The last lines of what the server wrote."""
    lines: list[str] = []
    for name in process.logs:
        with contextlib.suppress(OSError):
            lines += (process.folder / name).read_text(errors="replace").splitlines()[-10:]
    return "\n".join(lines)


def await_end(processes: Iterable[Served], seconds: float) -> list[Served]:
    """Wait for the servers' processes to end and return the servers whose did not."""
    deadline = time.monotonic() + seconds
    left = list(processes)
    while (left := [one for one in left if pid_of(one) is not None]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def end(processes: Sequence[Served], seconds: float) -> list[Served]:
    """Ask the servers to end and wait for them; the servers that had to be killed for being late."""
    for one in processes:
        send(one, signal.SIGTERM)
    late = await_end(processes, seconds)
    for one in late:
        send(one, signal.SIGKILL)
    await_end(late, seconds)
    for one in processes:
        (one.folder / "pid").unlink(missing_ok=True)
    return late


def is_free(port: int) -> bool:
    """Say whether nothing listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # what a closed connection leaves is no owner
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
