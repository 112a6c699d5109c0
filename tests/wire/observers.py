"""Who looks at the monitor link: ``vermilion scan -c``, and tcpdump beside it.

Both are shown marks before anything else, and before they are stopped. Once those are told of, all that
looks is listening, and has read what came before: frames that one processor put on the link keep their
order.
"""

import json
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from capture.frames import ETHER
from cli.command import COMMAND
from scapy.layers.inet import IP, TCP
from wire.netns import PATIENCE, wait_for
from wire.servers import end_group

Event = dict[str, Any]

# RFC 5737: for documentation, and none of the town's addresses.
_MARKER, _MARKED = "198.51.100.1", "198.51.100.2"
_ADDRESSES = socket.inet_aton(_MARKER) + socket.inet_aton(_MARKED)
# So many flows that each worker of a capture gets some of them.
_FLOWS = 16
# Listeners that were not there yet when marks were put on the link get others.
_AGAIN_SECONDS = 2.0


def is_mark(event: Event) -> bool:
    """Whether it tells of a mark."""
    return bool(event["src_ip"] == _MARKER)


class Marks:
    """Puts marks on the monitor link, by ``tell``, and waits until all that look at it have seen them."""

    def __init__(
        self,
        tell: Callable[[bytes], None],
        told: "Told",
        recorder: "Recorder | None",
        sensors: Iterable[str | None] = (None,),
    ) -> None:
        self._tell, self._told, self._recorder = tell, told, recorder
        self._sensors = list(sensors)
        self._next = 1024

    def begin(self) -> None:
        """Wait until all are listening."""
        wait_for(lambda: self._seen(self._put(), _AGAIN_SECONDS), "all to listen")

    def end(self) -> None:
        """Wait until all that was on the link is told of, and written."""
        ports = self._put()
        wait_for(lambda: self._seen(ports, 0.0), "what was on the link to be told of and written")

    def _put(self) -> set[int]:
        """SYNs of flows that no host of a town has; their source ports."""
        ports = set(range(self._next, self._next + _FLOWS))
        self._next += _FLOWS
        for port in sorted(ports):
            syn = TCP(sport=port, dport=9, flags="S", seq=1)
            self._tell(bytes(ETHER / IP(src=_MARKER, dst=_MARKED) / syn))
        return ports

    def _seen(self, ports: set[int], seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not (
            all(self._told.marked(ports, sensor) for sensor in self._sensors)
            and (self._recorder is None or self._recorder.marked(ports))
        ):
            if time.monotonic() >= until:
                return False
            time.sleep(0.02)
        return True


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

    def marked(self, ports: set[int], sensor: str | None = None) -> bool:
        """Whether it has told of all these marks, seen by ``sensor``."""
        seen = {e["src_port"] for e in self.events if is_mark(e) and e.get("sensor") == sensor}
        return self.alive() and ports <= seen

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


class Recorder:
    """tcpdump, writing what passes an interface."""

    def __init__(self, interface: str, file: Path) -> None:
        self.file = file
        # No buffering anywhere: a mark that is in the file has all before it there.
        options = ["--immediate-mode", "-U", "-B", "16384", "-n", "-p", "-Z", "root"]
        self.process = subprocess.Popen(
            ["tcpdump", "-i", interface, *options, "-w", file],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def marked(self, ports: set[int]) -> bool:
        """Whether all these marks are in the file."""
        written = self.file.read_bytes() if self.file.exists() else b""
        return all(_ADDRESSES + port.to_bytes(2, "big") in written for port in ports)

    def stop(self) -> int:
        """How many frames it recorded, but for the marks; fails when it lost some."""
        self.process.send_signal(signal.SIGINT)
        said = self.process.communicate(timeout=PATIENCE)[1].decode()
        found = re.search(r"(\d+) packets captured", said)
        assert found and re.search(r"^0 packets dropped by kernel", said, re.MULTILINE), said
        return int(found[1]) - self.file.read_bytes().count(_ADDRESSES)


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
