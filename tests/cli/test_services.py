"""The commands that need a broker, without one, without topics, and with odd flags."""

import json
import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cli.command import COMMAND, told, vermilion
from fingerprint.hellos import RECORDING

NOWHERE = ("-b", "127.0.0.1:1")


def test_no_broker() -> None:
    """Every command says so; asked at once, since each waits ten seconds for a broker to come up."""
    commands: list[tuple[str | Path, ...]] = [
        ("capture", "-r", RECORDING),
        ("fingerprint",),
        ("classify",),
        ("tail",),
        ("topics", "create"),
        ("topics", "describe"),
    ]
    with ThreadPoolExecutor(len(commands) + 1) as pool:
        doctor = pool.submit(vermilion, "doctor", *NOWHERE)
        for done in pool.map(lambda command: vermilion(*command, *NOWHERE), commands):
            told(done, 1, "127.0.0.1:1")
    ill = doctor.result()
    assert ill.returncode == 1
    assert "127.0.0.1:1" in ill.stdout
    assert "knowledge" in ill.stdout


@pytest.mark.kafka
@pytest.mark.parametrize(
    "command", [("capture", "-r", RECORDING), ("fingerprint",), ("classify",), ("tail", "classified")]
)
def test_no_topics(command: tuple[str, ...], kafka_bootstrap: str) -> None:
    done = vermilion(*command, "-b", kafka_bootstrap, "--topic-prefix", "absent.")
    told(done, 1, "absent.", "vermilion topics create")


@pytest.mark.kafka
def test_doctor_tells_the_remedy(kafka_bootstrap: str) -> None:
    ill = vermilion("doctor", "-b", kafka_bootstrap, "--topic-prefix", "absent.")
    assert ill.returncode == 1
    assert "vermilion topics create" in ill.stdout
    assert (
        vermilion(
            "topics", "create", "-b", kafka_bootstrap, "--topic-prefix", "doctor.", "--partitions", "2"
        ).returncode
        == 0
    )
    well = vermilion("doctor", "-b", kafka_bootstrap, "--topic-prefix", "doctor.")
    assert well.returncode == 0, well.stdout
    assert well.stdout.count("ok ") == 6
    described = vermilion("topics", "describe", "-b", kafka_bootstrap, "--topic-prefix", "doctor.")
    assert described.returncode == 0
    assert "doctor.payloads" in described.stdout


def test_wrong_usage(tmp_path: Path) -> None:
    told(vermilion("capture"), 2, "at least one capture file")
    told(vermilion("capture", "-r", tmp_path), 2, "is a directory")
    told(vermilion("tail", "nonsense"), 2)
    told(vermilion("fingerprint", "-X", "nonsense"), 2, "NAME=VALUE")
    told(vermilion("fingerprint", "-X", "no.such.setting=1"), 1, "no.such.setting")
    told(vermilion("topics", "create", "--partitions", "0"), 2)


def test_db_info() -> None:
    done = vermilion("db", "info")
    assert done.returncode == 0
    assert "8,849" in done.stdout
    assert "known up to 2019-09-20" in done.stdout


def test_db_fetch_says_nothing_when_all_is_there() -> None:
    done = vermilion("db", "fetch", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_wrong_configuration_file(tmp_path: Path) -> None:
    config = tmp_path / "v.toml"
    config.write_text("batch_records = 'many'\n")
    told(vermilion("tail", VERMILION_CONFIG=str(config)), 1, "batch_records", str(config))


@pytest.mark.kafka
def test_topics_exactly_refuses_another_number_and_creates_nothing(kafka_bootstrap: str) -> None:
    here = ("-b", kafka_bootstrap, "--topic-prefix", "exactly.")
    create = ("topics", "create", *here, "--partitions")
    assert vermilion(*create, "2", "--exactly").returncode == 0
    told(vermilion(*create, "3", "--exactly"), 2, "--partitions", "exactly.payloads has 2")
    assert "exactly.payloads: 2 partitions, was there" in vermilion(*create, "2", "--exactly").stdout
    assert "exactly.payloads: 2 partitions, was there" in vermilion(*create, "3").stdout


@pytest.mark.kafka
def test_capture_interrupted_ends_its_run_and_tells_what_is_acknowledged(
    tmp_path: Path, kafka_bootstrap: str
) -> None:
    here = ("-b", kafka_bootstrap, "--topic-prefix", "interrupted.")
    assert vermilion("topics", "create", *here, "--partitions", "3").returncode == 0
    fifo = tmp_path / "endless.pcap"
    os.mkfifo(fifo)
    command = [*COMMAND, "capture", str(fifo), *here]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process, fifo.open("wb", buffering=0) as pipe:
        pipe.write(RECORDING.read_bytes()[:200_000])
        time.sleep(2)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    published, acknowledged = (line.decode() for line in errors.splitlines()[-2:])
    count = int(published.split(" packets, ")[1].split(" published")[0])
    assert count > 100
    total = acknowledged.split()[0]
    assert acknowledged == f"{total} of {total} records acknowledged"
    done = vermilion("tail", "payloads", "--from", "beginning", "--limit", total, *here)
    kinds = [json.loads(line)["kind"] for line in done.stdout.splitlines()]
    assert (kinds.count("SEGMENT"), kinds.count("END_OF_RUN")) == (count, 3)


@pytest.mark.kafka
def test_what_is_too_big_is_told_at_exit_and_in_the_heartbeat(kafka_bootstrap: str) -> None:
    here = ("-b", kafka_bootstrap, "--topic-prefix", "toobig.")
    assert vermilion("topics", "create", *here, "--partitions", "1").returncode == 0
    done = vermilion("capture", "-r", RECORDING, *here, "-X", "message.max.bytes=1000")
    told(done, 1, "records are lost", "MSG_SIZE_TOO_LARGE")
    (dropped,) = re.findall(r"acknowledged; dropped: (\d+) too_big$", done.stderr, re.MULTILINE)
    tail = vermilion("tail", "sensors", "--from", "beginning", "--quiet-for", "3", *here)
    beats = [json.loads(line) for line in tail.stdout.splitlines()]
    assert sum(beat["dropped_too_big"] for beat in beats) == int(dropped) > 0
    assert beats[-1]["last"]
