"""The whole chain at once, for the demo: on the embedded broker, or on a real Apache Kafka."""

import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from vermilion.commands.tail import follow
from vermilion.errors import CommandFailed
from vermilion_capture.publish import Publisher
from vermilion_capture.source import FileSource
from vermilion_pipeline.codec import Codec
from vermilion_pipeline.ports import Broker
from vermilion_pipeline.runtime import Runtime, Totals
from vermilion_pipeline.topics import CLASSIFIED, PREFIX, TOPICS

_PATIENCE_SECONDS = 120.0


@dataclass(slots=True)
class StageCount:
    """What a stage read and wrote, in its own words."""

    name: str
    read: str
    wrote: str
    dead: int = 0


@dataclass(slots=True)
class ChainResult:
    """What came out of the chain."""

    broker: str
    knowledge: str = ""
    events: list[Any] = field(default_factory=list)
    stages: list[StageCount] = field(default_factory=list)
    lost: int = 0
    seconds: float = 0.0


class _Stages:
    """How far fingerprint and classify are; both brokers' demos answer this."""

    def fingerprint(self) -> Totals:
        raise NotImplementedError

    def classify(self) -> Totals:
        raise NotImplementedError

    def check(self) -> None:
        """Raise CommandFailed when a stage has ended."""


def embedded(captures: Sequence[Path], partitions: int) -> ChainResult:
    """Run the chain on the in-memory broker, its stages on threads of this process."""
    from vermilion_classify.reloading import Fixed
    from vermilion_classify.stage import ClassifyStage
    from vermilion_classify.store import load
    from vermilion_fingerprint.stage import FingerprintStage
    from vermilion_pipeline.health import Health
    from vermilion_pipeline.memory import MemoryBroker
    from vermilion_pipeline.metrics import Metrics

    started = time.monotonic()
    broker, codec, stop = MemoryBroker(), Codec(), threading.Event()
    broker.create([topic.full_name() for topic in TOPICS], partitions, None)
    knowledge = Fixed(load())
    runtimes = [
        Runtime(
            broker,
            stage,
            codec,
            prefix=PREFIX,
            instance="demo",
            metrics=Metrics(stage.name),
            health=Health(),
            batch_wait_seconds=0.01,
        )
        for stage in (FingerprintStage(), ClassifyStage(knowledge))
    ]
    threads = [threading.Thread(target=runtime.run, args=(stop,)) for runtime in runtimes]

    class Threads(_Stages):
        def fingerprint(self) -> Totals:
            return runtimes[0].totals

        def classify(self) -> Totals:
            return runtimes[1].totals

        def check(self) -> None:
            if not all(thread.is_alive() for thread in threads):
                raise CommandFailed("a stage has ended; its error is above")

    for thread in threads:
        thread.start()
    try:
        result = _run(broker, codec, captures, Threads(), "the embedded broker")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    result.seconds = time.monotonic() - started
    return result


def on_kafka(captures: Sequence[Path], partitions: int) -> ChainResult:
    """Run the chain on a real Apache Kafka that is started for it, the stages as processes."""
    from vermilion.dev.kafka import Cluster, ports_free
    from vermilion_pipeline.kafka import KafkaBroker

    started = time.monotonic()
    # At random, so that two demos at once do not meet between the look and the listening.
    ports = random.sample(range(21092, 31092, 10), 100)
    port = next((port for port in ports if ports_free(port)), None)
    if port is None:
        raise CommandFailed("no free port between 21092 and 31092 for Apache Kafka")
    with tempfile.TemporaryDirectory(prefix="vermilion-demo-") as scratch, ExitStack() as stack:
        Console(stderr=True).print("starting Apache Kafka …")
        bootstrap = stack.enter_context(Cluster(Path(scratch, "kafka"), port=port)).bootstrap
        broker, codec = KafkaBroker({"bootstrap.servers": bootstrap}), Codec()
        broker.create([topic.full_name() for topic in TOPICS], partitions, None)
        processes = {
            name: stack.enter_context(_service(name, bootstrap, Path(scratch)))
            for name in ("fingerprint", "classify")
        }

        class Processes(_Stages):
            def fingerprint(self) -> Totals:
                return processes["fingerprint"].done()

            def classify(self) -> Totals:
                return processes["classify"].done()

            def check(self) -> None:
                for process in processes.values():
                    process.check()

        result = _run(broker, codec, captures, Processes(), f"Apache Kafka at {bootstrap}")
    result.seconds = time.monotonic() - started
    return result


def _run(broker: Broker, codec: Codec, captures: Sequence[Path], stages: _Stages, name: str) -> ChainResult:
    """Publish the captures, wait until both stages have answered all of it, and read the answers."""
    result = ChainResult(name)
    packets = 0
    publisher = Publisher(broker, codec, PREFIX)
    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        for capture in captures:
            source = FileSource(capture, socket.gethostname())
            publisher.publish(source)
            packets += source.counts["packets"]
        publisher.close()
        published = publisher.acknowledged
        first = bar.add_task("fingerprint", total=published)
        _until(lambda: stages.fingerprint().consumed, published, bar, first, stages)
        events = stages.fingerprint().produced
        second = bar.add_task("classify", total=events)
        _until(lambda: stages.classify().consumed, events, bar, second, stages)
    read, wrote = stages.fingerprint(), stages.classify()
    decode = codec.decoder(CLASSIFIED)
    if wrote.produced:
        for message in follow(broker, CLASSIFIED.full_name(), beginning=True, quiet_for=10.0):
            result.events.append(decode(message.value))
            if len(result.events) == wrote.produced:
                break
    result.events.sort(key=lambda event: event["event_start"])
    analyses = [event["analysis"] for event in result.events if event["analysis"]]
    if analyses:
        result.knowledge = "{name} {version}".format(**analyses[0]["knowledge"])
    result.stages = [
        StageCount("capture", f"{packets} packets", f"{published} records"),
        StageCount("fingerprint", f"{read.consumed} records", f"{read.produced} events", read.dead),
        StageCount("classify", f"{wrote.consumed} events", f"{len(result.events)} answers", wrote.dead),
    ]
    result.lost = (
        (publisher.produced - published)
        + (published - read.consumed)
        + (read.produced - len(result.events))
        + read.dead
    )
    return result


def _until(done: Callable[[], int], wanted: int, bar: Progress, task: TaskID, stages: _Stages) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (now := done()) < wanted:
        bar.update(task, completed=now)
        stages.check()
        if time.monotonic() > deadline:
            raise CommandFailed(f"after {_PATIENCE_SECONDS:.0f} s only {now} of {wanted} records are handled")
        time.sleep(0.02)
    bar.update(task, completed=wanted)


class _Service:
    """A stage running as a process of its own, seen through its /metrics."""

    def __init__(self, name: str, bootstrap: str, scratch: Path) -> None:
        self.name = name
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._log = scratch / f"{name}.log"
        command = [sys.executable, "-m", "vermilion", name, "-b", bootstrap, "--http-port", str(self._port)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def check(self) -> None:
        if self.process.poll() is not None:
            raise CommandFailed(f"{self.name} has ended:\n{self._log.read_text(encoding='utf-8')[-2000:]}")

    def done(self) -> Totals:
        self.check()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:  # not up yet
            return Totals(0, 0, 0)
        found = dict.fromkeys(("records_consumed", "records_produced", "dlq"), 0)
        for line in lines:
            metric = line.split("{")[0].split(" ")[0].removeprefix("vermilion_").removesuffix("_total")
            if metric in found and not line.startswith("#"):
                found[metric] += int(float(line.rsplit(" ", 1)[1]))
        return Totals(found["records_consumed"], found["records_produced"], found["dlq"])


@contextmanager
def _service(name: str, bootstrap: str, scratch: Path) -> Iterator[_Service]:
    service = _Service(name, bootstrap, scratch)
    try:
        yield service
    finally:
        service.process.send_signal(signal.SIGTERM)
        try:
            service.process.wait(30)
        except subprocess.TimeoutExpired:
            service.process.kill()
            service.process.wait()
