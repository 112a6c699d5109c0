"""A short round of the chaos suite on a real three-node Apache Kafka; `make chaos` plays the long ones."""

import random
import select
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest
from chaos.faults import FAULTS, Lane
from chaos.proxy import BEFORE, BEHIND, Network, find_port
from chaos.report import shortfalls
from chaos.round import Plan, play, schedule

_SHORT = (
    "kill -9 of fingerprint in a transaction",
    "kill -9 of classify in a transaction",
    "transaction aborted",
    "poison records",
    "broker killed",
)


@pytest.mark.kafka
def test_a_short_round_loses_repeats_invents_and_reorders_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    kinds = [fault for fault in FAULTS if fault.kind in _SHORT]
    assert len(kinds) == len(_SHORT)
    plan = Plan(faults=len(_SHORT), events=1_000, kinds=kinds, pause=1.0)
    outcome = play(plan, 4, tmp_path, find_port(3), told.append)
    assert shortfalls(plan, [outcome]) == [], (outcome, told)
    assert sorted(outcome.hits) == sorted(_SHORT), told
    assert outcome.at_points.total() == 3, outcome


def test_a_seed_fixes_the_faults_of_a_round_and_each_kind_is_among_them() -> None:
    plan = Plan()
    first, again, other = (schedule(plan, FAULTS, random.Random(seed)) for seed in (1, 1, 2))
    assert first == again != other
    chosen = [fault for lane in Lane for fault in first[lane]]
    assert set(chosen) == set(FAULTS)
    assert len(chosen) == plan.faults


_CLIENT = """
import socket, sys, time
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
while True:
    connection.sendall(b"x")
    print(len(connection.recv(100)), flush=True)
    time.sleep(0.05)
"""


def test_a_cut_holds_one_process_back_and_lets_all_pass_afterwards() -> None:
    port = find_port(1)
    network = Network([port])
    answering = f"import socket\ns = socket.create_server(('127.0.0.1', {port + BEHIND}))\n" + (
        "import threading\n"
        "def echo(c):\n    while d := c.recv(100): c.sendall(d)\n"
        "while True: threading.Thread(target=echo, args=(s.accept()[0],)).start()\n"
    )
    python = [sys.executable, "-c"]
    server = subprocess.Popen([*python, answering], stderr=subprocess.DEVNULL)
    _await_listener(port + BEHIND)
    clients = [
        subprocess.Popen([*python, _CLIENT, str(port + BEFORE)], stdout=subprocess.PIPE, bufsize=0)
        for _ in range(2)
    ]
    try:
        cut, other = (client.stdout for client in clients)
        assert cut is not None
        assert other is not None
        assert [_hears(one, 10) for one in (cut, other)] == [True, True]
        network.cut(clients[0].pid)
        assert network.held_back[clients[0].pid] == 1
        time.sleep(0.2)
        while _hears(cut, 0):  # what it had told before
            pass
        assert not _hears(cut, 0.5)
        assert _hears(other, 5)
        network.heal(clients[0].pid)
        assert _hears(cut, 5)
    finally:
        for process in (*clients, server):
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
        network.close()


def _hears(output: IO[bytes], seconds: float) -> bool:
    """Whether a client tells of an answer in time; what it tells is taken."""
    readable, _, _ = select.select([output], [], [], seconds)
    return bool(readable and output.read(1 << 16))


def _await_listener(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"nothing listens on {port}")
