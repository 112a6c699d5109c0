"""The faults, one table. Each does its harm, proves that it hit, mends it, and tells what was seen."""

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from chaos import leaders, points
from chaos.fleet import SESSION_SECONDS, STAGES, TRANSACTION_SECONDS, NotHit, Replica, until
from chaos.world import PARTITIONS, SMALL_DISK, World

from vermilion_pipeline.ports import BrokerError
from vermilion_pipeline.topics import FINGERPRINTS, PAYLOADS

_REGISTRY_GONE = "schema registry http"
"""What a service logs while it waits for the registry."""
_NOT_COMMITTED = "batch not committed"
"""What a service logs when it goes back to what is committed."""
_LEDGERS: Final = ("__transaction_state", "__consumer_offsets")


class Lane(Enum):
    """Faults of one lane come one after the other; the lanes run at once, and so mix."""

    SERVICES = "services"
    BROKERS = "brokers"


Inject = Callable[[World, random.Random], str]


@dataclass(frozen=True)
class Fault:
    """A kind of fault: ``inject`` returns the evidence, or raises NotHit."""

    kind: str
    lane: Lane
    inject: Inject
    cheap: bool = False
    """Of seconds: a round fills up with these."""
    possible: Callable[[World], bool] = lambda _: True


def _victim(world: World, draw: random.Random, stage: str) -> Replica:
    """A replica that runs and has joined."""
    found: list[Replica] = []

    def there() -> bool:
        found[:] = [one for one in world.fleet.of(stage) if one.running and one.ready()]
        return bool(found)

    world.until(there, f"a ready replica of {stage}")
    return draw.choice(found)


def _kill(stage: str) -> Inject:
    def inject(world: World, draw: random.Random) -> str:
        time.sleep(draw.uniform(0, 2))
        victim = _victim(world, draw, stage)
        victim.signal(signal.SIGKILL)
        code = victim.process.wait(10)
        _gone_by_kill(victim, code)
        return f"{stage}-{victim.number}, process {victim.pid}, ended with {code}"

    return inject


def _gone_by_kill(victim: Replica, code: int) -> None:
    if code != -signal.SIGKILL:
        raise NotHit(f"process {victim.pid} had ended by itself, with {code}")


def _hit(
    world: World, draw: random.Random, stage: str, action: str, at: tuple[str, ...]
) -> tuple[Replica, str]:
    """Arm a point and wait for a replica to pass it."""
    armed = world.fleet.points[stage]
    point, count = points.choose(draw, at)
    armed.arm(point, action, count)
    try:
        world.until(lambda: armed.hit() is not None, f"a {stage} at point {point!r}")
    finally:
        armed.disarm()
    victim = world.fleet.started[armed.hit() or 0]
    world.at_points[f"{action} at {point}"] += 1
    # What is aborted must go on; what is stopped, or cut off, may find itself fenced.
    victim.expected_end = action != points.ABORT
    return victim, point


def _kill_at_point(stage: str) -> Inject:
    def inject(world: World, draw: random.Random) -> str:
        victim, point = _hit(world, draw, stage, points.KILL, points.POINTS)
        code = victim.process.wait(10)
        _gone_by_kill(victim, code)
        return f"{stage}-{victim.number}, process {victim.pid}, ended with {code} at {point}"

    return inject


def _kill_capture(world: World, draw: random.Random) -> str:
    world.until(lambda: _answers(world), "a broker to answer")  # without one it refuses to begin
    return world.feeder.kill_one(draw, world.until)


def _terminate(world: World, draw: random.Random) -> str:
    victim = _victim(world, draw, draw.choice(STAGES))
    victim.signal(signal.SIGTERM)
    began = time.monotonic()
    code = victim.process.wait(60)
    if code != 0:
        raise NotHit(f"{victim.stage}-{victim.number} ended with {code} on SIGTERM: {victim.log}")
    return f"{victim.stage}-{victim.number} ended with 0 after {time.monotonic() - began:.1f} s"


def _scale(world: World, draw: random.Random) -> str:
    stage = draw.choice(STAGES)
    world.fleet.scale(stage, 1)
    seen = []
    for count in (4, 2):
        world.fleet.scale(stage, count)
        world.until(lambda: sum(shared := _partitions(world, stage)) == PARTITIONS and min(shared) > 0,
                    f"partitions shared out among {count} of {stage}", 90.0)  # fmt: skip
        seen.append("+".join(f"{number:.0f}" for number in _partitions(world, stage)))
        time.sleep(draw.uniform(0.5, 2))
    return f"{stage} 1→4→2: partitions {', then '.join(seen)}"


def _partitions(world: World, stage: str) -> list[float]:
    return [one.metric("partitions_assigned") or 0.0 for one in world.fleet.of(stage)]


def _abort(world: World, draw: random.Random) -> str:
    stage = draw.choice(STAGES)
    lines = {one.pid: one.log_lines(_NOT_COMMITTED) for one in world.fleet.of(stage)}
    victim, point = _hit(world, draw, stage, points.ABORT, points.POINTS[1:4])
    world.until(lambda: victim.log_lines(_NOT_COMMITTED) > lines.get(victim.pid, 0), "the abort in the log")
    if not victim.running:
        raise NotHit(f"{stage}-{victim.number} ended after the abort: {victim.log}")
    return f"{stage}-{victim.number}, process {victim.pid}, aborted at {point} and went on"


def _zombie(world: World, draw: random.Random) -> str:
    """It is stopped in an open transaction, and wakes when that and its session are over."""
    stage = draw.choice(STAGES)
    replaced = draw.random() < 0.5
    victim, point = _hit(world, draw, stage, points.STOP, points.POINTS[:4])
    try:
        world.until(lambda: _state(victim.pid) == "T", f"process {victim.pid} to be stopped")
        if replaced:
            world.fleet.abandon(victim)
        lines = victim.log_lines(_NOT_COMMITTED)
        time.sleep(max(TRANSACTION_SECONDS, SESSION_SECONDS) + 1)
        # Brokers that were down meanwhile begin to count its session anew, and who finds none of them up ends
        # and is started again: the others are whoever runs when they are asked.
        world.until(
            lambda: _assigned(world, stage, victim) == PARTITIONS, "the others to have all partitions"
        )
    finally:
        victim.process.send_signal(signal.SIGCONT)
    world.until(
        lambda: not victim.running or victim.log_lines(_NOT_COMMITTED) > lines, "the zombie to notice", 90
    )
    if replaced:
        # Its name is another's: it must go.
        world.until(lambda: not victim.running, "the fenced zombie to end", 90)
    end = _end(victim)
    how = "its name taken over" if replaced else "its partitions taken over"
    return f"{stage}-{victim.number}, process {victim.pid}, stopped at {point}, {how}; woken, it {end}"


def _assigned(world: World, stage: str, without: Replica) -> float:
    """How many partitions the stage's replicas have, but for one."""
    others = (one for one in world.fleet.of(stage) if one is not without)
    return sum(one.metric("partitions_assigned") or 0 for one in others)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def _cut(world: World, draw: random.Random) -> str:
    """It is held in an open transaction while the network is cut, so that the cut hits one."""
    stage = draw.choice(STAGES)
    victim, point = _hit(world, draw, stage, points.HOLD, points.POINTS[:4])
    seconds = TRANSACTION_SECONDS + draw.uniform(2, 6)
    lines = victim.log_lines(_NOT_COMMITTED)
    try:
        world.network.cut(victim.pid)
        world.fleet.points[stage].release()
        time.sleep(seconds)
        held = world.network.held_back[victim.pid]
    finally:
        world.network.heal(victim.pid)
    if not held:
        raise NotHit(f"process {victim.pid} had no connection to cut")
    world.until(
        lambda: not victim.running or victim.log_lines(_NOT_COMMITTED) > lines, "the cut to be noticed", 90
    )
    return (
        f"{stage}-{victim.number} cut off at {point} for {seconds:.0f} s, {held} connections; "
        f"then it {_end(victim)}"
    )


def _end(victim: Replica) -> str:
    return "went back to what is committed" if victim.running else f"ended with {victim.process.returncode}"


def _poison(world: World, draw: random.Random) -> str:
    world.until(lambda: _answers(world), "a broker to answer")
    producer = world.broker.producer()
    count = draw.randint(2, 6)
    for number in range(count):
        topic = draw.choice((PAYLOADS, FINGERPRINTS))
        value = draw.choice((b"", b"no avro", b"\x00\x00\x00\x00\x09unknown id", b"\xc3\x01" + bytes(30)))
        producer.produce(world.topic(topic), b"poison %d" % number, value, (("origin", b"kept"),))
    left = producer.flush(60)
    delivered = producer.delivered
    producer.close()
    if left or delivered != count:
        raise NotHit(f"{delivered} of {count} poison records delivered")
    return (
        f"{count} records that do not decode, acknowledged"  # that each is a dead letter, the verifier sees
    )


def _registry_gone(world: World, draw: random.Random) -> str:
    """It is gone when a service starts anew, and so knows no schema's id: that one waits for it."""
    victim = _victim(world, draw, draw.choice(STAGES))
    pid, before = world.registry.pid, set(world.fleet.started)
    world.registry.kill()
    try:
        if world.registry.pid is not None:
            raise NotHit(f"the registry still runs, as {world.registry.pid}")
        victim.signal(signal.SIGKILL)
        victim.process.wait(10)

        def waiting() -> list[Replica]:
            new = [one for started, one in list(world.fleet.started.items()) if started not in before]
            return [one for one in new if one.log_lines(_REGISTRY_GONE)]

        world.until(lambda: bool(waiting()), f"a new {victim.stage} to wait for the registry")
        held = waiting()[0]
        time.sleep(draw.uniform(0, 5))
    finally:
        world.registry.start()
    world.until(held.ready, f"{held.stage}-{held.number} to go on")
    return (
        f"process {pid} killed, back as {world.registry.pid}; {held.stage}-{held.number} waited and went on"
    )


def _answers(world: World) -> bool:
    try:
        world.broker.topics()
    except BrokerError:
        return False
    return True


def _broker_killed(world: World, draw: random.Random) -> str:
    number = draw.randint(1, 3)
    pid = world.cluster.nodes[number - 1].pid
    world.cluster.kill(number)
    if world.cluster.status()[number] is not None:
        raise NotHit(f"node {number} still runs")
    time.sleep(draw.uniform(1, 8))
    world.cluster.start()
    world.kafka_is_well()
    return f"node {number}, process {pid}, killed; back as {world.cluster.status()[number]}, all in sync"


def _all_restarted(world: World, draw: random.Random) -> str:
    before = world.cluster.status()
    hard = draw.random() < 0.5
    if hard:
        for number in before:
            world.cluster.kill(number)
    else:
        world.cluster.stop()
    if any(world.cluster.status().values()):
        raise NotHit(f"nodes still run: {world.cluster.status()}")
    time.sleep(draw.uniform(0, 3))
    world.cluster.start()
    world.kafka_is_well()
    after = world.cluster.status()
    return f"processes {list(before.values())} {'killed' if hard else 'stopped'}, now {list(after.values())}"


def _leader_moved(world: World, draw: random.Random) -> str:
    # The ledgers are there once the services have joined.
    until(lambda: world.admin.list_topics(timeout=10).topics.keys() >= set(_LEDGERS), "Kafka's own topics")
    topic = draw.choice([world.topic(PAYLOADS), world.topic(FINGERPRINTS), *_LEDGERS])
    number = draw.choice(sorted(leaders.leaders(world.admin, topic)))
    address = ("127.0.0.1", world.cluster.nodes[0].port)
    try:
        before, after = leaders.move(world.admin, address, topic, number)
    except (OSError, TimeoutError) as error:
        raise NotHit(str(error)) from error
    return f"{topic}[{number}] from node {before} to node {after}"


def _disk_full(world: World, draw: random.Random) -> str:
    assert world.disk is not None
    node = world.cluster.nodes[SMALL_DISK - 1]
    filler = world.disk / "filler"
    written = 0
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                written += file.write(bytes(1 << 20))
        except OSError:
            pass
    try:
        # A node whose only data folder fails ends itself.
        until(lambda: node.pid is None, f"node {node.id} to end for want of space", 60)
        words = [word for word in ("No space left", "InternalError", "SIGBUS") if word in _logs(node.folder)]
        time.sleep(draw.uniform(0, 3))
    finally:
        filler.unlink()
    world.cluster.start()
    world.kafka_is_well()
    if not words:
        raise NotHit(f"node {node.id} ended, but not for want of space: {node.folder}")
    return f"node {node.id}: {written >> 20} MiB filled, ended with {words[0]!r}; back, all in sync"


def _logs(folder: Path) -> str:
    return "".join(file.read_text(errors="replace") for file in folder.glob("*.log"))


FAULTS: Final = (
    Fault("kill -9 of fingerprint", Lane.SERVICES, _kill("fingerprint"), cheap=True),
    Fault("kill -9 of classify", Lane.SERVICES, _kill("classify"), cheap=True),
    Fault("kill -9 of capture", Lane.SERVICES, _kill_capture),
    Fault(
        "kill -9 of fingerprint in a transaction", Lane.SERVICES, _kill_at_point("fingerprint"), cheap=True
    ),
    Fault("kill -9 of classify in a transaction", Lane.SERVICES, _kill_at_point("classify"), cheap=True),
    Fault("SIGTERM", Lane.SERVICES, _terminate, cheap=True),
    Fault("scale 1→4→2", Lane.SERVICES, _scale),
    Fault("transaction aborted", Lane.SERVICES, _abort, cheap=True),
    Fault("zombie wakes", Lane.SERVICES, _zombie),
    Fault("network cut", Lane.SERVICES, _cut),
    Fault("poison records", Lane.SERVICES, _poison, cheap=True),
    Fault("registry gone", Lane.SERVICES, _registry_gone),
    Fault("broker killed", Lane.BROKERS, _broker_killed),
    Fault("all brokers restarted", Lane.BROKERS, _all_restarted),
    Fault("leader moved", Lane.BROKERS, _leader_moved, cheap=True),
    Fault("disk full", Lane.BROKERS, _disk_full, possible=lambda world: world.disk is not None),
)
"""A new kind is a function above and a line here; every round has each kind at least once."""
