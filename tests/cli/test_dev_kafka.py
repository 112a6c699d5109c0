"""`vermilion dev kafka`: a real Apache Kafka is started, stopped and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from typer.testing import CliRunner

from vermilion.dev import jars
from vermilion.dev.commands import app
from vermilion.dev.kafka import Cluster, DevError, fetch

PortFinder = Callable[[int], int]


@pytest.mark.kafka
def test_data_outlives_a_stop(tmp_path: Path, kafka_ports: PortFinder) -> None:
    cluster = Cluster(tmp_path, port=kafka_ports(1))
    try:
        bootstrap = cluster.start()
        _create(bootstrap, "kept")
        _produce(bootstrap, "kept", [b"one", b"two"])
        assert cluster.stop() == []
        assert cluster.status() == {1: None}

        again = Cluster(tmp_path, port=kafka_ports(1))  # another process, and other ports
        bootstrap = again.start()
        _produce(bootstrap, "kept", [b"three"])
        assert _consume(bootstrap, "kept", 3) == [b"one", b"two", b"three"]
        assert again.stop() == []
        assert (tmp_path / "node1" / "topics" / ".kafka_cleanshutdown").is_file()
        assert not list(tmp_path.rglob("pid"))
    finally:
        Cluster.at(tmp_path).stop()


@pytest.mark.kafka
def test_three_nodes_survive_the_loss_of_one(tmp_path: Path, kafka_ports: PortFinder) -> None:
    with Cluster(tmp_path, nodes=3, port=kafka_ports(3)) as cluster:
        bootstrap = cluster.bootstrap
        _create(bootstrap, "copied")
        cluster.kill(2)
        assert cluster.status()[2] is None
        _produce(bootstrap, "copied", [b"without two"])
        cluster.start()
        assert None not in cluster.status().values()
        assert _consume(bootstrap, "copied", 1) == [b"without two"]
        assert cluster.stop() == []


@pytest.mark.kafka
def test_a_topic_is_never_made_by_accident(kafka_bootstrap: str) -> None:
    name = f"typo-{uuid.uuid4()}"
    client = AdminClient({"bootstrap.servers": kafka_bootstrap})
    client.list_topics(topic=name, timeout=10)
    assert name not in client.list_topics(timeout=10).topics


@pytest.mark.kafka
def test_commands(tmp_path: Path, kafka_ports: PortFinder) -> None:
    port, data = kafka_ports(1), ["--data", str(tmp_path)]
    run = CliRunner()
    try:
        started = run.invoke(app, ["kafka", "start", "--port", str(port), *data])
        assert (started.exit_code, started.stdout) == (0, f"bootstrap.servers=127.0.0.1:{port}\n"), (
            started.stderr
        )
        assert run.invoke(app, ["kafka", "start", "--port", str(port), *data]).exit_code == 0
        elsewhere = run.invoke(app, ["kafka", "start", "--port", str(port + 1), *data])
        assert elsewhere.exit_code == 1
        assert f"runs on port {port} already" in elsewhere.stderr
        assert run.invoke(app, ["kafka", "status", *data]).exit_code == 0
        stopped = run.invoke(app, ["kafka", "stop", *data])
        assert (stopped.exit_code, stopped.stderr) == (0, "Apache Kafka is stopped\n")
        after = run.invoke(app, ["kafka", "status", *data])
        assert (after.exit_code, after.stdout) == (1, f"node 1 127.0.0.1:{port} stopped\n")
    finally:
        Cluster.at(tmp_path).stop()


def test_wrong_usage_is_exit_2(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["kafka", "start", "--nodes", "2", "--data", str(tmp_path)]).exit_code == 2


def test_nothing_to_stop(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["kafka", "stop", "--data", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "there is no cluster in" in result.stderr


@pytest.mark.parametrize("offset", [0, 100])
def test_a_taken_port_is_named(tmp_path: Path, kafka_ports: PortFinder, offset: int) -> None:
    first = kafka_ports(1)
    with (
        socket.create_server(("127.0.0.1", first + offset)),
        pytest.raises(DevError, match=f"port {first + offset};"),
    ):
        Cluster(tmp_path, port=first).start()
    assert not (tmp_path / "cluster.json").exists()  # what did not start has not settled the number of nodes


def test_another_number_of_nodes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text('{"id": "JlmFdkKfSAqmDbZ0tKzpRA", "nodes": 1, "port": 9092}')
    with pytest.raises(DevError, match=r"made for 1 node\(s\), not for 3"):
        Cluster(tmp_path, nodes=3).start()


def test_a_recycled_process_id_is_not_the_node(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.nodes[0].folder.mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (cluster.nodes[0].folder / "pid").write_text(f"{stranger.pid}\n")
        assert cluster.status() == {1: None}
        assert cluster.stop() == []
        assert stranger.poll() is None
        stranger.send_signal(signal.SIGTERM)


def test_missing_java_is_told_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kafka_ports: PortFinder
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(
        app, ["kafka", "start", "--port", str(kafka_ports(1)), "--data", str(tmp_path)]
    )
    assert result.exit_code == 1
    assert "no java in PATH" in result.stderr
    assert "apt-get install openjdk-17-jre-headless" in result.stderr


def test_an_old_java_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path / "java", "echo 'openjdk version \"1.8.0_402\"' >&2")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(DevError, match=r"is version 8; .*openjdk-17-jre-headless"):
        jars.java()


def test_missing_maven_is_told_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path / "java", "echo 'openjdk version \"17.0.15\"' >&2")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("VERMILION_TOOLS_DIR", str(tmp_path / "tools"))
    with pytest.raises(DevError, match="no mvn in PATH; on Debian and Ubuntu: apt-get install maven"):
        fetch()


def test_a_changed_jar_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path / "java", "echo 'openjdk version \"17.0.15\"' >&2")
    output = "for a; do case $a in -DoutputDirectory=*) d=${a#*=};; esac; done"
    _program(tmp_path / "mvn", f'{output}; /bin/mkdir -p "$d"; echo changed > "$d/lz4-java-1.10.2.jar"')
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("VERMILION_TOOLS_DIR", str(tmp_path / "tools"))
    with pytest.raises(DevError, match=r"not the files that kafka\.sha256 lists: .*lz4-java-1\.10\.2\.jar"):
        fetch()
    assert not list((tmp_path / "tools").glob("kafka/*/libs"))


def test_outside_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VERMILION_TOOLS_DIR", raising=False)
    with pytest.raises(DevError, match="VERMILION_TOOLS_DIR"):
        fetch()


def _program(file: Path, script: str) -> None:
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def _create(bootstrap: str, topic: str) -> None:
    client = AdminClient({"bootstrap.servers": bootstrap})
    for made in client.create_topics([NewTopic(topic, num_partitions=1)]).values():
        made.result(timeout=30)


def _produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    # Idempotent: a leader that was just killed must not make a record come twice. Quiet about the dead one.
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 0})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def _consume(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test", "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe([topic])
        return [message.value() for message in consumer.consume(count, timeout=30)]
    finally:
        consumer.close()
