"""One node of the developers' Apache Kafka: its settings, its process and how that ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vermilion.dev.jars import DevError

CONTROLLER_OFFSET = 100
FORMAT_SECONDS = 60
EXEC_TRIES = 50
EXEC_SECONDS = 0.02


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
        """The node's server.properties; its path in a command line is what tells the node's process."""
        return self.folder / "server.properties"

    @property
    def pid(self) -> int | None:
        """The node's process, if the one in its pid file still is the node and not a later stranger."""
        try:
            pid = int((self.folder / "pid").read_text())
            with contextlib.suppress(OSError):  # only this process's own children are its to reap
                os.waitpid(pid, os.WNOHANG)
            for _ in range(EXEC_TRIES):
                if arguments := Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid if os.fsencode(self.config) in arguments.split(b"\0") else None
                # Empty in the moment of its exec, and for one that has ended and waits to be reaped.
                time.sleep(EXEC_SECONDS)
        except (OSError, ValueError):
            pass
        return None

    def prepare(
        self, java: Sequence[str], cluster: Sequence[Node], cluster_id: str, more: Mapping[str, str]
    ) -> None:
        """Write the node's settings, ``more`` over the usual ones, and format its storage if it is fresh."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(_properties(self, cluster, more))
        if (self.folder / "topics" / "meta.properties").is_file():
            return
        command = [*java, self._log_option, "kafka.tools.StorageTool", "format", "-t", cluster_id]
        command += ["-c", str(self.config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FORMAT_SECONDS)
        if done.returncode:
            raise DevError(f"could not format {self.folder}:\n{(done.stdout + done.stderr).strip()}")

    def launch(self, java: Sequence[str]) -> None:
        """Start a process that outlives this one and does not hear its terminal's Ctrl-C."""
        command = [*java, self._log_option, "kafka.Kafka", str(self.config)]
        console = str(self.folder / "console.log")
        # posix_spawn returns after the exec, so the command line is the node's from the start; and it leaves
        # no Popen object behind that would complain that its process is still running.
        pid = os.posix_spawn(
            command[0],
            command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, console, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        (self.folder / "pid").write_text(f"{pid}\n")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the node's process, if it has one."""
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def log_end(self) -> str:
        """The last lines of what the node wrote."""
        lines: list[str] = []
        for file in (self.folder / "console.log", self.folder / "broker.log"):
            with contextlib.suppress(OSError):
                lines += file.read_text(errors="replace").splitlines()[-10:]
        return "\n".join(lines)

    @property
    def _log_option(self) -> str:
        return f"-Dvermilion.log.dir={self.folder}"


def await_end(nodes: Iterable[Node], seconds: float) -> list[Node]:
    """Wait for the nodes' processes to end and return the nodes whose did not."""
    deadline = time.monotonic() + seconds
    left = list(nodes)
    while (left := [node for node in left if node.pid is not None]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def is_free(port: int) -> bool:
    """Say whether nothing listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # what a closed connection leaves is no owner
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def java_command(program: str, libs: Path, logging: Path) -> list[str]:
    """The part of a command line that the nodes and the formatting share."""
    options = [
        "-Xms128m",
        "-Xmx384m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:ActiveProcessorCount=2",
    ]
    return [
        program,
        *options,
        "-Djava.awt.headless=true",
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
