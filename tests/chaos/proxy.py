"""The network between the services and the brokers, which can be cut for one process.

A proxy stands before each broker's second listener. A cut swallows nothing: what a process sends or is
sent waits, as it does when TCP finds no way, and goes on after the cut. No connection is closed.
"""

import re
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, epoll
from typing import Final

from conftest import find_ports

from vermilion.dev.kafka import Node, ports_free

BEHIND: Final = 200
"""A broker's second listener is so far above its first, and its proxy as far again."""
BEFORE: Final = 300
_CHUNK = 1 << 16
_HELD = 1 << 20


def listeners(node: Node) -> Mapping[str, str]:
    """The second listener, whose address, as clients are told it, is the proxy's."""
    usual = f"CLIENTS://127.0.0.1:{node.port}"
    return {
        "listeners": f"{usual},PROXIED://127.0.0.1:{node.port + BEHIND},"
        f"CONTROLLER://127.0.0.1:{node.controller_port}",
        "advertised.listeners": f"{usual},PROXIED://127.0.0.1:{node.port + BEFORE}",
        "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT",
    }


def find_port(nodes: int) -> int:
    """A first port for so many nodes, with room for their second listeners and the proxies."""
    for _ in range(100):
        port = find_ports(nodes)
        if ports_free(port + BEHIND, nodes):
            return port
    raise RuntimeError("no free ports for a cluster with a network between 20000 and 32000")


@dataclass(eq=False)
class _End:
    """One socket of a connection: what is to be written to it, and its other end."""

    socket: socket.socket
    client_port: int
    waiting: bytearray = field(default_factory=bytearray)
    connected: bool = True
    finished: bool = False
    """Its peer will send no more: close it when what waits is written."""
    peer: "_End | None" = None


class Network:
    """Proxies for brokers at ``ports``, on a thread of their own."""

    def __init__(self, ports: list[int]) -> None:
        self._epoll = epoll()
        self._listening: dict[int, tuple[socket.socket, int]] = {}
        self._ends: dict[int, _End] = {}
        self._lock = threading.Lock()
        self._cut: dict[int, set[int]] = {}
        self.held_back: dict[int, int] = {}
        """Process -> connections that a cut holds or has held; the proof that it hit."""
        for port in ports:
            listening = socket.create_server(("127.0.0.1", port + BEFORE), backlog=200)
            listening.setblocking(False)
            self._listening[listening.fileno()] = (listening, port + BEHIND)
            self._epoll.register(listening.fileno(), EPOLLIN)
        self.bootstrap = ",".join(f"127.0.0.1:{port + BEFORE}" for port in ports)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._thread.start()

    def cut(self, pid: int) -> None:
        """Nothing passes between process ``pid`` and any broker from now on."""
        with self._lock:
            self._cut[pid] = _ports_of(pid)
            ours = {end.client_port for end in self._ends.values()}
            self.held_back[pid] = len(self._cut[pid] & ours)

    def heal(self, pid: int) -> None:
        """What waited passes, and all that comes."""
        with self._lock:
            self._cut.pop(pid, None)
            for end in list(self._ends.values()):
                self._watch(end)

    def close(self) -> None:
        """Close all connections."""
        self._closed = True
        self._thread.join()
        for end in list(self._ends.values()):
            end.socket.close()
        for listening, _ in self._listening.values():
            listening.close()
        self._epoll.close()

    def _run(self) -> None:
        while not self._closed:
            for number, events in self._epoll.poll(0.1):
                with self._lock:
                    if number in self._listening:
                        self._accept(*self._listening[number])
                    elif number in self._ends:
                        self._serve(self._ends[number], events)

    def _is_cut(self, end: _End) -> bool:
        return any(end.client_port in ports for ports in self._cut.values())

    def _accept(self, listening: socket.socket, port: int) -> None:
        client, (_, client_port) = listening.accept()
        broker = socket.socket()
        for one in (client, broker):
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        broker.connect_ex(("127.0.0.1", port))
        for pid, ports in self._cut.items():
            if client_port in _ports_of(pid):
                ports.add(client_port)
                self.held_back[pid] += 1
        near, far = _End(client, client_port), _End(broker, client_port, connected=False)
        near.peer, far.peer = far, near
        for end in (near, far):
            self._ends[end.socket.fileno()] = end
            self._epoll.register(end.socket.fileno(), 0)
            self._watch(end)

    def _watch(self, end: _End) -> None:
        """Ask for what the socket may do: nothing in a cut, no reading while its peer is behind."""
        if self._is_cut(end):
            wanted = 0
        else:
            peer = end.peer
            room = peer is not None and len(peer.waiting) < _HELD
            wanted = (EPOLLIN if room else 0) | (EPOLLOUT if end.waiting or not end.connected else 0)
        self._epoll.modify(end.socket.fileno(), wanted)

    def _serve(self, end: _End, events: int) -> None:
        if self._is_cut(end):
            # Errors are told whatever was asked for: stop listening to them till the cut heals.
            if events & (EPOLLERR | EPOLLHUP):
                self._drop(end)
            return
        peer = end.peer
        try:
            if events & EPOLLOUT:
                end.connected = True
                if end.waiting:
                    del end.waiting[: end.socket.send(end.waiting)]
            if events & (EPOLLIN | EPOLLERR | EPOLLHUP):
                data = end.socket.recv(_CHUNK)
                if not data:
                    self._drop(end)
                    return
                if peer is not None:
                    peer.waiting += data
        except BlockingIOError:
            pass
        except OSError:
            self._drop(end)
            return
        if end.finished and not end.waiting:
            self._drop(end)
            return
        for one in (end, peer):
            if one is not None:
                self._watch(one)

    def _drop(self, end: _End) -> None:
        self._ends.pop(end.socket.fileno(), None)
        end.socket.close()
        peer, end.peer = end.peer, None
        if peer is not None:
            peer.peer = None
            peer.finished = True
            if peer.waiting and not self._is_cut(peer):
                self._watch(peer)
            else:
                self._drop(peer)


def _ports_of(pid: int) -> set[int]:
    """The local TCP ports of a process."""
    inodes = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found = re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink()))
            except OSError:  # closed meanwhile
                continue
            if found:
                inodes.add(found[1])
    except OSError:  # ended meanwhile
        return set()
    ports = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[9] in inodes:
            ports.add(int(words[1].rpartition(":")[2], 16))
    return ports
