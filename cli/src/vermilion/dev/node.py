"""One node of the developers' Apache Kafka: its settings, its process and how that ends."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vermilion.dev import process
from vermilion.dev.jars import SMALL_JAVA, DevError

CONTROLLER_OFFSET = 100
FORMAT_SECONDS = 60


@dataclass(frozen=True)
class Node:
    """One node. Its folder holds its settings, its data, its logs and its process id."""

    id: int
    port: int
    folder: Path

    @property
    def controller_port(self) -> int:
        """Where the nodes agree among themselves; clients have no business there."""
        return self.port + CONTROLLER_OFFSET

    @property
    def config(self) -> Path:
        """The node's server.properties."""
        return self.folder / "server.properties"

    @property
    def mark(self) -> str:
        """What in a command line tells the node's process."""
        return str(self.config)

    @property
    def logs(self) -> Sequence[str]:
        """What the node writes to."""
        return ("console.log", "broker.log")

    @property
    def pid(self) -> int | None:
        """The node's process, if it runs."""
        return process.pid_of(self)

    def prepare(
        self,
        java: Sequence[str],
        cluster: Sequence[Node],
        cluster_id: str,
        more: Mapping[str, str],
        format_options: Sequence[str] = (),
    ) -> None:
        """Write the node's settings, ``more`` over the usual ones, and format its storage if it is fresh.

        ``format_options``: what else the formatting is told, such as users with their passwords.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # Its settings may hold a key's password.
        self.config.touch(mode=0o600)
        self.config.write_text(_properties(self, cluster, more))
        if (self.folder / "topics" / "meta.properties").is_file():
            return
        command = [*java, self._log_option, "kafka.tools.StorageTool", "format", "-t", cluster_id]
        command += ["-c", str(self.config), *format_options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FORMAT_SECONDS)
        if done.returncode:
            raise DevError(f"could not format {self.folder}:\n{(done.stdout + done.stderr).strip()}")

    def launch(self, java: list[str]) -> None:
        """Start a process that outlives this one and does not hear its terminal's Ctrl-C."""
        command = [*java, self._log_option, "kafka.Kafka", str(self.config)]
        process.launch(self, command)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the node's process, if it has one."""
        process.send(self, number)

    def log_end(self) -> str:
        """The last lines of what the node wrote."""
        return process.log_end(self)

    @property
    def _log_option(self) -> str:
        return f"-Dvermilion.log.dir={self.folder}"


def java_command(program: str, libs: Path, logging: Path) -> list[str]:
    """The part of a command line that the nodes and the formatting share."""
    return [
        program,
        *SMALL_JAVA,
        f"-Dlog4j2.configurationFile={logging}",
        "-cp",
        f"{libs}/*",
    ]


Settings = Callable[[Node], Mapping[str, str]]
"""What a node's server.properties has beyond, or instead of, the usual."""


def _properties(node: Node, cluster: Sequence[Node], more: Mapping[str, str]) -> str:
    copies, in_sync = (3, 2) if len(cluster) == 3 else (1, 1)
    settings = {
        "process.roles": "broker,controller",
        "node.id": node.id,
        "controller.quorum.voters": ",".join(
            f"{each.id}@127.0.0.1:{each.controller_port}" for each in cluster
        ),
        "listeners": f"CLIENTS://127.0.0.1:{node.port},CONTROLLER://127.0.0.1:{node.controller_port}",
        "advertised.listeners": f"CLIENTS://127.0.0.1:{node.port}",
        "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "CLIENTS",
        "log.dirs": node.folder / "topics",
        # As a production cluster is: topics are made on purpose, and a write is on two nodes of three.
        "auto.create.topics.enable": "false",
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
        # Small, because it shares a developer's machine: few internal partitions, threads and buffers.
        "num.partitions": 4,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.num.partitions": 4,
        "num.network.threads": 2,
        "num.io.threads": 2,
        "log.segment.bytes": 64 << 20,
        "log.retention.bytes": 1 << 30,
        "log.cleaner.dedupe.buffer.size": 16 << 20,
        # Quick: no wait for more members of a group, and a dead node is noticed in seconds.
        "group.initial.rebalance.delay.ms": 0,
        "broker.session.timeout.ms": 6000,
        "broker.heartbeat.interval.ms": 1000,
        **more,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())
