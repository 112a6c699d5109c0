"""An Apache Kafka without containers: one node or three on 127.0.0.1, with data that outlives a stop.

Each node is broker and controller at once (KRaft combined mode). What the cluster is and which processes
it has is kept in its data folder, so that another command can stop it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from vermilion.dev.jars import DevError, default_data, exclusive, fetch, find_root, java, tools_dir
from vermilion.dev.node import CONTROLLER_OFFSET, Node, Settings, java_command
from vermilion.dev.process import await_end, end, is_free

__all__ = ["Cluster", "DevError", "Node", "default_data", "fetch", "find_root", "ports_free", "tools_dir"]

START_SECONDS = 90.0
STOP_SECONDS = 30.0


@dataclass(frozen=True)
class _State:
    """What a data folder was made for; ``cluster.json`` in it."""

    id: str
    nodes: int
    port: int


class Users(NamedTuple):
    """Who there is on a cluster that is not open to all of this machine; for tests."""

    format_options: tuple[str, ...]
    """Tell the formatting of a node's storage of them."""
    client: dict[str, str]
    """librdkafka's settings of one of them, who may ask whether the cluster is there."""


_NOBODY = Users((), {})


class Cluster:
    """One node or three; ``with Cluster(folder) as cluster`` starts them and stops them."""

    def __init__(
        self,
        data: Path,
        nodes: int = 1,
        port: int = 9092,
        libs: Path | None = None,
        settings: Settings = lambda _: {},
        users: Users = _NOBODY,
    ) -> None:
        """``settings``: what each node's server.properties has beyond the usual."""
        if nodes not in (1, 3):
            raise DevError(f"a cluster has one node or three, not {nodes}")
        if not 1 <= port <= 65536 - CONTROLLER_OFFSET - nodes:
            raise DevError(
                f"port {port} leaves no room for the clients' ports and the controllers' above them"
            )
        self.data = data.resolve()
        self.nodes = [
            Node(number + 1, port + number, self.data / f"node{number + 1}") for number in range(nodes)
        ]
        self._settings, self._users = settings, users
        self.port = port
        self._libs = libs
        self._settings = settings

    @classmethod
    def at(cls, data: Path) -> Cluster:
        """The cluster that a folder holds, as it was last started."""
        state = _read_state(data)
        if state is None:
            raise DevError(f"there is no cluster in {data}: `vermilion dev kafka start` makes one")
        return cls(data, nodes=state.nodes, port=state.port)

    @property
    def bootstrap(self) -> str:
        """What clients connect to."""
        return ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def status(self) -> dict[int, int | None]:
        """The process of every node, by the node's id; none for a node that does not run."""
        return {node.id: node.pid for node in self.nodes}

    def start(self) -> str:
        """Start the nodes that do not run, wait until all are there, and return ``bootstrap.servers``."""
        with exclusive(self.data / "cluster.lock"):
            state = self._state()
            idle = [node for node in self.nodes if node.pid is None]
            if len(idle) < len(self.nodes) and state.port != self.port:
                raise DevError(
                    f"{self.data} runs on port {state.port} already: stop it to start it elsewhere"
                )
            taken = [port for node in idle for port in (node.port, node.controller_port) if not is_free(port)]
            if taken:
                ports = ", ".join(map(str, sorted(taken)))
                raise DevError(f"in use on 127.0.0.1: port {ports}; choose another first port (--port)")
            if idle:
                program, libs = java(), self._libs or fetch()
                _write_state(self.data, replace(state, port=self.port))
                self._start(idle, program, libs, state.id)
        return self.bootstrap

    def stop(self) -> list[int]:
        """Ask every node to end and wait for it; return the nodes that had to be killed for being late."""
        if not self.data.is_dir():
            return []
        with exclusive(self.data / "cluster.lock"):
            return _end(self.nodes)

    def kill(self, number: int) -> None:
        """End a node the hard way, as a power cut would: for tests. ``start`` brings it back."""
        node = self.nodes[number - 1]
        node.signal(signal.SIGKILL)
        await_end([node], STOP_SECONDS)

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _state(self) -> _State:
        state = _read_state(self.data) or _State(_cluster_id(), len(self.nodes), self.port)
        if state.nodes != len(self.nodes):
            raise DevError(
                f"{self.data} was made for {state.nodes} node(s), not for {len(self.nodes)}: "
                "name another folder (--data), or remove this one with all its topics"
            )
        return state

    def _start(self, idle: Sequence[Node], program: str, libs: Path, cluster_id: str) -> None:
        packaged = resources.files("vermilion.dev").joinpath("kafka-log4j2.properties")
        with contextlib.ExitStack() as undo, resources.as_file(packaged) as logging:
            command = java_command(program, libs, logging)
            for node in idle:
                node.prepare(
                    command, self.nodes, cluster_id, self._settings(node), self._users.format_options
                )
            undo.callback(_end, idle)
            for node in idle:
                node.launch(command)
            self._wait(cluster_id)
            undo.pop_all()

    def _wait(self, cluster_id: str) -> None:
        """Wait for the brokers to know one another: an open port is too early for a client."""
        # An extra, which only starting needs.
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        # That it cannot connect yet is expected here, so the client is not to write about it.
        client = AdminClient(
            {
                "bootstrap.servers": self.bootstrap,
                "log_level": 0,
                "reconnect.backoff.max.ms": 250,
                **self._users.client,
            }
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for node in self.nodes:
                if node.pid is None:
                    raise DevError(
                        f"node {node.id} ended while starting; the end of its log:\n{node.log_end()}"
                    )
            with contextlib.suppress(KafkaException):
                metadata = client.list_topics(timeout=1)
                if str(metadata.cluster_id) != cluster_id:
                    raise DevError(f"another Kafka answers at {self.bootstrap}; choose another --port")
                known = metadata.brokers
                # The others still know a node that was killed a second ago: it must listen, too.
                if len(known) == len(self.nodes) and not any(is_free(node.port) for node in self.nodes):
                    return
            time.sleep(0.1)
        logs = "\n".join(node.log_end() for node in self.nodes)
        raise DevError(f"Apache Kafka was not there after {START_SECONDS:.0f} s; the end of its log:\n{logs}")


def ports_free(first: int, nodes: int = 1) -> bool:
    """Say whether all ports of a cluster that starts at ``first`` are free."""
    return all(is_free(port) and is_free(port + CONTROLLER_OFFSET) for port in range(first, first + nodes))


def _end(nodes: Sequence[Node]) -> list[int]:
    return [node.id for node in end(nodes, STOP_SECONDS)]


def _read_state(data: Path) -> _State | None:
    file = data / "cluster.json"
    try:
        return _State(**json.loads(file.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, TypeError, ValueError) as error:
        raise DevError(f"cannot read {file}: {error}") from error


def _write_state(data: Path, state: _State) -> None:
    part = data / "cluster.json.part"
    part.write_text(json.dumps(asdict(state)) + "\n")
    part.replace(data / "cluster.json")


def _cluster_id() -> str:
    """Make an id as Kafka's are: 16 random bytes, and no leading dash, which would read as an option."""
    while (made := base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")).startswith("-"):
        pass
    return made
