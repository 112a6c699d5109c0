"""Flags before environment before file; secrets from files; what is wrong is told."""

from pathlib import Path

import pytest

from vermilion_pipeline.settings import SettingsError, load, masked


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_order_of_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().bootstrap_servers == "127.0.0.1:9092"
    Path("vermilion.toml").write_text(
        'bootstrap_servers = "file:1"\nsensor = "file"\n[kafka]\n"linger.ms" = "7"\n'
    )
    assert load().kafka == {"linger.ms": "7"}
    monkeypatch.setenv("VERMILION_BOOTSTRAP_SERVERS", "env:1")
    found = load()
    assert (found.bootstrap_servers, found.sensor) == ("env:1", "file")
    assert load(bootstrap_servers="flag:1", sensor=None).bootstrap_servers == "flag:1"
    monkeypatch.setenv("VERMILION_KAFKA", '{"linger.ms": "9"}')
    assert load().kafka_config() == {"bootstrap.servers": "env:1", "linger.ms": "9"}


def test_secrets_come_from_files_and_are_masked(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("hush\n")
    config = load(kafka_secret_files={"sasl.password": tmp_path / "pw"}).kafka_config()
    assert config["sasl.password"] == "hush"
    assert masked(config)["sasl.password"] == "***"
    assert masked({"sasl.username": "me", "client.id": "c"}, ["sasl.username"]) == {
        "sasl.username": "***",
        "client.id": "c",
    }
    assert masked({"sasl.kerberos.kinit.cmd": "kinit -p hush"}) == {"sasl.kerberos.kinit.cmd": "***"}
    with pytest.raises(SettingsError, match=r"sasl\.password: .*none: No such file"):
        load(kafka_secret_files={"sasl.password": tmp_path / "none"}).kafka_config()


def test_only_the_end_of_the_line_is_none_of_the_secret(tmp_path: Path) -> None:
    (tmp_path / "pw").write_bytes(b" hush \r\n")
    assert (
        load(kafka_secret_files={"sasl.password": tmp_path / "pw"}).kafka_config()["sasl.password"]
        == " hush "
    )


@pytest.mark.parametrize(("content", "why"), [(b"\n", "is empty"), (b"hu\xffsh", "no UTF-8 at byte 2")])
def test_a_file_without_a_secret_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "pw").write_bytes(content)
    with pytest.raises(SettingsError, match=rf"sasl\.password: .*pw: {why}") as error:
        load(kafka_secret_files={"sasl.password": tmp_path / "pw"}).kafka_config()
    assert "hu" not in str(error.value)


@pytest.mark.parametrize(
    ("toml", "why"),
    [
        ('bootstrap_server = "x"', "bootstrap_server: Extra inputs"),
        ('http_port = "many"', "http_port: Input should be a valid integer"),
        ("this is no toml", "vermilion.toml"),
    ],
)
def test_what_is_wrong_is_told(toml: str, why: str) -> None:
    Path("vermilion.toml").write_text(toml)
    with pytest.raises(SettingsError) as error:
        load()
    assert why in str(error.value)


def test_a_named_file_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERMILION_CONFIG", "none.toml")
    with pytest.raises(SettingsError, match=r"none\.toml: no such file"):
        load()
