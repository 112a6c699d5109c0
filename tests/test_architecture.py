"""What the house's layout promises."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = [
    path
    for folder in ("libs", "services", "cli", "tests")
    for path in (ROOT / folder).rglob("*.py*")
    if path.suffix in {".py", ".pyx", ".pxd"} and "build" not in path.relative_to(ROOT).parts[2:3]
]


def test_library_needs_no_kafka_no_scapy_no_command_line() -> None:
    code = (
        "import sys, vermilion; vermilion.TLS, vermilion.scan; "
        "print(*(m for m in ('confluent_kafka', 'scapy', 'typer', 'rich', 'pydantic') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_modules_have_at_most_500_lines() -> None:
    assert SOURCES
    assert [path for path in SOURCES if len(path.read_text().splitlines()) > 500] == []
