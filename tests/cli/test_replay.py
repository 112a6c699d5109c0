"""Replaying captures, on the broker in memory: what is chosen, what is published, and going on."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fingerprint.hellos import RECORDING, ROOT
from typer.testing import CliRunner

from vermilion import replaying
from vermilion.captures import find
from vermilion.errors import CommandFailed
from vermilion.main import app
from vermilion.replaying import Order, Replay
from vermilion.replaystate import Keeper, Unkept
from vermilion.topicreading import between
from vermilion_capture.capturefile import CaptureError
from vermilion_capture.replay import Choice, Moment, ReplayPublisher, ReplaySource
from vermilion_capture.source import Policy
from vermilion_fingerprint.stage import FingerprintStage
from vermilion_pipeline.codec import Codec
from vermilion_pipeline.memory import MemoryBroker
from vermilion_pipeline.ports import BrokerUnavailable, Partition, UnknownTopic
from vermilion_pipeline.stage import Incoming
from vermilion_pipeline.topics import PAYLOADS, SENSORS, TOPICS

SSH = ROOT / "tests/data/ssh_openssh.pcap"
CODEC = Codec()


class Killed(BaseException):
    """What a process that is killed knows of it: nothing is finished after this."""


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state/vermilion/replay"


@pytest.fixture
def broker() -> MemoryBroker:
    made = MemoryBroker()
    made.create([topic.full_name() for topic in TOPICS], 3, None)
    return made


def records(broker: MemoryBroker, topic: Any = PAYLOADS) -> list[list[dict[str, Any]]]:
    """What is in a topic, partition by partition."""
    decode, name = CODEC.decoder(topic), topic.full_name()
    found: list[list[dict[str, Any]]] = [[], [], []]
    for message in between(broker, name, [], broker.ends([name])):
        found[message.partition.number].append(decode(message.value))
    return found


def nameless(found: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """The same without the runs' names, which differ from run to run."""
    return [[{**record, "run": ""} for record in partition] for partition in found]


def replay(
    broker: MemoryBroker,
    order: Order,
    *,
    resume: bool = False,
    act: Callable[[int, ReplaySource], None] = lambda number, source: None,
) -> list[str]:
    """Replay as the command does; ``act`` is called after each record. What was told."""
    lines: list[str] = []
    number = 0

    def show(source: ReplaySource, publisher: ReplayPublisher) -> None:
        nonlocal number
        number += 1
        act(number, source)

    keeper = Keeper([str(path) for path in order.captures], "memory", order.prefix)
    try:
        made = Replay(order, broker, CODEC, keeper, lines.append, show)
        made.begin(resume=resume)
        made.run()
    except KeyboardInterrupt:
        made.publisher.close()
        raise
    finally:
        keeper.close()
    made.publisher.close()
    return lines


def stop_after(count: int) -> Callable[[int, ReplaySource], None]:
    return lambda number, source: source.stop() if number == count else None


def order(*captures: Path, **more: Any) -> Order:
    options = {"sensor": "here", "depth": 16_384, "start": None, "end": None, "bpf": None, "loop": 1}
    return Order(list(captures), "here", Policy(), options=options, **more)


def undisturbed(*captures: Path) -> list[list[dict[str, Any]]]:
    fresh = MemoryBroker()
    fresh.create([topic.full_name() for topic in TOPICS], 3, None)
    replay(fresh, order(*captures))
    return nameless(records(fresh))


@pytest.mark.parametrize("kept_every", [0.02, 3600.0], ids=["often", "at the start only"])
@pytest.mark.parametrize("how", ["stopped", "killed", "stopped, then killed"])
@pytest.mark.parametrize("after", [(1,), (40, 1, 17), (400, 300), (826,), (827,), (828,)])
def test_interrupted_and_resumed_gives_exactly_what_undisturbed_gives(
    after: tuple[int, ...],
    how: str,
    kept_every: float,
    broker: MemoryBroker,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replaying, "_KEEP_EVERY_SECONDS", kept_every)

    def interrupt(last: int, turn: int) -> Callable[[int, ReplaySource], None]:
        def act(number: int, source: ReplaySource) -> None:
            if number == last and (how == "stopped" or (how != "killed" and turn == 0)):
                source.stop()
            elif number == last:
                raise Killed

        return act

    expected = undisturbed(RECORDING, SSH)
    for turn, last in enumerate(after):
        with pytest.raises((KeyboardInterrupt, Killed)):
            replay(broker, order(RECORDING, SSH), resume=turn > 0, act=interrupt(last, turn))
        assert [path.name for path in state.glob("*/*")] == ["position.json"]
    replay(broker, order(RECORDING, SSH), resume=True)
    found = records(broker)
    assert nameless(found) == expected
    assert len({record["run"] for partition in found for record in partition}) == 2
    assert list(state.glob("*")) == []


def test_killed_again_before_all_that_had_arrived_was_met(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill_after(count: int) -> Callable[[int, ReplaySource], None]:
        def act(number: int, source: ReplaySource) -> None:
            if number == count:
                raise Killed

        return act

    monkeypatch.setattr(replaying, "_KEEP_EVERY_SECONDS", 3600.0)
    with pytest.raises(Killed):
        replay(broker, order(RECORDING), act=kill_after(400))
    monkeypatch.setattr(replaying, "_KEEP_EVERY_SECONDS", 0.0)
    with pytest.raises(Killed):
        replay(broker, order(RECORDING), resume=True, act=kill_after(5))
    replay(broker, order(RECORDING), resume=True)
    assert nameless(records(broker)) == undisturbed(RECORDING)


def test_an_interrupted_run_has_no_end_and_its_flows_wait(broker: MemoryBroker) -> None:
    with pytest.raises(KeyboardInterrupt):
        replay(broker, order(RECORDING), act=stop_after(300))
    kinds = Counter(record["kind"] for partition in records(broker) for record in partition)
    assert kinds["SEGMENT"] > 250
    assert kinds["END_OF_RUN"] == 0
    assert [beat["last"] for partition in records(broker, SENSORS) for beat in partition][-1:] == [False]
    replay(broker, order(RECORDING), resume=True)
    beats = [beat for partition in records(broker, SENSORS) for beat in partition]
    assert [beat["last"] for beat in beats][-1:] == [True]
    assert {beat["replayed"] for beat in beats} == {True}
    assert sum(beat["packets"] for beat in beats) == 1220
    assert sum(beat["published"] for beat in beats) == 811


def test_begun_anew_instead_the_interrupted_run_is_ended(broker: MemoryBroker) -> None:
    with pytest.raises(KeyboardInterrupt):
        replay(broker, order(RECORDING), act=stop_after(300))
    lines = replay(broker, order(RECORDING))
    assert "is ended where it was" in lines[0]
    for partition in records(broker):
        ends = [(record["run"], record["kind"]) for record in partition if record["kind"] == "END_OF_RUN"]
        assert len(set(ends)) == 2


def test_resuming_is_refused_where_it_would_not_be_the_same(broker: MemoryBroker, tmp_path: Path) -> None:
    capture = tmp_path / "a.pcap"
    capture.write_bytes(RECORDING.read_bytes())
    with pytest.raises(CommandFailed, match="nothing to resume"):
        replay(broker, order(capture), resume=True)
    with pytest.raises(KeyboardInterrupt):
        replay(broker, order(capture), act=stop_after(300))
    other = order(capture)
    other.options = {**other.options, "depth": 100}
    with pytest.raises(CommandFailed, match="--depth was 16384"):
        replay(broker, other, resume=True)
    with capture.open("ab") as file:
        file.write(bytes(16))
    with pytest.raises(CommandFailed, match=r"a\.pcap: has changed"):
        replay(broker, order(capture), resume=True)


def test_two_replays_of_the_same_captures_do_not_share_a_position() -> None:
    first = Keeper(["a"], "here", "x.")
    with pytest.raises(Unkept, match="is running"):
        Keeper(["a"], "here", "x.")
    Keeper(["a"], "here", "y.").close()
    first.close()
    Keeper(["a"], "here", "x.").close()


def test_each_pass_is_a_run(broker: MemoryBroker) -> None:
    replay(broker, order(SSH, SSH, passes=3))
    runs = Counter(record["run"] for partition in records(broker) for record in partition)
    assert len(runs) == 6
    assert set(runs.values()) == {34}
    assert all(record["replayed"] for partition in records(broker) for record in partition)


def test_a_kafka_that_is_away_in_mid_replay_is_waited_for(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "_PAUSE_SECONDS", 0.0)
    ends, asked = broker.ends, Counter[str]()
    away = [BrokerUnavailable("it restarts"), UnknownTopic("no leader yet")]

    def answer(topics: Sequence[str]) -> dict[Partition, int]:
        asked[topics[0]] += 1
        if asked[topics[0]] > 1 and away:
            raise away.pop()
        return ends(topics)

    monkeypatch.setattr(broker, "ends", answer)
    lines = replay(broker, order(SSH, passes=3))
    assert sum("waiting for Kafka" in line for line in lines) == 2
    assert len({record["run"] for partition in records(broker) for record in partition}) == 3


@pytest.mark.parametrize("patience", [0.0, 120.0], ids=["too long", "stopped"])
def test_it_is_not_waited_for_too_long_nor_when_it_is_stopped(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    monkeypatch.setattr(replaying, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(replaying, "_PATIENCE_SECONDS", patience)
    asked = 0

    def answer(_topics: Sequence[str]) -> dict[Partition, int]:
        nonlocal asked
        asked += 1
        if asked == 3:
            signal.raise_signal(signal.SIGTERM)
        raise BrokerUnavailable("it is gone")

    monkeypatch.setattr(broker, "ends", answer)
    with pytest.raises(KeyboardInterrupt if patience else BrokerUnavailable):
        replay(broker, order(SSH))
    assert asked == (3 if patience else 1)


def test_a_broken_capture_is_told_and_the_next_ones_are_replayed(
    broker: MemoryBroker, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(SSH.read_bytes()[:-7])
    lines = replay(broker, order(tmp_path / "absent.pcap", cut, SSH))
    assert any("absent.pcap" in line and "error" in line for line in lines)
    assert any("cut.pcap" in line and "cut off" in line for line in lines)
    assert len({record["run"] for partition in records(broker) for record in partition}) == 2


def times(choice: Choice) -> Iterator[int]:
    source = ReplaySource(SSH, "here", choice=choice)
    return (item.record["time"] for item in source if item.key)


def test_only_packets_of_the_time_that_was_asked_for() -> None:
    every = list(times(Choice()))
    first, middle = every[0], every[len(every) // 2]
    assert list(times(Choice(Moment(middle)))) == [time for time in every if time >= middle]
    assert list(times(Choice(None, Moment(middle)))) == [time for time in every if time < middle]
    after = Moment(middle - first, relative=True)
    assert list(times(Choice(after))) == [time for time in every if time >= middle]
    source = ReplaySource(SSH, "here", choice=Choice(after, Moment(middle + 1)))
    kept = sum(item.key is not None for item in source)
    counts = Counter(source.counts)
    assert counts["packets"] == 43
    assert counts["before_start"] + counts["after_end"] + counts["acknowledgment"] + kept == 43
    assert min(counts["before_start"], counts["after_end"], kept) > 0


def test_only_packets_that_the_filter_matches() -> None:
    every = [item for item in ReplaySource(SSH, "here") if item.key]
    server = every[0].record["dst_port"]
    source = ReplaySource(SSH, "here", choice=Choice(bpf=f"tcp src port {server}"))
    assert [item.record["src_port"] for item in source if item.key] == [
        server for item in every if item.record["src_port"] == server
    ]
    assert source.counts.get("filtered", 0) > 0
    assert source.counts["packets"] == 43
    raw = ROOT / "tests/data/ssh_openssh.pcap"
    with pytest.raises(CaptureError, match=r"ssh_openssh\.pcap: filter"):
        list(ReplaySource(raw, "here", choice=Choice(bpf="gateway nowhere")))


def test_a_verified_replay_expects_what_the_stage_gives(broker: MemoryBroker) -> None:
    lines: list[str] = []
    made = Replay(order(RECORDING, verify=True), broker, CODEC, None, lines.append, lambda *_: None)
    made.begin(resume=False)
    made.run()
    assert made.verifier
    task, events = FingerprintStage().task(), 0
    for item in (Incoming(n, *item) for n, item in enumerate(ReplaySource(RECORDING, "here"))):
        events += len(task.handle([item]).outputs)
    verdict = made.verifier.wait(0.1)
    assert verdict.expected == len(verdict.missing) == events > 100
    assert any("did not come out of fingerprint" in hint for hint in verdict.hints)


def test_folders_and_patterns(tmp_path: Path) -> None:
    (tmp_path / "b/c").mkdir(parents=True)
    for name in ("b/c/2.pcap", "b/1.pcap", "a.pcap"):
        (tmp_path / name).write_bytes(SSH.read_bytes())
    (tmp_path / "b/notes.txt").write_text("no capture")
    (tmp_path / "b/empty.pcap").touch()
    os.mkfifo(tmp_path / "b/pipe")
    lines: list[str] = []

    def named(*names: str) -> list[str]:
        lines.clear()
        found = find([str(tmp_path / name) for name in names], lines.append)
        return [str(path.relative_to(tmp_path)) for path in found]

    assert named("") == ["a.pcap", "b/1.pcap", "b/c/2.pcap"]
    assert sorted(line.split(": ")[1].rsplit("/", 1)[1] for line in lines) == [
        "empty.pcap",
        "notes.txt",
        "pipe",
    ]
    assert named("*.pcap", "b/*.pcap") == ["a.pcap", "b/1.pcap", "b/empty.pcap"]
    assert named("**/*.pcap")[:2] == ["a.pcap", "b/1.pcap"]
    assert named("absent.pcap") == ["absent.pcap"]  # opening it will tell
    with pytest.raises(CommandFailed, match="no file has such a name"):
        named("*.none")
    (tmp_path / "bare").mkdir()
    with pytest.raises(CommandFailed, match="no capture is in it"):
        named("bare")


def test_a_file_of_several_names_is_one_capture(tmp_path: Path) -> None:
    # A ConfigMap in a pod: links, through a link, to a hidden folder, which is another one after a change.
    (tmp_path / "..2026_11_26").mkdir()
    (tmp_path / "..2026_11_26/a.pcap").write_bytes(SSH.read_bytes())
    (tmp_path / "..data").symlink_to("..2026_11_26")
    (tmp_path / "a.pcap").symlink_to("..data/a.pcap")
    (tmp_path / "b.pcap").hardlink_to(tmp_path / "..2026_11_26/a.pcap")
    (tmp_path / ".own.pcap").write_bytes(SSH.read_bytes())
    (tmp_path / "gone.pcap").symlink_to("nowhere")
    lines: list[str] = []
    found = find([str(tmp_path)], lines.append)
    assert [path.name for path in found] == [".own.pcap", "a.pcap"]
    assert [line.split(": ")[1].rsplit("/", 1)[1] for line in lines] == ["gone.pcap"]
    both = [str(tmp_path / name) for name in ("a.pcap", "b.pcap")]
    assert [str(path) for path in find(both, lines.append)] == both  # named, so meant


def test_wrong_usage() -> None:
    def refused(*arguments: str | Path) -> str:
        done = CliRunner().invoke(app, ["replay", *map(str, arguments)], env={"COLUMNS": "300"})
        assert done.exit_code == 2, done.output
        return done.output

    assert "at least one capture" in refused()
    assert "not both" in refused(SSH, "--from", "deadletter")
    assert "deadletter" in refused(SSH, "--limit", "3")
    for speed in ("0", "-1", "fast", "nan", "inf"):
        assert "or max" in refused(SSH, "--speed", speed)
    assert "above 0" in refused(SSH, "--rate", "0")
    assert "pcap-filter" in refused(SSH, "--bpf", "no such thing")
    assert "ISO 8601" in refused(SSH, "--start", "yesterday")
    assert "--loop 0" in refused(SSH, "--verify", "--loop", "0")
    for more in (("-", "--resume"), (SSH, "-"), ("-", "--loop", "2")):
        assert "standard input" in refused(*more)
