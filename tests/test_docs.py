"""The pages for people are true: snippets run, commands, targets and links exist, tables are complete."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.core import Metric
from typer.main import get_command

from vermilion.main import app
from vermilion_capture.metrics import CaptureMetrics, Numbers
from vermilion_pipeline.metrics import Metrics
from vermilion_pipeline.rights import ROLES, of
from vermilion_pipeline.settings import Settings

ROOT = Path(__file__).parent.parent
RECORDINGS = ROOT / "cli/src/vermilion/recordings/README.md"
CHART = ROOT / "deploy/helm/vermilion/README.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), RECORDINGS, CHART]
CONFIGURATION = ROOT / "docs/configuration.md"

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SNIPPET = re.compile(
    r"^```python\n(?P<code>.*?)^```\n\nprints\n\n```text\n(?P<out>.*?)^```$", re.MULTILINE | re.DOTALL
)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
TARGETS = set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def code(page: Path) -> Iterator[str]:
    """Lines of shell, and spans of code in the text around the blocks."""
    text = page.read_text()
    for language, block in BLOCK.findall(text):
        if language == "sh":
            yield from block.splitlines()
    yield from SPAN.findall(BLOCK.sub("", text))


def commands(page: Path) -> list[str]:
    """What follows ``vermilion`` in a command, up to a pipe, a redirection or ``&``."""
    found = [re.search(r"(?:^|' |\.venv/bin/)vermilion (.*)", line) for line in code(page)]
    return [re.split(r"\s*(?:[|&;]|\d?>)", match[1])[0] for match in found if match]


def table(page: Path, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = page.read_text().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def options_of(line: str) -> tuple[Any, list[str]]:
    """The command that a line calls, and what it is given. Fails where there is no such command."""
    command: Any = get_command(app)
    words = shlex.split(line)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        assert words[0] in command.commands, f"there is no `vermilion {line}`"
        command = command.commands[words.pop(0)]
    return command, words


def test_python_snippets_of_the_readme_run_and_print_what_they_say() -> None:
    text = (ROOT / "README.md").read_text()
    snippets = list(SNIPPET.finditer(text))
    assert snippets
    assert len(snippets) == text.count("```python"), "each snippet has its output below"
    for snippet in snippets:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", snippet["code"]],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert (done.stderr, done.stdout) == ("", snippet["out"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_vermilion_commands_and_their_options_exist(page: Path) -> None:
    for line in commands(page):
        command, words = options_of(line)
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        given = {word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
        assert given <= known, f"`vermilion {line}`: no {given - known}"


def test_commands_are_found_in_the_pages() -> None:
    assert "scan -a -r cli/src/vermilion/recordings/programs-2019.pcap" in commands(ROOT / "README.md")
    with pytest.raises(AssertionError, match="no `vermilion topics none`"):
        options_of("topics none")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    named = {name for line in code(page) for name in re.findall(r"(?:^|\s)make ([a-z0-9-]+)(?:\s|$)", line)}
    named -= {"gcc"}  # of apt-get install
    assert named <= TARGETS


def test_every_make_target_is_in_the_menu_of_contributing() -> None:
    listed = {name for row in table(ROOT / "CONTRIBUTING.md", "The menu") for name in SPAN.findall(row[0])}
    assert listed == {f"make {target}" for target in TARGETS}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_point_to_something(page: Path) -> None:
    links = [link.partition("#")[0] for link in LINK.findall(BLOCK.sub("", page.read_text()))]
    files = [link for link in links if link and not link.startswith(("https://", "http://"))]
    assert [link for link in files if not (page.parent / link).exists()] == []


def test_captures_named_in_commands_are_there() -> None:
    named = {name for page in PAGES for line in commands(page) for name in re.findall(r"\S+\.pcap", line)}
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_setting_is_in_the_table_with_its_names_and_default() -> None:
    rows = {SPAN.findall(row[0])[0]: row for row in table(CONFIGURATION, "Settings")}
    assert list(rows) == list(Settings.model_fields)
    options = {
        option
        for name in ("capture", "fingerprint", "classify")
        for parameter in options_of(name)[0].params
        for option in parameter.opts
    }
    for name, (_, environment, flags, default, _) in rows.items():
        assert environment == f"`VERMILION_{name.upper()}`"
        assert set(SPAN.findall(flags)) <= options
        assert bool(flags) == (f"--{name.replace('_', '-')}" in options or name == "kafka")
        value = Settings.model_fields[name].default
        if name == "sensor":
            assert default == "host name"
        else:
            assert default == (f"`{value}`" if value not in (None, {}, []) else "none")


def test_every_right_of_every_role_is_in_the_table() -> None:
    rows = table(ROOT / "docs/security.md", "Who may do what")
    listed = [(role.strip("`"), *rest, name.strip("`")) for role, *rest, name in rows]
    assert listed == [
        (role, right.operation, right.resource, f"{right.name}{'*' if right.prefixed else ''}")
        for role in ROLES
        for right in of(role, "vermilion.")
    ]


def metrics() -> list[Metric]:
    """What the services show."""
    return [*Metrics("any").registry.collect(), *CaptureMetrics(Numbers).registry.collect()]


def test_every_metric_is_in_the_list() -> None:
    exposed = [f"{each.name}_total" if each.type == "counter" else each.name for each in metrics()]
    assert [SPAN.findall(row[0])[0] for row in table(CONFIGURATION, "Metrics")] == exposed
