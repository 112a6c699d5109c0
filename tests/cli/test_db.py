"""``vermilion db``: what a person does with knowledge."""

import json
from pathlib import Path

import pytest
from classify.databases import FP, line, row, write
from cli.command import vermilion
from fingerprint.hellos import RECORDING

from vermilion.commands.recorded import recorded

OTHER = "(0303)(c030)()"


def test_build_and_look_up(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.gz", [line([row("tool", 9), row("other", 1)])])
    out = tmp_path / "mine.knowledge"
    done = vermilion("db", "build", mine, "-o", out, "--name", "mine", "--version", "7")
    assert (done.returncode, done.stdout) == (0, "")
    assert "1 fingerprints" in done.stderr
    answer = json.loads(vermilion("db", "lookup", FP, "-d", out).stdout)
    assert (answer["process"], answer["match"]) == ("tool", "exact")
    assert answer["knowledge"] == {"name": "mine", "version": "7"}
    assert vermilion("db", "info", "-d", out).stdout.count("mine") > 1
    scanned = vermilion("scan", "-a", "--types", "tls", "-d", out, RECORDING)
    assert scanned.returncode == 0
    assert '"name":"mine","version":"7"' in scanned.stdout


def test_build_with_the_public_databases_behind(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.gz", [line([row("tool", 9)])])  # of one that the public ones know, too
    out = tmp_path / "all.knowledge"
    assert "8,849 fingerprints" in vermilion("db", "build", mine, "--public", "-o", out).stderr
    answer = json.loads(vermilion("db", "lookup", FP, "-d", out).stdout)
    assert (answer["process"], answer["layer"][:8]) == ("tool", "mine.gz ")


def test_lenient_and_not(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.gz", [line([row("tool", 9)]), b"{nonsense\n"])
    out = tmp_path / "k"
    done = vermilion("db", "build", mine, "-o", out)
    assert (done.returncode, out.exists()) == (1, False)
    assert f"{mine}: line 2: not JSON" in done.stderr
    done = vermilion("db", "build", mine, "-o", out, "--lenient")
    assert done.returncode == 0
    assert "left out: 1 wrong" in done.stderr


def test_a_damaged_file_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_bytes(b"VRMKNOW\n" + bytes(100))
    done = vermilion("scan", "-a", "-d", path, RECORDING)
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr


def test_diff(tmp_path: Path) -> None:
    old = write(tmp_path / "old.gz", [line([row("a", 1)]), line([row("b", 1)], OTHER)])
    new = write(tmp_path / "new.gz", [line([row("c", 1)]), line([row("d", 1)], "(0303)(1301)()")])
    assert vermilion("db", "diff", old, new).stdout.splitlines() == [
        "added: 1", "  d  (0303)(1301)()", "dropped: 1", f"  b  {OTHER}",
        "first process changed: 1", f"  a -> c  {FP}",
    ]  # fmt: skip


def test_evaluate_prints_what_answers_are_worth(tmp_path: Path) -> None:
    lines = [
        line([row("even" if n % 2 else "odd", 5, os_info={"(Linux)(Ubuntu 18.04)(x)": 5})],
             f"(0303)(13{n % 2:02x}13{n:02x})((0017))",
             first_seen=f"2019-0{1 + n % 9}-01", last_seen="2019-09-20")
        for n in range(90)
    ]  # fmt: skip
    done = vermilion("db", "evaluate", "-d", write(tmp_path / "db.gz", lines))
    assert done.returncode == 0, done.stderr
    for words in ("held out by fingerprint", "held out by time", "expected calibration error", "Brier score"):
        assert words in done.stdout
    assert "recording programs: operating system" in done.stdout


@pytest.fixture(scope="module")
def told() -> dict[str, object]:
    return dict(recorded())


def test_on_programs_of_today_no_wrong_answer_is_sure(told: dict[str, object]) -> None:
    processes = told["programs"].processes  # type: ignore[attr-defined]
    assert len(processes) == 39
    assert max(answer.score or 0.0 for answer in processes if not answer.right) <= 0.5
    assert sum(answer.right for answer in processes) >= 10


def test_no_linux_is_taken_for_another_system(told: dict[str, object]) -> None:
    for name in ("programs", "programs-2019"):
        for answer in told[name].systems:  # type: ignore[attr-defined]
            assert answer.right
            assert answer.score > 0.5
