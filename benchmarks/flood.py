"""How many packets a second one worker sees without loss, beside tcpdump -w on the same link at once.

Root, in a network namespace of its own: ``make bench-live``. A program in C sends segments of 64 flows
over a veth pair, at rates that double; LiveSource and tcpdump listen at the other end. First all but
the first segments lie beyond the flows' heads, then each gives a record, which is encoded and not sent.
What each lost is told for every rate, and that sent = seen + dropped holds.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
SECONDS = 3
BYTES = 300
BEYOND = (50_000, 100_000, 200_000, 400_000, 0)
RECORDS = (50_000, 100_000, 200_000, 400_000, 0)
UNBOUND = 400_000
"""Packets that would be sent a second when no rate is given."""


def one_rate(flood: Path, folder: str, rate: int, depth: int) -> None:
    """Send at the rate, and print what was seen and lost."""
    from vermilion_capture.live import LiveCapture, LiveSource
    from vermilion_capture.source import Policy
    from vermilion_pipeline.codec import Codec
    from vermilion_pipeline.topics import PAYLOADS

    count = (rate or UNBOUND) * SECONDS
    codec = Codec()
    header, encode = codec.header(PAYLOADS), codec.encoder(PAYLOADS)
    source = LiveSource(LiveCapture(["two"]), "bench", Policy(depth))
    dump = subprocess.Popen(
        ["tcpdump", "-i", "two", "-n", "-B", "65536", "-w", f"{folder}/out.pcap"],
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(1)
    sent = []

    def send() -> None:
        done = subprocess.run(
            [flood, "one", str(count), str(BYTES), str(rate)], capture_output=True, check=True
        )
        sent.extend(map(float, done.stdout.split()))
        time.sleep(0.5)
        source.stop()

    threading.Thread(target=send).start()
    before = time.process_time()
    with contextlib.suppress(KeyboardInterrupt):
        for item in source:
            item.encoded(header, encode)
    spent = time.process_time() - before
    dump.terminate()
    _, told = dump.communicate()
    lost_there = int(re.findall(r"(\d+) packets dropped by kernel", told)[0])
    packets, lost = source.counts["packets"], sum(source.drops.values())
    exact = "exact" if packets + lost == sent[0] else f"NOT EXACT: {packets + lost - sent[0]:+.0f}"
    print(  # noqa: T201
        f"{sent[0] / sent[1]:>9,.0f} packets/s: vermilion lost {lost / sent[0]:7.2%} "
        f"({spent / packets * 1e9:5,.0f} ns a packet), tcpdump lost {lost_there / sent[0]:7.2%}; {exact}",
        flush=True,
    )


def main() -> None:
    """Set the link up, and try every rate."""
    if "--inside" not in sys.argv:
        os.execvp("unshare", ["unshare", "--net", sys.executable, __file__, "--inside"])  # noqa: S606
    for command in (
        "ip link add one type veth peer name two",
        "ip link set one addrgenmode none", "ip link set two addrgenmode none",
        "ip link set one up", "ip link set two up",
    ):  # fmt: skip
        subprocess.run(command.split(), check=True)
    with tempfile.TemporaryDirectory() as folder:
        flood = Path(folder, "flood")
        subprocess.run(["cc", "-O2", "-o", flood, ROOT / "tests/capture/flood.c"], check=True)
        for what, depth, rates in (("beyond the heads", 16_384, BEYOND), ("a record each", 0, RECORDS)):
            print(what, flush=True)  # noqa: T201
            for rate in rates:
                one_rate(flood, folder, rate, depth)


if __name__ == "__main__":
    main()
