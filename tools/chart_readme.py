"""Writes the table of values in the chart's README; what stands above it is written by hand.

    python tools/chart_readme.py            # write it
    python tools/chart_readme.py --check    # exit 1 when it is not what would be written

The text of a value is what stands behind ``# --`` above it in values.yaml, its default what is there.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent.parent / "deploy/helm/vermilion"
HEADING = "## Values\n\n"
USUAL = {
    "image": "The image: `repository`, and `tag` or `digest` of its own",
    "requests": "What a container asks for",
    "limits": "What a container may take at most",
}
"""What values are that every component has."""
_TEXT = re.compile(r"^\s*# -- (.*)$")


def rows() -> Iterator[tuple[str, str, str]]:
    """Each value with a text of its own: path, default, text."""
    source = (CHART / "values.yaml").read_text()
    lines = source.splitlines()
    yield from _described(yaml.compose(source), yaml.safe_load(source), lines, ())


def _described(
    node: Any, value: Any, lines: list[str], path: tuple[str, ...]
) -> Iterator[tuple[str, str, str]]:
    for key, inner in node.value:
        name, found = (*path, key.value), value[key.value]
        text = _TEXT.match(lines[key.start_mark.line - 1])
        # An empty mapping and one on a line of its own are values; what is below a block has values.
        if text or not isinstance(found, dict) or inner.flow_style:
            yield ".".join(name), json.dumps(found), text[1] if text else USUAL.get(key.value, "")
        else:
            yield from _described(inner, found, lines, name)


def page(readme: str) -> str:
    """``readme`` with the table of these values."""
    head, heading, _ = readme.partition(HEADING)
    table = "| value | default | what |\n|---|---|---|\n"
    for name, default, text in rows():
        told = text.replace("|", "\\|")
        table += f"| `{name}` | `{default}` | {told} |\n"
    return head + heading + table


def main() -> int:
    """Write it, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    file = CHART / "README.md"
    if parser.parse_args().check:
        return 0 if file.read_text() == page(file.read_text()) else 1
    file.write_text(page(file.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
