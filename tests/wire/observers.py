"""Who looks at the monitor link: ``vermilion scan -c``, and tcpdump beside it.

Both are shown marks before they are stopped, and must have told of them: frames that one processor
put on the link keep their order, so all that came before has been read.
"""

import json
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from capture.frames import ETHER
from cli.command import COMMAND
from scapy.layers.inet import IP, TCP
from wire.netns import PATIENCE, packet_sockets, wait_for
from wire.servers import end_group

Event = dict[str, Any]

# RFC 5737: for documentation, and none of the town's addresses.
_MARKER, _MARKED = "198.51.100.1", "198.51.100.2"
# So many flows that each worker of a capture gets some of them.
MARKS = [
    bytes(ETHER / IP(src=_MARKER, dst=_MARKED) / TCP(sport=port, dport=9, flags="S", seq=1))
    for port in range(40_000, 40_016)
]


def is_mark(event: Event) -> bool:
    """Whether it tells of a mark."""
    return bool(event["src_ip"] == _MARKER)


class Told:
    """A ``vermilion`` command that tells of events, a JSON line each; ``events`` grows while it runs."""

    def __init__(self, *arguments: str) -> None:
        self.events: list[Event] = []
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def alive(self) -> bool:
        """True; fails with what it said when it has ended."""
        assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
        return True

    def marked(self, sensor: str | None = None) -> bool:
        """Whether it has told of every mark that ``sensor`` saw."""
        return self.alive() and sum(is_mark(e) for e in self.events if e.get("sensor") == sensor) >= len(
            MARKS
        )

    def stop(self) -> tuple[int, str]:
        """Ctrl-C; the exit code and what it said."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.stderr is not None
        said = self.process.stderr.read()
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code, said


@contextmanager
def telling(*arguments: str) -> Iterator[Told]:
    """Run a command; killed at the end, if it still runs."""
    told = Told(*arguments)
    try:
        yield told
    finally:
        end_group(told.process)


@contextmanager
def scanning(interface: str, *more: str) -> Iterator[Told]:
    """Run ``vermilion scan -c``, which listens already."""
    before = packet_sockets(interface)
    with telling("scan", "-e", "-a", "-c", interface, *more) as told:
        wait_for(lambda: told.alive() and packet_sockets(interface) > before, "scan to listen")
        yield told


class Recorder:
    """tcpdump, writing what passes an interface."""

    def __init__(self, interface: str, file: Path) -> None:
        self.file = file
        before = packet_sockets(interface)
        # No buffering anywhere: a mark that is in the file has all before it there.
        options = ["--immediate-mode", "-U", "-B", "16384", "-n", "-p", "-Z", "root"]
        self.process = subprocess.Popen(
            ["tcpdump", "-i", interface, *options, "-w", file],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        wait_for(lambda: packet_sockets(interface) > before, "tcpdump to listen")

    def marked(self) -> bool:
        """Whether every mark is in the file."""
        addresses = socket.inet_aton(_MARKER) + socket.inet_aton(_MARKED)
        return self.file.exists() and self.file.read_bytes().count(addresses) >= len(MARKS)

    def stop(self) -> int:
        """How many frames it recorded; fails when it lost some."""
        self.process.send_signal(signal.SIGINT)
        said = self.process.communicate(timeout=PATIENCE)[1].decode()
        found = re.search(r"(\d+) packets captured", said)
        assert found and re.search(r"^0 packets dropped by kernel", said, re.MULTILINE), said
        return int(found[1])


@contextmanager
def recording(interface: str, file: Path) -> Iterator[Recorder | None]:
    """Record an interface into a file; None without tcpdump.

    Without a socket that asks for it, the kernel notes no time when a frame comes, and each reader
    takes its own, some microseconds apart (net_enable_timestamp in net/core/dev.c).
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as clock:
        clock.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
        if shutil.which("tcpdump") is None:
            yield None
            return
        recorder = Recorder(interface, file)
        try:
            yield recorder
        finally:
            end_group(recorder.process)
