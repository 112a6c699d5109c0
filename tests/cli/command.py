"""Runs the ``vermilion`` command as a person does."""

import os
import subprocess
import sys
from pathlib import Path

COMMAND = [str(Path(sys.executable).with_name("vermilion"))]


def vermilion(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The finished command: its exit code, stdout and stderr."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "COLUMNS": "200", **environment},
    )  # fmt: skip


def told(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """The command failed with ``code`` and one clear message, no traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
