"""Memory that a peak took is given back."""

import ctypes
import subprocess
import sys

import pytest

from vermilion_pipeline import allocator

# Blocks that malloc does not map, among small ones that live on.
HOLES = """
import os, sys, time
from vermilion_pipeline import allocator
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
allocator._EVERY_SECONDS = float(sys.argv[1])
if not allocator.give_back():
    sys.exit(3)
before = resident()
kept, holes = [], []
for _ in range(1000):
    holes.append(b"x" * 50_000)
    kept.append(bytes(3000))
holes.clear()
deadline = time.monotonic() + 2
while resident() - before > 10 << 20 and time.monotonic() < deadline:
    time.sleep(0.05)
print(resident() - before)
"""

# What Python keeps of a batch's headers for the next who ask: how many of its blocks of 1 MiB it holds.
KEPT = """
import os, re, sys, tempfile, time
from vermilion_pipeline import allocator
def blocks():
    with tempfile.TemporaryFile() as told:
        saved = os.dup(2)
        os.dup2(told.fileno(), 2)
        sys._debugmallocstats()
        os.dup2(saved, 2)
        os.close(saved)
        told.seek(0)
        return int(re.search(rb"# arenas allocated current += +(\\d+)", told.read())[1])
allocator._EVERY_SECONDS = float(sys.argv[1])
if not allocator.give_back():
    sys.exit(3)
before = blocks()
for _ in range(3):
    batch = [[(f"name {n}", b"x" * 40 + bytes([n])) for n in range(6)] for _ in range(5000)]
    batch = [tuple((name, value) for name, value in one) for one in batch]
    batch = None
deadline = time.monotonic() + 2
while blocks() - before > 2 and time.monotonic() < deadline:
    time.sleep(0.05)
print(blocks() - before)
"""

# Large blocks among small ones that live on, as a fetch's buffers are among a batch's records.
PEAK = """
import os, sys
from vermilion_pipeline import allocator
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
if sys.argv[1] == "tuned" and not allocator.give_back():
    sys.exit(3)
del_me = bytes(4 << 20)
del del_me  # teaches glibc that 4 MiB is nothing unusual
before = resident()
kept, large = [], []
for _ in range(100):
    large.append(b"x" * (1 << 20))
    kept.append(bytes(3000))
large.clear()
print(resident() - before)
"""


def left(how: str, program: str = PEAK) -> int:
    """Bytes that stay resident after a peak, or Python's blocks."""
    done = subprocess.run([sys.executable, "-c", program, how], capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip("this allocator is not glibc's")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_peak_is_given_back() -> None:
    assert left("tuned") < 10 << 20
    assert left("as it is") > 50 << 20


def test_holes_are_given_back_after_a_while() -> None:
    assert left("0.1", HOLES) < 10 << 20
    assert left("3600", HOLES) > 30 << 20


def test_what_python_keeps_of_a_batch_is_given_back_after_a_while() -> None:
    assert left("0.1", KEPT) <= 2
    assert left("3600", KEPT) > 2


def test_another_allocator_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        def __init__(self, name: None) -> None:
            pass

    monkeypatch.setattr(ctypes, "CDLL", Library)
    assert allocator.give_back() is False
