"""What rounds came to, and in what they fall short of the aim."""

from collections import Counter
from collections.abc import Sequence

from chaos.round import Outcome, Plan
from chaos.verify import Verdict

FULL = 10
"""Rounds. In fewer, a kind of fault that is not possible on this machine is only told."""


def shortfalls(plan: Plan, outcomes: Sequence[Outcome]) -> list[str]:
    """The reasons why the rounds do not count; none when all is as it must be."""
    short = []
    for one in outcomes:
        failed = {
            str(one.verdict): not one.verdict.clean,
            f"{len(one.troubles)} troubles": bool(one.troubles),
            f"{one.faults} of {plan.faults} faults hit": one.faults < plan.faults,
            f"{one.events} of {plan.events} events": one.events < plan.events,
            f"{one.seconds:.0f} s, longer than {plan.seconds:.0f} s": one.seconds > plan.seconds,
        }
        short += [f"seed {one.seed}: {reason}" for reason, holds in failed.items() if holds]
    hits, impossible = _hits(outcomes), _impossible(outcomes)
    for fault in plan.kinds:
        if fault.kind in impossible:
            if len(outcomes) >= FULL:
                short.append(f"{fault.kind}: not possible here")
        elif hits[fault.kind] < len(outcomes):
            short.append(f"{fault.kind}: hit {hits[fault.kind]} times in {len(outcomes)} rounds")
    return short


def report(plan: Plan, outcomes: Sequence[Outcome]) -> list[str]:
    """The faults by kind and by point, what differs, and what else was seen."""
    hits = _hits(outcomes)
    points: Counter[str] = sum((one.at_points for one in outcomes), Counter())
    verdict = sum((one.verdict for one in outcomes), Verdict(0, 0, 0, 0, 0))
    lines = [f"{'fault':<42}  hit"]
    lines += [f"{fault.kind:<42}  {hits[fault.kind]:>3}" for fault in plan.kinds]
    lines += [f"{'all':<42}  {hits.total():>3}", "", "of them at a point of a transaction:"]
    lines += [f"{point:<42}  {count:>3}" for point, count in sorted(points.items())]
    seeds = ", ".join(str(one.seed) for one in outcomes)
    longest, least = max(one.seconds for one in outcomes), min(one.events for one in outcomes)
    lines += [
        "",
        f"{len(outcomes)} rounds, seeds {seeds}",
        f"the longest took {longest:.0f} s, the least gave {least} events",
    ]
    lines += [f"not possible here: {kind}" for kind in sorted(_impossible(outcomes))]
    for one in outcomes:
        lines += [f"seed {one.seed}: {reason}" for reason in one.troubles]
        lines += [f"seed {one.seed}: restarted by the supervisor: {end}" for end in one.ends]
    return [*lines, str(verdict)]


def _hits(outcomes: Sequence[Outcome]) -> Counter[str]:
    return sum((one.hits for one in outcomes), Counter())


def _impossible(outcomes: Sequence[Outcome]) -> set[str]:
    return {kind for one in outcomes for kind in one.impossible}
