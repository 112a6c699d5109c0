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
from collections import Counter
from pathlib import Path

from chaos.faults import FAULTS
from chaos.feeder import ROOT
from chaos.proxy import find_port
from chaos.round import Outcome, Plan, play
from chaos.verify import Verdict

_LOGS = ROOT / ".cache/chaos"


def main() -> int:
    """Play the rounds; 0 when nothing differs and every fault hit, else 1."""
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
    for line in report(outcomes):
        sys.stdout.write(f"{line}\n")
    good = all(one.verdict.clean and not one.troubles and one.faults >= plan.faults for one in outcomes)
    return 0 if good else 1


def report(outcomes: list[Outcome]) -> list[str]:
    """The faults by kind, what differs, and what else was seen."""
    hits: Counter[str] = sum((one.hits for one in outcomes), Counter())
    verdict = sum((one.verdict for one in outcomes), Verdict(0, 0, 0, 0, 0))
    lines = [f"{'fault':<42}  hit"]
    lines += [f"{fault.kind:<42}  {hits[fault.kind]:>3}" for fault in FAULTS]
    lines += [f"{'all':<42}  {hits.total():>3}", ""]
    seeds = ", ".join(str(one.seed) for one in outcomes)
    lines += [
        f"{len(outcomes)} rounds, seeds {seeds}; the longest took {max(o.seconds for o in outcomes):.0f} s"
    ]
    lines += [
        f"not possible here: {kind}" for kind in sorted({k for one in outcomes for k in one.impossible})
    ]
    for one in outcomes:
        lines += [f"seed {one.seed}: {reason}" for reason in one.troubles]
        lines += [f"seed {one.seed}: restarted by the supervisor: {end}" for end in one.ends]
    return [*lines, str(verdict)]


def _keep_logs(scratch: Path, seed: int) -> None:
    """What services and brokers wrote goes to ``.cache/chaos``: a round cannot be played again exactly."""
    kept = _LOGS / str(seed)
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(scratch, kept, ignore=shutil.ignore_patterns("topics"))


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
