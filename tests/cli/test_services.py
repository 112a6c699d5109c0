"""The commands that need a broker, without one, without topics, and with odd flags."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cli.command import told, vermilion
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
    assert "4,575" in done.stdout


def test_db_fetch_says_nothing_when_all_is_there() -> None:
    done = vermilion("db", "fetch", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_wrong_configuration_file(tmp_path: Path) -> None:
    config = tmp_path / "v.toml"
    config.write_text("batch_records = 'many'\n")
    told(vermilion("tail", VERMILION_CONFIG=str(config)), 1, "batch_records", str(config))
