"""``make chaos``: rounds of faults on a real three-node Apache Kafka, and the report.

``VERMILION_CHAOS_ROUNDS`` (10) rounds; ``VERMILION_CHAOS_SEED`` is the first one's seed, and each has the
next number. The report goes to stdout, what happens meanwhile to stderr, logs to ``.cache/chaos/SEED``.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from chaos.feeder import ROOT
from chaos.proxy import find_port
from chaos.report import report, shortfalls
from chaos.round import Plan, play

_LOGS = ROOT / ".cache/chaos"


def main() -> int:
    """Play the rounds; 0 when they come up to the aim, else 1."""
    fixed = os.environ.get("VERMILION_CHAOS_SEED")
    rounds = int(os.environ.get("VERMILION_CHAOS_ROUNDS", "10"))
    first = int(fixed) if fixed else random.SystemRandom().randrange(1_000_000)
    # Whoever ends this must not leave brokers and services behind.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    plan = Plan()
    outcomes = []
    for seed in range(first, first + rounds):
        with tempfile.TemporaryDirectory(prefix="vermilion-chaos-", ignore_cleanup_errors=True) as scratch:
            try:
                outcome = play(plan, seed, Path(scratch), find_port(3), _tell)
            finally:
                _keep_logs(Path(scratch), seed)
        outcomes.append(outcome)
        _tell(f"seed {seed}: {outcome.faults} faults in {outcome.seconds:.0f} s; {outcome.verdict}")
    short = shortfalls(plan, outcomes)
    for line in [*report(plan, outcomes), *(f"FAILED: {reason}" for reason in short)]:
        sys.stdout.write(f"{line}\n")
    return 1 if short else 0


def _keep_logs(scratch: Path, seed: int) -> None:
    """What services and brokers wrote goes to ``.cache/chaos``: a round cannot be played again exactly."""
    kept = _LOGS / str(seed)
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(scratch, kept, ignore=shutil.ignore_patterns("topics"))


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
