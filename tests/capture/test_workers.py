"""Workers do not outlive what started them."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vermilion_capture.heartbeats import Tally
from vermilion_capture.metrics import Numbers
from vermilion_capture.workers import together

_PARENT = """
import os, time
from vermilion_capture.workers import _end_with
parent = os.getpid()
if not (child := os.fork()):
    _end_with(parent)
    os.write(1, b"%d " % os.getpid())
    time.sleep(60)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_worker_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE) as parent:
        child = int(_word(parent))
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
    deadline = time.monotonic() + 20
    while _runs(child):
        assert time.monotonic() < deadline, f"process {child} has outlived its parent"
        time.sleep(0.05)


def test_what_shares_an_interface_was_blind_once() -> None:
    part = Numbers(Tally(packets=3, dropped_kernel=1, blind=10), {"not_ip": 2}, flows=5)
    total = together([part, part._replace(tally=part.tally._replace(blind=12)), part])
    assert total == Numbers(Tally(packets=9, dropped_kernel=3, blind=12), {"not_ip": 6}, flows=15)
    assert together([]) == Numbers()


def _word(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    word = b""
    while (byte := process.stdout.read(1)) not in (b" ", b""):
        word += byte
    return word


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
