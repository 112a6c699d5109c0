"""What a round plays on: a three-node Apache Kafka, a schema registry, a network that can be cut, traffic."""

import contextlib
import random
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import TracebackType

from chaos import verify
from chaos.feeder import Feeder
from chaos.fleet import STAGES, Fleet, NotHit, until
from chaos.proxy import Network, listeners
from confluent_kafka.admin import AdminClient
from conftest import find_ports

from vermilion import scan
from vermilion.dev.kafka import Cluster, Node
from vermilion.dev.registry import Registry
from vermilion_classify.knowledge import Knowledge
from vermilion_classify.store import load
from vermilion_pipeline.codec import Codec
from vermilion_pipeline.kafka import KafkaBroker
from vermilion_pipeline.ports import Message, Partition
from vermilion_pipeline.registry import SchemaRegistry
from vermilion_pipeline.topics import CLASSIFIED, DEADLETTER, FINGERPRINTS, PAYLOADS, TOPICS, Topic

PARTITIONS = 12
SMALL_DISK = 3
"""The node whose data is on a small file system of its own, where one can be mounted."""
_DISK_SIZE = "384m"


def node_settings(node: Node) -> Mapping[str, str]:
    """A node with a listener behind the network, which looks for timed-out transactions each second."""
    return {**listeners(node), "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000"}


@dataclass
class World:
    """Everything of one round; ``with World(...) as world`` starts it and ends it."""

    folder: Path
    port: int
    seed: int
    pause: float = 3.0
    replicas: int = 2
    prefix: str = field(default_factory=lambda: f"chaos-{uuid.uuid4().hex[:8]}.")
    odd_runs: list[str] = field(default_factory=list)
    """Runs that Kafka has taken wholly, of which ``payloads`` gives other than what ``scan`` tells."""
    events: int = 0
    """What the verifier expects in ``classified``."""
    at_points: Counter[str] = field(default_factory=Counter)
    """What was done at which point of a transaction, and how often."""
    exit_codes: list[int] = field(default_factory=list)
    """Of the services, when they were told to end."""
    kafka_harmed: threading.Event = field(default_factory=threading.Event)
    """Set while a fault of Kafka goes on, until all its replicas are in sync again."""
    disk: Path | None = None
    """Where the small file system is mounted; None: it cannot be here."""

    def __enter__(self) -> "World":
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            self.cluster = Cluster(self.folder / "kafka", nodes=3, port=self.port, settings=node_settings)
            self.disk = stack.enter_context(_small_disk(self.cluster.nodes[SMALL_DISK - 1].folder / "topics"))
            stack.enter_context(self.cluster)
            self.network = Network([node.port for node in self.cluster.nodes])
            stack.callback(self.network.close)
            self.registry = stack.enter_context(Registry(self.folder / "registry", port=find_ports(1)))
            # What the verifier decodes with.
            self.codec = Codec(SchemaRegistry(self.registry.url), self.prefix)
            environment = {"VERMILION_REGISTRY_URL": self.registry.url}
            self.broker = KafkaBroker({"bootstrap.servers": self.cluster.bootstrap})
            self.broker.create([topic.full_name(self.prefix) for topic in TOPICS], PARTITIONS, None)
            self.fleet = Fleet(self.folder, self.network.bootstrap, self.prefix, environment)
            stack.callback(self.fleet.kill)
            draw = random.Random(f"feeder {self.seed}")
            self.feeder = Feeder(
                self.folder, self.network.bootstrap, self.prefix, draw, self.pause, environment
            )
            stack.callback(self.feeder.stop)
            for stage in STAGES:
                self.fleet.scale(stage, self.replicas)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @cached_property
    def admin(self) -> AdminClient:
        """A client for the cluster's own affairs, not behind the network."""
        return AdminClient({"bootstrap.servers": self.cluster.bootstrap, "log_level": 0})

    @cached_property
    def knowledge(self) -> Knowledge:
        """What the services answer with."""
        return load()

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
        """Wait for something of a service. Raises NotHit.

        Of Kafka's own faults three in a row may leave a service no minute in which it could commit.
        """
        until(condition, what, seconds, self.kafka_harmed.is_set)

    def topic(self, topic: Topic) -> str:
        """A topic's name here."""
        return topic.full_name(self.prefix)

    def read(self, topic: Topic, at_least: int = 0, seconds: float = 90.0) -> list[Message]:
        """All committed records of a topic, in order in each partition; waits for ``at_least`` so many.

        It ends when so many have come and no transaction is open, or nothing has come for ``seconds``.
        """
        reader = self.broker.reader([self.topic(topic)], beginning=True)
        found: list[Message] = []
        last = time.monotonic()
        try:
            while time.monotonic() - last < seconds:
                messages = reader.poll(5_000, 0.2)
                found += messages
                if messages:
                    last = time.monotonic()
                lags = reader.lag()
                ended = len(lags) == PARTITIONS and not any(lags.values())
                if ended and len(found) >= at_least and time.monotonic() - last > 1.0:
                    break
        finally:
            reader.close()
        return found

    def verdict(self) -> verify.Verdict:
        """What differs from an undisturbed run; it ends the services.

        All that was published must be acknowledged.
        """
        payloads: dict[Partition, list[Message]] = {}
        for message in self.read(PAYLOADS):
            payloads.setdefault(message.partition, []).append(message)
        undisturbed = verify.Undisturbed(payloads, self.knowledge, self.prefix, self.codec)
        self.odd_runs = [
            f"run {run} of {path.name} gives {undisturbed.by_run[run]} events and not {_scanned(path)}"
            for run, path in self.feeder.acknowledged.items()
            if undisturbed.by_run[run] != _scanned(path)
        ]
        self.events = len(undisturbed.events)
        dead = undisturbed.dead + verify.undecodable(self.read(FINGERPRINTS), self.prefix, self.codec)
        self.read(CLASSIFIED, self.events)
        self.read(DEADLETTER, len(dead))
        self._come_to_rest()
        # Not before: what a replica that still recovers brings, or its end, nobody would see.
        answers, letters = self.read(CLASSIFIED), self.read(DEADLETTER)
        return verify.compare(undisturbed.events, verify.classified(answers, self.codec)) + verify.compare(
            dead, verify.letters(letters)
        )

    def _come_to_rest(self) -> None:
        """End the services once the exported lag is zero everywhere. Raises NotHit."""

        def idle() -> bool:
            for stage in STAGES:
                every = self.fleet.of(stage)
                # A replica that owns nothing yet has no lag either.
                if sum(one.metric("partitions_assigned") or 0 for one in every) != PARTITIONS:
                    return False
                if any(one.metric("consumer_lag") != 0 for one in every):
                    return False
            return True

        until(idle, "every partition to be somebody's, and an exported lag of zero at every replica", 90.0)
        self.exit_codes = self.fleet.close()

    def kafka_is_well(self) -> None:
        """Wait until every partition has all its replicas in sync. Raises NotHit."""

        def well() -> bool:
            try:
                metadata = self.admin.list_topics(timeout=5)
            except Exception:  # the very thing that is waited for
                return False
            partitions = [one for topic in metadata.topics.values() for one in topic.partitions.values()]
            return len(metadata.brokers) == 3 and all(len(one.isrs) == 3 for one in partitions)

        until(well, "all replicas of all partitions in sync", 90.0)

    def published(self) -> int:
        """How many events the runs published so far give at least: what is in ``classified`` by now."""
        return len(self.read(CLASSIFIED, seconds=10))


@cache
def _scanned(path: Path) -> int:
    """How many events ``scan`` tells of a file."""
    return sum(1 for _ in scan(path, types=None))


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path | None]:
    """A small file system at ``folder``; None where mounting is not permitted."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_SIZE}", "vermilion-chaos", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


__all__ = ["NotHit", "World"]
