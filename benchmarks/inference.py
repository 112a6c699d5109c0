"""What an answer costs, beside pmercury 0.2.1.3 in one run: ``make bench``.

Each asks a process of its own: fingerprints of the database, as often as each was seen and each time
for another destination, and
fingerprints that no database has, each once. So no cache of answers helps.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).parent.parent
EXACT, UNKNOWN, PEERS_UNKNOWN = 200_000, 5_000, 100
_SEED = 3


def keys() -> list[str]:
    """The fingerprints of the first public database."""
    from vermilion_classify.store import public_layers

    return [key for entry in public_layers()[0].database.entries for key in entry.keys]


def known(count: int) -> Iterator[tuple[str, str, str]]:
    """(fingerprint, address, server name): known ones by their counts, no two destinations alike."""
    from vermilion_classify.store import public_layers

    random, entries = Random(_SEED), public_layers()[0].database.entries
    drawn = random.choices(entries, [entry.total for entry in entries], k=count)
    for number, entry in enumerate(drawn):
        address = ".".join(str(byte) for byte in random.randbytes(4))
        yield entry.keys[0], address, f"host{number}.example.com"


def unknown(count: int) -> Iterator[tuple[str, str, str]]:
    """Likewise ones that are not known: a suite less and another more."""
    random, each, every = Random(_SEED), keys(), set(keys())
    while count:
        version, suites, extensions = random.choice(each)[1:].split(")(", 2)
        at = 4 * random.randrange(len(suites) // 4 + 1)
        changed = f"({version})({suites[:at]}{random.randrange(1 << 16):04x}{suites[at + 4 :]})({extensions}"
        if changed not in every:
            count -= 1
            yield changed, "198.51.100.7", "www.example.com"


def timed(asked: list[Any], ask: Callable[[Any], object]) -> float:
    """Microseconds of CPU for each."""
    begin = time.process_time()
    for each in asked:
        ask(each)
    return (time.process_time() - begin) / len(asked) * 1e6


def peak() -> float:
    """MiB that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ours() -> dict[str, float]:
    """Vermilion's figures."""
    exact, strange = (
        [
            {
                "type": "tls", "fingerprints": {"tls": fingerprint}, "tls": {"server_name": name},
                "dst_ip": address, "dst_port": 443, "event_start": 0,
            }
            for fingerprint, address, name in asked
        ]
        for asked in (known(EXACT), unknown(UNKNOWN))
    )  # fmt: skip
    from vermilion_classify.store import load

    before, begin = peak(), time.perf_counter()
    knowledge = load()
    seconds = time.perf_counter() - begin

    return {
        "unknown, us": timed(strange, knowledge.analyse),
        "exact, us": timed(exact, knowledge.analyse),
        "load, s": seconds,
        "memory, MiB": peak() - before,
    }


def peers() -> dict[str, float]:
    """pmercury's, which prints the approximate match of each unknown one."""
    exact, strange = list(known(EXACT // 10)), list(unknown(PEERS_UNKNOWN))
    from pmercury.protocols.tls import TLS  # type: ignore[import-not-found]

    before, begin = peak(), time.perf_counter()
    inference: Any = TLS("resources/fingerprint_db.json.gz")
    seconds = time.perf_counter() - begin

    def ask(asked: tuple[str, str, str]) -> object:
        fingerprint, address, name = asked
        return inference.proc_identify(fingerprint, [{"name": "server_name", "data": name}], address, 443)

    out = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    figures = {"unknown, us": timed(strange, ask), "exact, us": timed(exact, ask)}
    sys.stdout.flush()
    os.dup2(out, 1)
    return {**figures, "load, s": seconds, "memory, MiB": peak() - before}


def main() -> None:
    """Ask both and print a table."""
    if len(sys.argv) > 1:
        sys.stdout.write(json.dumps({"ours": ours, "peers": peers}[sys.argv[1]]()))
        return
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".cache/bench")}
    told = {}
    for who in ("ours", "peers"):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", __file__, who],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        told[who] = json.loads(done.stdout.splitlines()[-1])
    sys.stdout.write(f"{'an answer':<14}{'Vermilion':>12}{'pmercury':>12}{'ratio':>10}\n")
    for name, value in told["ours"].items():
        other = told["peers"][name]
        sys.stdout.write(f"{name:<14}{value:>12.3g}{other:>12.3g}{other / value:>10.3g}\n")


if __name__ == "__main__":
    main()
