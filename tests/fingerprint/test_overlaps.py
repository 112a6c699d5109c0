"""Overlapping segments, as the kernel here resolves them: it is asked, over a TUN device."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from vermilion_fingerprint.streams import in_order

Case = list[tuple[int, bytes]]
KERNEL = Path(__file__).with_name("kernel.py")


def kernel(cases: list[Case]) -> list[bytes]:
    told = json.dumps([[[seq, data.hex()] for seq, data in case] for case in cases])
    done = subprocess.run(
        ["unshare", "--net", sys.executable, str(KERNEL)],
        input=told, capture_output=True, text=True, check=True, timeout=200,
    )  # fmt: skip
    return [bytes.fromhex(each) for each in json.loads(done.stdout)]


def allowed() -> bool:
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return done.returncode == 0 and os.access("/dev/net/tun", os.W_OK) and sys.platform == "linux"


def drawn(seed: int) -> Case:
    """Pieces behind a gap, of which none begins where another ends, and what closes the gap.

    Where it does, Linux may join the two although a third lies over both: that depends on the
    shape of its tree, and is not followed.
    """
    draw = random.Random(seed)
    case, ends = [(0, b"0")], {1}
    for number in range(draw.randint(1, 10)):
        offset, size = draw.randint(1, 24), draw.randint(1, 9)
        if offset not in ends:
            case.append((offset, bytes([65 + number]) * size))
            ends.add(offset + size)
    return [*case, (1, b"12"), (3, b"3456")]


@pytest.mark.skipif(not allowed(), reason="network namespaces and /dev/net/tun are not allowed here")
def test_any_overlaps_give_what_the_kernel_gives() -> None:
    cases = [drawn(seed) for seed in range(300)]
    joined: list[Case] = [
        [(0, b"0"), (3, b"AA"), (5, b"BB"), (7, b"CC"), (4, b"dddd"), (1, b"12")],
        [(0, b"0"), (5, b"BB"), (3, b"AA"), (4, b"dddd"), (1, b"12")],
        [(0, b"0"), (3, b"AA"), (5, b"BB"), (5, b"ccc"), (1, b"12")],
    ]
    cases += joined
    for case, bytes_given in zip(cases, kernel(cases), strict=True):
        assert in_order(case, syn=-1) == bytes_given, case
