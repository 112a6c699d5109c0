"""Replays on a real Apache Kafka: verified beside live traffic, killed and resumed, timed."""

import itertools
import json
import re
import signal
import statistics
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from cli.command import COMMAND, vermilion
from e2e.services import Service, wait_for
from e2e.test_equals_scan import OWN, canonical, scanned
from fingerprint.hellos import RECORDING

from vermilion.scanner import scan
from vermilion.topicreading import between
from vermilion_capture.capturefile import CaptureFile
from vermilion_capture.frame import Frame
from vermilion_capture.publish import Publisher
from vermilion_capture.source import Policy, Source
from vermilion_pipeline.codec import Codec
from vermilion_pipeline.kafka import KafkaBroker
from vermilion_pipeline.ports import Message
from vermilion_pipeline.topics import PAYLOADS

pytestmark = pytest.mark.kafka
Start = Callable[..., Service]
PARTITIONS = 3


@pytest.fixture
def here(
    kafka_bootstrap: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, ...]:
    """Give the options that name this test's topics, which are there."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    options = ("-b", kafka_bootstrap, "--topic-prefix", prefix)
    made = vermilion("topics", "create", *options, "--partitions", str(PARTITIONS))
    assert made.returncode == 0, made.stderr
    return options


def published(bootstrap: str, prefix: str) -> list[Message]:
    """What is in ``payloads``."""
    broker, topic = KafkaBroker({"bootstrap.servers": bootstrap}), f"{prefix}payloads"
    return list(between(broker, topic, [], broker.ends([topic])))


class Interface:
    """Frames as an interface gives them: at their own pace, and without an end but ``until``."""

    size = consumed = 0
    drops: Mapping[str, int] = {}

    def __init__(self, until: threading.Event) -> None:
        self._until = until

    def __iter__(self) -> Iterator[Frame | None]:
        with CaptureFile(RECORDING) as frames:
            for frame in frames:
                yield frame
                time.sleep(0.004)
        while not self._until.wait(0.1):
            yield None

    def close(self) -> None:
        pass


def test_all_captures_are_answered_and_live_traffic_beside_them_is_as_without(
    start: Start, kafka_bootstrap: str, prefix: str, here: tuple[str, ...]
) -> None:
    start("fingerprint")
    classify = start("classify")
    over = threading.Event()
    publisher = Publisher(KafkaBroker({"bootstrap.servers": kafka_bootstrap}), Codec(), prefix)
    live = Source(Interface(over), "live", Policy(), replayed=False)
    thread = threading.Thread(target=publisher.publish, args=(live,))
    thread.start()
    try:
        folders = sorted({path.parent for path in OWN})
        done = vermilion("replay", *folders, *here, "--verify")
        assert thread.is_alive()
    finally:
        over.set()
        thread.join()
        publisher.close()
    expected = sum(1 for capture in OWN for _ in scan(capture, types=None))
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith(f"{expected} of {expected} answered (100 %)\n")
    assert done.stdout == ""
    total = expected + scanned(RECORDING).total()
    tail = vermilion("tail", "--format", "json", "--from", "beginning", "--limit", str(total), *here)
    events = [json.loads(line) for line in tail.stdout.splitlines()]
    assert Counter(canonical(event) for event in events if event["run"] == live.run) == scanned(RECORDING)
    # Dashboards and learning can tell them apart.
    assert {(event["replayed"], event["run"] == live.run) for event in events} == {
        (True, False),
        (False, True),
    }

    # What is not answered is told, and why.
    assert classify.stop() == 0
    done = vermilion("replay", RECORDING, *here, "--verify", "--timeout", "4")
    count = scanned(RECORDING).total()
    assert done.returncode == 1
    assert len(re.findall(r"^not answered: tls .*192\.0\.2", done.stdout, re.MULTILINE)) > 10
    assert len(done.stdout.splitlines()) == count
    assert f"hint: {count} of them wait in {prefix}fingerprints: is classify running" in done.stderr
    assert done.stderr.endswith(f"0 of {count} answered (0 %)\n")


def test_stopped_then_killed_then_resumed_gives_each_event_once(
    start: Start, kafka_bootstrap: str, prefix: str, here: tuple[str, ...]
) -> None:
    start("fingerprint")
    start("classify")
    command = [*COMMAND, "replay", str(RECORDING), *here]
    broker, topic = KafkaBroker({"bootstrap.servers": kafka_bootstrap}), f"{prefix}payloads"

    def interrupted(more: list[str], at: int, how: signal.Signals) -> tuple[int, str]:
        with subprocess.Popen([*command, *more], stderr=subprocess.PIPE, text=True) as process:
            wait_for(lambda: sum(broker.ends([topic]).values()) >= at, f"{at} records")
            process.send_signal(how)
            _, errors = process.communicate(timeout=60)
        return process.returncode, errors

    code, errors = interrupted(["--rate", "100"], 100, signal.SIGTERM)
    assert code == 130
    stopped = re.search(r"stopped behind packet (\d+), at 20.*--resume goes on there", errors)
    assert stopped, errors
    assert int(stopped[1]) >= 100
    code, errors = interrupted(["--rate", "100", "--resume"], 300, signal.SIGKILL)
    assert code == -signal.SIGKILL
    done = vermilion("replay", RECORDING, *here, "--resume", "--verify")
    assert done.returncode == 0, done.stderr
    total = scanned(RECORDING).total()
    assert done.stderr.endswith(f"{total} of {total} answered (100 %)\n")
    tail = vermilion("tail", "--format", "json", "--from", "beginning", "--quiet-for", "3", *here)
    assert Counter(canonical(json.loads(line)) for line in tail.stdout.splitlines()) == scanned(RECORDING)
    sent = Counter((one.partition, one.value) for one in published(kafka_bootstrap, prefix))
    assert set(sent.values()) == {1}


@contextmanager
def oversleeping() -> Iterator[list[float]]:
    """How many milliseconds too long this machine sleeps meanwhile: nothing here can be more exact."""
    found, over = [0.0], threading.Event()

    def sleep() -> None:
        while not over.is_set():
            begin = time.perf_counter()
            time.sleep(0.01)
            found.append((time.perf_counter() - begin - 0.01) * 1000)

    thread = threading.Thread(target=sleep)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def timed(path: Path, seconds: float) -> list[float]:
    """A capture of SYNs at random times; when each is, after the first."""
    choose = Random(5)
    moments = [0.0, *sorted(choose.uniform(0, seconds) for _ in range(300)), seconds]
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))
        for number, moment in enumerate(moments):
            tcp = struct.pack(">HHIIBBHHH", 1024 + number, 443, 1, 0, 0x50, 2, 1000, 0, 0)
            ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, bytes(4), bytes(4))
            at = round(moment * 1e6)
            file.write(struct.pack("<IIII", 1_000_000 + at // 1_000_000, at % 1_000_000, 40, 40) + ip + tcp)
    return moments


def test_speed_keeps_the_captures_timing_and_its_packet_times(
    kafka_bootstrap: str, prefix: str, here: tuple[str, ...], tmp_path: Path
) -> None:
    moments = timed(tmp_path / "timed.pcap", 60)
    before = time.time() * 1000
    with oversleeping() as overslept:
        done = vermilion("replay", tmp_path / "timed.pcap", "--speed", "10", *here)
    assert done.returncode == 0, done.stderr
    decode = Codec().decoder(PAYLOADS)
    found = [
        (decode(message.value)["time"], message.timestamp_ms)
        for message in published(kafka_bootstrap, prefix)
        if message.key
    ]
    found.sort()
    assert [packet for packet, _ in found] == [1_000_000_000_000 + round(at * 1e6) for at in moments]
    written = [kafka for _, kafka in found]
    assert before <= written[0] <= written[-1] <= time.time() * 1000
    assert written[-1] - written[0] == pytest.approx(6000, rel=0.02)
    gaps = [later - earlier for earlier, later in itertools.pairwise(written)]
    wanted = [(later - earlier) * 100 for earlier, later in itertools.pairwise(moments)]
    assert statistics.median(abs(gap - want) for gap, want in zip(gaps, wanted, strict=True)) <= (
        2 + 2 * statistics.median(overslept)
    )
