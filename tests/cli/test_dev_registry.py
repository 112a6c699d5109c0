"""`vermilion dev registry`: a real schema registry is started, stopped and started again."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from typer.testing import CliRunner

from vermilion.dev.commands import app
from vermilion.dev.kafka import DevError
from vermilion.dev.registry import Registry, fetch

PortFinder = Callable[[int], int]


@pytest.mark.kafka
def test_commands_and_what_it_knows_outlives_a_stop(tmp_path: Path, kafka_ports: PortFinder) -> None:
    port, data, run = kafka_ports(1), ["--data", str(tmp_path)], CliRunner()
    start = ["registry", "start", "--port", str(port), *data]
    url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
    try:
        for _ in range(2):  # the second finds it running
            started = run.invoke(app, start)
            assert (started.exit_code, started.stdout) == (0, f"VERMILION_REGISTRY_URL={url}\n"), (
                started.stderr
            )
        elsewhere = run.invoke(app, ["registry", "start", "--port", str(port + 1), *data])
        assert elsewhere.exit_code == 1
        assert f"runs on port {port} already" in elsewhere.stderr
        with SchemaRegistryClient({"url": url}) as client:
            kept = client.register_schema("kept", Schema('"string"', "AVRO"))
        stopped = run.invoke(app, ["registry", "stop", *data])
        assert (stopped.exit_code, stopped.stderr) == (0, "the schema registry is stopped\n")
        assert Registry.at(tmp_path).pid is None
        assert run.invoke(app, start).exit_code == 0
        with SchemaRegistryClient({"url": url}) as client:
            assert client.get_schema(kept).schema_str == '"string"'
    finally:
        Registry.at(tmp_path).stop()


def test_nothing_to_stop(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["registry", "stop", "--data", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "`vermilion dev registry start` makes one" in result.stderr


def test_a_taken_port_is_named(tmp_path: Path, kafka_ports: PortFinder) -> None:
    port = kafka_ports(1)
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(DevError, match=rf"port {port}; choose another one \(--port\)"),
    ):
        Registry(tmp_path, port).start()


def test_what_ends_while_starting_is_told_with_its_log(tmp_path: Path, kafka_ports: PortFinder) -> None:
    with pytest.raises(DevError, match=r"(?s)ended while starting; .*Unable to access jarfile"):
        Registry(tmp_path, kafka_ports(1), libs=tmp_path / "nothing").start()


def test_a_changed_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = {
        "java": "echo 'openjdk version \"17.0.15\"' >&2",
        "mvn": 'for a; do case $a in -DoutputDirectory=*) d=${a#*=};; esac; done; /bin/mkdir -p "$d"; '
        'echo changed > "$d/apicurio-registry-app-3.0.9-all.tar.gz"',
    }
    for name, script in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("VERMILION_TOOLS_DIR", str(tmp_path / "tools"))
    with pytest.raises(DevError, match=r"not the files that registry\.sha256 lists: apicurio-registry-app"):
        fetch()
    assert not list((tmp_path / "tools").glob("registry/*/libs"))
