"""Network namespaces and the veth links between them.

A namespace lives as long as its holder, a ``cat`` that ends when its standard input is closed. So whatever
happens to the tests' process, the kernel removes the namespace and with it every link that has an end there.

Sources: namespaces(7), setns(2), veth(4), packet(7).
"""

import ctypes
import errno
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")
PATIENCE = 120.0
_CLONE_NEWNET = 0x40000000
_numbers = count()


class NetworkError(Exception):
    """What could not be made; says which command failed and why."""


@cache
def why_not() -> str | None:
    """Why namespaces cannot be made here; None when they can."""
    for program in ("unshare", "nsenter", "ip"):
        if shutil.which(program) is None:
            return f"{program} is not installed (util-linux, iproute2)"
    if os.geteuid() != 0:
        return "making links needs root"
    try:
        with Namespace() as one:
            link(("probe", 1500, one), ("probed", 1500, one))
    except NetworkError as error:
        return f"network namespaces are not allowed here: {error}"
    return None


class Namespace:
    """A network namespace, gone when closed."""

    def __init__(self) -> None:
        """Raises NetworkError."""
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo there; exec cat"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._holder.stdout is not None and self._holder.stderr is not None
        if self._holder.stdout.readline() != "there\n":
            said = self._holder.stderr.read().strip()
            self.close()
            raise NetworkError(said)
        self.path = f"/proc/{self._holder.pid}/ns/net"
        ip(["link set lo up"], self)

    @property
    def pid(self) -> int:
        """The holder's, by which ``ip`` knows the namespace."""
        return self._holder.pid

    def command(self, command: Sequence[str | Path]) -> list[str]:
        """The command line that runs a command there."""
        return ["nsenter", f"--net={self.path}", "--", *map(str, command)]

    def run(self, call: Callable[[], T]) -> T:
        """What ``call`` gives, made in a thread that has entered the namespace: sockets stay there."""
        made: list[T] = []
        failed: list[BaseException] = []

        def entered() -> None:
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                with Path(self.path).open("rb") as there:
                    if libc.setns(there.fileno(), _CLONE_NEWNET):
                        raise NetworkError(f"setns: {errno.errorcode[ctypes.get_errno()]}")
                made.append(call())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=entered)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return made[0]

    def close(self) -> None:
        """Let it go."""
        self._holder.kill()
        self._holder.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def ip(lines: Iterable[str], where: Namespace | None = None) -> None:
    """Run ``ip`` on each line, in one process. Raises NetworkError."""
    command = ["ip", "-batch", "-"]
    done = subprocess.run(
        where.command(command) if where else command,
        input="\n".join(lines), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise NetworkError(f"ip: {(done.stderr + done.stdout).strip()}")


def unique_name() -> str:
    """A name for a link that has an end in the namespace that all share."""
    return f"vw{os.getpid()}n{next(_numbers)}"


def link(*ends: tuple[str, int, Namespace | None]) -> None:
    """A veth pair, each end with its name, MTU and namespace, both up. Raises NetworkError.

    Its own addresses, and what the kernel says of itself with them, are left out: the link carries
    what the test puts on it.
    """
    one, other = (f"name {name}" + (f" netns {where.pid}" if where else "") for name, _, where in ends)
    ip([f"link add {one} type veth peer {other}"])
    for name, mtu, where in ends:
        # In this order: below 1,280 bytes an interface has no IPv6, and no addresses of its own to be set.
        ip([f"link set {name} addrgenmode none", f"link set {name} mtu {mtu}", f"link set {name} up"], where)


def wait_for(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Until ``condition`` holds; fails with ``what`` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.02)
