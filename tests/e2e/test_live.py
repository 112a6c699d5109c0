"""Live capture into a real Kafka: workers share the flows, SIGTERM ends their runs, the numbers agree."""

import json
import re
import signal
import socket
import subprocess
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest
from cli.command import COMMAND, told, vermilion

pytestmark = pytest.mark.kafka

FLOWS = 24


def running_sockets() -> int:
    return sum(line.split()[5] == "1" for line in Path("/proc/net/packet").read_text().splitlines()[1:])


def may_capture() -> bool:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError:
        return False
    return True


@contextmanager
def capturing(command: list[str], *, workers: int) -> Iterator[subprocess.Popen[str]]:
    """The command, when each of its workers listens."""
    before = running_sockets()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = monotonic() + 60
            while running_sockets() < before + workers:
                assert process.poll() is None and monotonic() < deadline
                sleep(0.05)
            sleep(1)  # the kernel's filters are set one after the other
            yield process
        finally:
            process.kill()


@pytest.mark.skipif(not may_capture(), reason="packet sockets are not allowed here")
def test_workers_share_flows_and_end_their_runs(
    kafka_bootstrap: str, kafka_ports: Callable[[int], int]
) -> None:
    here = ("-b", kafka_bootstrap, "--topic-prefix", "live.")
    assert vermilion("topics", "create", *here, "--partitions", "2").returncode == 0
    port, http = kafka_ports(1), kafka_ports(1)
    command = [
        *COMMAND, "capture", "-i", "lo", "--workers", "2", "--ring-mib", "4", "--bpf", f"tcp port {port}",
        "--http-port", str(http), *here,
    ]  # fmt: skip
    with capturing(command, workers=2) as process:
        deadline = monotonic() + 60
        with socket.create_server(("127.0.0.1", port)) as server:
            for number in range(FLOWS):
                with socket.create_connection(("127.0.0.1", port)) as client, server.accept()[0] as other:
                    client.sendall(b"hello %d" % number)
                    assert other.recv(100)
        metric = "vermilion_capture_packets_total"
        while True:
            with urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics") as page:
                (value,) = re.findall(rf"^{metric} (\S+)", page.read().decode(), re.MULTILINE)
            if float(value) >= 7 * FLOWS:
                break
            assert monotonic() < deadline, value
            sleep(0.2)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    acknowledged, produced = map(int, re.findall(r"(\d+) of (\d+) records acknowledged", errors)[0])
    assert acknowledged == produced
    done = vermilion("tail", "payloads", "--from", "beginning", "--limit", str(produced), *here)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    ends = [record["run"] for record in records if record["kind"] == "END_OF_RUN"]
    assert len(ends) == 4
    assert len(set(ends)) == 2
    flows = defaultdict(list)
    for record in records:
        if record["kind"] == "SEGMENT":
            client = record["src_port"] if record["dst_port"] == port else record["dst_port"]
            flows[client].append(record)
    assert len(flows) == FLOWS
    for segments in flows.values():
        assert len({segment["run"] for segment in segments}) == 1, "both directions come to one worker"
        assert sorted(segment["ordinal"] for segment in segments) == list(range(len(segments)))
    assert {record["run"] for segments in flows.values() for record in segments} == set(ends)
    beats = vermilion("tail", "sensors", "--from", "beginning", "--quiet-for", "3", *here).stdout
    last = [json.loads(line) for line in beats.splitlines()]
    assert sum(beat["packets"] for beat in last) >= 7 * FLOWS
    assert sum(beat["last"] for beat in last) == 2


@pytest.mark.skipif(not may_capture(), reason="packet sockets are not allowed here")
def test_what_it_publishes_is_not_captured_again(
    kafka_bootstrap: str, kafka_ports: Callable[[int], int]
) -> None:
    here = ("-b", kafka_bootstrap, "--topic-prefix", "echo.")
    assert vermilion("topics", "create", *here, "--partitions", "1").returncode == 0
    port = kafka_ports(1)
    with capturing([*COMMAND, "capture", "-i", "lo", "--depth", "0", *here], workers=1) as process:
        with (
            socket.create_server(("127.0.0.1", port)) as server,
            socket.create_connection(("127.0.0.1", port)) as client,
            server.accept()[0] as other,
        ):
            client.sendall(b"hello")
            assert other.recv(100) == b"hello"
        sleep(3)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert int(re.findall(r"(\d+) excluded_kafka", errors)[0]) > 0
    done = vermilion("tail", "payloads", "--from", "beginning", "--quiet-for", "3", *here)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    spoken = {
        frozenset((record["src_port"], record["dst_port"]))
        for record in records
        if record["kind"] == "SEGMENT"
    }
    kafka = int(kafka_bootstrap.rpartition(":")[2])
    assert any(port in ports for ports in spoken)
    assert not any(kafka in ports for ports in spoken)


def test_wrong_usage() -> None:
    told(vermilion("capture", "-i", "absent0"), 1, "absent0: no such interface", "lo")
    told(vermilion("capture", "-i", "lo", "some.pcap"), 2, "not both")
    told(vermilion("capture", "-i", "lo", "--exclude-network", "nonsense"), 2, "nonsense")
    told(vermilion("capture", "-i", "lo", "--bpf", "tcp prt 1"), 1, "tcp prt 1")
