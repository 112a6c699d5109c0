"""A round: one seed, its faults in two lanes at once, and what the verifier says afterwards."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos.faults import FAULTS, Fault, Lane
from chaos.fleet import NotHit
from chaos.verify import Verdict
from chaos.world import World

EVENTS_A_PASS = 330
"""Fewer than one pass over all recordings gives."""
Tell = Callable[[str], None]


@dataclass
class Outcome:
    """What happened in a round."""

    seed: int
    verdict: Verdict
    events: int
    """Without dead letters, which the verdict counts, too."""
    hits: Counter[str]
    at_points: Counter[str]
    """Those of ``hits`` at a point of a transaction: what, and at which."""
    troubles: list[str]
    """Faults not shown to hit, captures that failed, runs that gave other than what scan tells."""
    ends: list[str]
    seconds: float
    impossible: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """Faults that were shown to hit."""
        return self.hits.total()


@dataclass(frozen=True)
class Plan:
    """How large a round is, at least, and how long, at most. It has each of ``kinds`` at least once."""

    faults: int = 20
    events: int = 10_000
    seconds: float = 480.0
    kinds: Sequence[Fault] = FAULTS
    pause: float = 3.0
    replicas: int = 2


def schedule(plan: Plan, kinds: Sequence[Fault], draw: random.Random) -> dict[Lane, list[Fault]]:
    """The faults of each lane, in order."""
    chosen = list(kinds)
    cheap = [kind for kind in kinds if kind.cheap]
    while len(chosen) < plan.faults:
        chosen.append(draw.choice(cheap))
    draw.shuffle(chosen)
    return {lane: [fault for fault in chosen if fault.lane is lane] for lane in Lane}


def play(plan: Plan, seed: int, folder: Path, port: int, tell: Tell = lambda _: None) -> Outcome:
    """Play a round. Raises what the set-up raises; a lane's own defect too."""
    began = time.monotonic()
    hits: Counter[str] = Counter()
    troubles: list[str] = []
    broken: list[BaseException] = []
    with World(folder, port, seed, plan.pause, plan.replicas) as world:
        kinds = [kind for kind in plan.kinds if kind.possible(world)]
        lanes = schedule(plan, kinds, random.Random(f"schedule {seed}"))
        tell(f"{time.monotonic() - began:5.1f} s  seed {seed}: three nodes are there")
        world.feeder.begin()

        def run(lane: Lane) -> None:
            draw = random.Random(f"{lane.value} {seed}")
            try:
                for fault in lanes[lane]:
                    time.sleep(draw.uniform(0.5, 3))
                    if lane is Lane.BROKERS:
                        world.kafka_harmed.set()
                    try:
                        evidence = fault.inject(world, draw)
                    except NotHit as reason:
                        troubles.append(f"{fault.kind}: {reason}")
                        evidence = f"NOT HIT: {reason}"
                    else:
                        hits[fault.kind] += 1
                    finally:
                        if lane is Lane.BROKERS:
                            world.kafka_harmed.clear()
                    tell(f"{time.monotonic() - began:5.1f} s  {fault.kind}: {evidence}")
            except BaseException as error:
                broken.append(error)

        threads = [threading.Thread(target=run, args=(lane,), name=lane.value) for lane in Lane]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if broken:
            raise broken[0]
        world.feeder.stop()
        if (missing := plan.events - world.published()) > 0:
            world.feeder.fill(1 + missing // EVENTS_A_PASS)
        tell(f"{time.monotonic() - began:5.1f} s  no more traffic, {world.feeder.runs} runs; verifying")
        verdict = world.verdict()
        troubles += [*world.feeder.trouble, *world.odd_runs]
        if any(world.exit_codes):
            troubles.append(f"exit codes at the end: {world.exit_codes}")
        return Outcome(
            seed, verdict, world.events, hits, world.at_points, troubles, world.fleet.ends,
            time.monotonic() - began, [kind.kind for kind in plan.kinds if kind not in kinds],
        )  # fmt: skip
