"""Key logs: garbage is counted and stepped over, a file is followed, and no secret is shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vermilion_fingerprint.decrypt.following import KeyLogError, KeyLogFile
from vermilion_fingerprint.decrypt.keylog import KeyLog, Label

RANDOM, MASTER, TRAFFIC = "aB" * 32, "cd" * 48, "ef" * 32


def line(number: int = 0, label: str = "CLIENT_RANDOM", secret: str = MASTER) -> bytes:
    return f"{label} {number:064x} {secret}\n".encode()


def log_of(*lines: bytes) -> KeyLog:
    log = KeyLog()
    for each in lines:
        log.add(each)
    return log


def test_each_label_is_a_secret_of_its_own() -> None:
    labels = [
        "CLIENT_RANDOM", "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0",
    ]  # fmt: skip
    secrets = [f"{i:02x}" * (48 if i == 0 else 32) for i in range(5)]
    log = log_of(
        *(f"{label} {RANDOM} {secret}".encode() for label, secret in zip(labels, secrets, strict=True))
    )
    assert [log.secret(bytes.fromhex(RANDOM), label) for label in Label] == [
        bytes.fromhex(s) for s in secrets
    ]
    assert log.lines == {"secret": 5, "ignored": 0, "garbage": 0}
    assert log.secret(bytes(32), Label.MASTER) is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"CLIENT_RANDOM {RANDOM} {MASTER}", "secret"),
        (f"CLIENT_RANDOM {RANDOM} {MASTER}\r", "secret"),
        (f"CLIENT_HANDSHAKE_TRAFFIC_SECRET {RANDOM} {MASTER}", "secret"),
        (f"CLIENT_EARLY_TRAFFIC_SECRET {RANDOM} {TRAFFIC}", "ignored"),
        (f"EXPORTER_SECRET {RANDOM} {TRAFFIC}", "ignored"),
        (f"EARLY_EXPORTER_SECRET {RANDOM} {TRAFFIC}", "ignored"),
        (f"CLIENT_TRAFFIC_SECRET_1 {RANDOM} {TRAFFIC}", "ignored"),
        (f"CLIENT_RANDOM {RANDOM} {TRAFFIC}", "garbage"),
        (f"CLIENT_RANDOM {RANDOM[2:]} {MASTER}", "garbage"),
        (f"CLIENT_RANDOM {RANDOM} {MASTER} more", "garbage"),
        (f"CLIENT_RANDOM  {RANDOM} {MASTER}", "garbage"),
        (f"CLIENT_RANDOM {RANDOM} {MASTER[:-1]}g", "garbage"),
        (f"CLIENT_TRAFFIC_SECRET_0 {RANDOM} {TRAFFIC}00", "garbage"),
        (f"SOMETHING_ELSE {RANDOM} {MASTER}", "garbage"),
        ("x" * 100_000, "garbage"),
        ("\udcff\udcfe", "garbage"),
    ],
)
def test_what_a_line_is(text: str, kind: str) -> None:
    log = log_of(text.encode("utf-8", "surrogateescape"))
    assert log.lines == {"secret": 0, "ignored": 0, "garbage": 0} | {kind: 1}


def test_comments_and_empty_lines_count_for_nothing() -> None:
    assert set(log_of(b"# SSL/TLS secrets log file", b"", b"  ", b"\r").lines.values()) == {0}


def test_the_oldest_connections_are_forgotten() -> None:
    log = KeyLog(most=3)
    for number in range(5):
        log.add(line(number))
        log.add(line(number, "CLIENT_TRAFFIC_SECRET_0", TRAFFIC))
    assert (log.connections, log.forgotten) == (3, 2)
    assert [log.secret(n.to_bytes(32, "big"), Label.MASTER) is not None for n in range(5)] == [
        False, False, True, True, True,
    ]  # fmt: skip


@given(st.binary(max_size=400))
def test_any_line(data: bytes) -> None:
    assert sum(log_of(data).lines.values()) <= 1


def numbers(followed: KeyLogFile) -> list[int]:
    followed.refresh()
    return [n for n in range(20) if followed.keys.secret(n.to_bytes(32, "big"), Label.MASTER)]


def test_a_file_is_followed_as_it_grows(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    followed = KeyLogFile(file)
    assert numbers(followed) == []
    assert followed.problem
    with file.open("wb", buffering=0) as log:
        for number in range(3):
            log.write(line(number)[:30])
            assert numbers(followed) == list(range(number))  # half a line is none yet
            log.write(line(number)[30:])
            assert numbers(followed) == list(range(number + 1))
    assert not followed.problem
    assert followed.keys.lines == {"secret": 3, "ignored": 0, "garbage": 0}
    followed.close()


def test_a_file_that_is_renamed_away_is_read_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(line(0))
    followed = KeyLogFile(file)
    assert numbers(followed) == [0]
    with file.open("ab") as log:
        log.write(line(1))
    file.rename(tmp_path / "keys.1")
    assert numbers(followed) == [0, 1]
    assert followed.problem is not None
    with (tmp_path / "keys.1").open("ab") as log:
        log.write(line(2))
    file.write_bytes(line(3))
    assert numbers(followed) == [0, 1, 2, 3]
    (tmp_path / "new").write_bytes(line(4))
    (tmp_path / "new").replace(file)
    assert numbers(followed) == [0, 1, 2, 3, 4]
    followed.close()


@pytest.mark.parametrize("more", [1, 2, 5])
def test_a_file_that_is_written_anew_is_read_anew(tmp_path: Path, more: int) -> None:
    file = tmp_path / "keys"
    file.write_bytes(line(0) + line(1))
    followed = KeyLogFile(file)
    assert numbers(followed) == [0, 1]
    # Shorter, as long as before, or longer.
    file.write_bytes(b"".join(line(10 + n) for n in range(more)))
    os.utime(file, ns=(1, 1))
    assert numbers(followed) == [0, 1, *range(10, 10 + more)]
    followed.close()


def test_garbage_without_an_end_is_stepped_over(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    followed = KeyLogFile(file)
    file.write_bytes(bytes(3_000_000))
    assert numbers(followed) == []
    with file.open("ab") as log:
        log.write(b"more\n" + line(1) + b"\xff\xfe\n" + line(2))
    assert numbers(followed) == [1, 2]
    assert followed.keys.lines == {"secret": 2, "ignored": 0, "garbage": 2}
    followed.close()


def test_what_cannot_be_followed_is_told_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(KeyLogError, match=f"{tmp_path}: not a regular file"):
        KeyLogFile(tmp_path).check(may_come=True)
    with pytest.raises(KeyLogError, match="No such file"):
        KeyLogFile(tmp_path / "none").check()
    KeyLogFile(tmp_path / "none").check(may_come=True)


def test_changes_of_the_problem_are_told_once(tmp_path: Path) -> None:
    told: list[str | None] = []
    followed = KeyLogFile(tmp_path / "keys", tell=told.append)
    for _ in range(3):
        followed.refresh()
    (tmp_path / "keys").write_bytes(line(0))
    for _ in range(3):
        followed.refresh()
    assert told == [f"{tmp_path}/keys: No such file or directory", None]
    followed.close()


def test_no_text_of_an_object_has_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(line(1) + b"CLIENT_RANDOM garbage " + MASTER.encode() + b"\n")
    followed = KeyLogFile(file)
    followed.refresh()
    shown = repr(followed) + repr(followed.keys) + str(followed.keys) + repr(followed.keys.lines)
    assert MASTER not in shown
    assert repr(bytes.fromhex(MASTER)) not in shown
    followed.close()
