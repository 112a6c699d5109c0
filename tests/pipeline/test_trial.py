"""What kills a child is found, told and stepped over; what only raises is no death."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline.test_runtime import CODEC, PREFIX, SLICE, committed, drain, prepared, traffic

from vermilion_capture.items import Item
from vermilion_fingerprint.stage import FingerprintStage
from vermilion_pipeline.health import Health
from vermilion_pipeline.memory import MemoryBroker
from vermilion_pipeline.metrics import Metrics
from vermilion_pipeline.ports import Committed, Partition
from vermilion_pipeline.position import MOST_KILLERS, Position
from vermilion_pipeline.runtime import Runtime
from vermilion_pipeline.stage import Handled, Incoming, Task
from vermilion_pipeline.topics import DEADLETTER, FINGERPRINTS, PAYLOADS, TOPICS
from vermilion_pipeline.trial import Died, trial

PARENT = os.getpid()


def at(offset: int, what: Callable[[], object]) -> Callable[[int], object]:
    return lambda number: what() if number == offset else None


def leave() -> None:
    raise SystemExit(3)


def defect() -> None:
    raise RuntimeError("a defect")


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), Died(7, "SIGKILL")),
        (lambda: ctypes.string_at(0), Died(7, "SIGSEGV")),
        (leave, Died(7, "exit code 1")),
        (lambda: os._exit(9), Died(7, "exit code 9")),
        (lambda: time.sleep(600), Died(7, "nothing for 5 s")),
        (defect, None),
        (lambda: None, None),
    ],
)
def test_what_a_child_dies_of(what: Callable[[], object], expected: Died | None) -> None:
    beats: list[None] = []
    assert trial([5, 7, 9], at(7, what), lambda: beats.append(None), patience=5.0) == expected
    assert beats


def test_the_parent_keeps_its_state_and_its_files() -> None:
    """In a process of its own: here a client of an earlier test may still open files."""
    code = (
        "from pathlib import Path\n"
        "from vermilion_pipeline.trial import trial\n"
        "state = []\n"
        "before = set(Path('/proc/self/fd').iterdir())\n"
        "assert trial(range(20_000), state.append, lambda: None) is None\n"
        "assert state == []\n"
        "assert set(Path('/proc/self/fd').iterdir()) == before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_slow_child_that_goes_on_is_not_taken_for_one_that_hangs() -> None:
    assert trial(range(5), lambda _: time.sleep(1.2), lambda: None, patience=5.0) is None


@given(
    low=st.integers(0, 1 << 62),
    ahead=st.integers(0, 1 << 40),
    begun=st.booleans(),
    killers=st.frozensets(st.integers(0, 1 << 62), max_size=MOST_KILLERS),
)
def test_a_position_comes_back_from_its_commit(
    low: int, ahead: int, begun: bool, killers: frozenset[int]
) -> None:
    position = Position(low, low + ahead, begun, killers)
    found = Position.of(position.committed())
    assert found == Position(low, low + ahead, begun, frozenset(k for k in killers if k >= low))


def test_metadata_stays_within_what_a_broker_takes() -> None:
    most = Position((1 << 62), (1 << 62) + 5, True, frozenset(range(1 << 62, (1 << 62) + 500)))
    assert len(most.committed().metadata) < 4095


def test_plain_positions_are_as_they_were() -> None:
    assert Position(5, 9).committed() == Committed(5, "9")
    assert Position(5, 5).committed() == Committed(5, "")


@pytest.mark.parametrize("metadata", ["x", "5 other", "-", "5  begun", "5 without=", "5 without=a", "5,6"])
def test_metadata_of_others_is_refused(metadata: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Position.of(Committed(5, metadata))


class Lethal(FingerprintStage):
    """Dies of one record, but in the test's own process, where it must never be handled."""

    def __init__(self, offset: int) -> None:
        super().__init__()
        self.offset = offset

    def task(self) -> Task:  # type: ignore[override]
        return LethalTask(super().task(), self.offset)


class LethalTask:
    def __init__(self, task: Task, offset: int) -> None:
        self._task, self._offset = task, offset
        self.low_water = task.low_water

    def handle(self, batch: Sequence[Incoming]) -> Handled:
        if any(item.offset == self._offset for item in batch):
            assert os.getpid() != PARENT, "handled in the parent"
            os.kill(os.getpid(), signal.SIGKILL)
        return self._task.handle(batch)


def begun(broker: MemoryBroker) -> None:
    """Somebody begins with the first batch and is never heard of again."""
    one = lethal(broker, -1)
    messages: list[Any] = []
    for _ in range(100):
        messages = messages or one._consumer.poll(5_000, 0.1)
    one._mark({messages[0].partition: messages})
    one._consumer.close()


def lethal(broker: MemoryBroker, offset: int, **more: Any) -> Runtime:
    return Runtime(
        broker, Lethal(offset), CODEC, prefix=PREFIX, instance="one", metrics=Metrics("test"),
        health=Health(), batch_wait_seconds=0.0, **more,
    )  # fmt: skip


def test_who_finds_that_another_began_finds_the_killer_and_answers_the_others() -> None:
    items = traffic(20)
    undisturbed, broker = prepared(items, 1), prepared(items, 1)
    killer = next(m for m in committed(broker, PAYLOADS)[60:])
    drain(lethal(undisturbed, -1))
    begun(broker)
    one = lethal(broker, killer.offset)
    drain(one)
    (letter,) = committed(broker, DEADLETTER)
    head = dict(letter.headers)
    assert (letter.value, letter.key) == (killer.value, killer.key)
    assert head["vermilion_error_class"] == b"ProcessKilled"
    assert head["vermilion_error_message"] == b"handling it ends in SIGKILL"
    assert head["vermilion_origin_offset"] == str(killer.offset).encode()

    def others(of: MemoryBroker) -> list[bytes | None]:
        return [m.value for m in committed(of, FINGERPRINTS) if m.key != killer.key]

    assert others(broker) == others(undisturbed)
    assert one.totals.dead == 1
    one._consumer.close()


@pytest.mark.parametrize("first", [5, 480])
def test_a_killer_behind_a_gap_of_offsets_is_found(first: int) -> None:
    """Offsets of an aborted transaction are no records; 480: the gap lies within a batch."""
    broker = MemoryBroker()
    broker.create([topic.full_name(PREFIX) for topic in TOPICS], 1, None)
    name, encode, items = PAYLOADS.full_name(PREFIX), CODEC.encoder(PAYLOADS), traffic(60)
    producer, aborted = broker.producer(), broker.transactional("another")

    def put(part: Sequence[Item]) -> None:
        for key, record in part:
            producer.produce(name, key, encode(record), (), 0)
        producer.flush(5)  # the gap lies behind them, and the end is theirs

    put(items[:first])
    begun(broker)
    if first == 5:  # who began came to the end, and waits for more
        one = lethal(broker, -1)
        drain(one)
        one._consumer.close()
    aborted.begin()
    for _ in range(3_000):
        aborted.produce(name, b"", b"", (), 0)
    aborted.abort()
    put(items[first:700])
    drain(lethal(broker, broker.ends([name])[Partition(name, 0)] - 5))
    (letter,) = committed(broker, DEADLETTER)
    assert dict(letter.headers)["vermilion_error_class"] == b"ProcessKilled"


def test_one_record_that_hangs_is_enough_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """In whatever partition: the group does not wait for longer than that."""
    broker = prepared([], 8)
    begun(broker)
    hangs = []

    def hanging(offsets: Sequence[int], *_: object) -> Died:
        hangs.append(offsets[0])
        return Died(offsets[0], "nothing for 20 s")

    monkeypatch.setattr("vermilion_pipeline.runtime.trial", hanging)
    one = lethal(broker, -1)
    one._consumer.poll(0, 0.0)
    for assigned in one._assigned.values():
        assigned.trial_until, assigned.marked = 1_000, True
    for _ in range(100):
        before = len(hangs)
        one.step()
        assert len(hangs) - before <= 2
    assert one.totals.dead == 8
    assert len(hangs) == 16


def test_a_rebuild_steps_over_the_killer() -> None:
    """It lies above the low-water mark when the partition comes again, and is not met again."""
    broker = prepared(traffic(20), 1)
    begun(broker)
    one = lethal(broker, 60, batch_records=100)
    for _ in range(100):
        if one.totals.consumed < 100:
            one.step()
    one._consumer.close()
    partition = Partition(PAYLOADS.full_name(PREFIX), 0)
    two = lethal(broker, 60, batch_records=100)
    two.step()
    assert two._assigned[partition].killers == {60}
    found = two._consumer.committed([partition])[partition]
    assert found is not None
    assert Position.of(found).low < 60
    drain(two)
    assert len(committed(broker, DEADLETTER)) == 1
    after = two._consumer.committed([partition])[partition]
    assert after is not None
    end = committed(broker, PAYLOADS)[-1].offset + 1
    assert Position.of(after) == Position(end, end, begun=True)  # and no killers: nobody meets it again


def test_a_rebuild_is_tried_where_more_killed_than_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    items = traffic(20)
    undisturbed, broker = prepared(items, 1), prepared(items, 1)
    killer = next(m for m in committed(broker, PAYLOADS)[60:])
    drain(lethal(undisturbed, -1))
    begun(broker)
    one = lethal(broker, killer.offset, batch_records=100)
    while one.totals.consumed < 100:
        one.step()
    one._consumer.close()
    monkeypatch.setattr("vermilion_pipeline.runtime.MOST_KILLERS", 0)
    two = lethal(broker, killer.offset, batch_records=100)
    two._consumer.poll(0, 0.0)
    (assigned,) = two._assigned.values()
    assert assigned.killers == {killer.offset}
    assigned.killers.clear()  # forgotten
    drain(two)
    assert len(committed(broker, DEADLETTER)) == 1

    def others(of: MemoryBroker) -> list[bytes | None]:
        return [m.value for m in committed(of, FINGERPRINTS) if m.key != killer.key]

    assert others(broker) == others(undisturbed)


@pytest.mark.parametrize("records", [250, 61])
def test_what_is_behind_a_killer_comes_with_the_next_batch(
    records: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each that hangs takes 40 s: between two the group must hear of its member."""
    monkeypatch.setattr(SLICE, records)  # 61: it is the last of one
    broker = prepared(traffic(20), 1)
    begun(broker)
    one = lethal(broker, 60)
    one.step()
    for _ in range(100):
        if one.totals.dead:
            break
        one.step()
    assert next(iter(one._assigned.values())).next == 61
    drain(one)
    assert one.totals.dead == 1
    assert one.totals.consumed == committed(broker, PAYLOADS)[-1].offset + 1


def test_an_abort_is_no_death_and_a_running_service_says_nothing() -> None:
    broker = prepared(traffic(20), 1)
    partition = Partition(PAYLOADS.full_name(PREFIX), 0)
    one = lethal(broker, -1, batch_records=10)
    for _ in range(100):
        if one._assigned and one._assigned[partition].marked:
            break
        one.step()
    assert one._assigned[partition].marked
    one.restore()  # as after an aborted transaction
    assert one._assigned[partition].trial_until == 0
    found = one._consumer.committed([partition])[partition]
    assert found is not None
    assert Position.of(found).begun
    drain(one)
    found = one._consumer.committed([partition])[partition]
    assert found is not None
    assert not Position.of(found).begun
