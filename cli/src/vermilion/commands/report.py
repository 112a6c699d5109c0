"""The demo's tables: the flows with their answers, and what each stage read and wrote."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from vermilion.chain import ChainResult
from vermilion.commands.progress import wide_console
from vermilion.events import ROW_HEAD, endpoint, row


def show(result: ChainResult, captures: Sequence[Path]) -> None:
    """Print the tables on stdout; plain where it is no terminal."""
    console = wide_console()
    truth = {end: name for capture in captures for end, name in _programs(capture).items()}
    flows = Table(*ROW_HEAD, *(["really was"] if truth else []), title="who spoke to whom with what")
    for event in _first_words(result.events):
        cells = [escape(cell) for cell in row(event)]
        if truth:
            cells.append(truth.get(endpoint(event["src_ip"], event["src_port"]), "?"))
        flows.add_row(*cells)
    console.print(flows)
    stages = Table("stage", "read", "wrote", "dead letters", title=f"per stage, on {result.broker}")
    for stage in result.stages:
        stages.add_row(stage.name, stage.read, stage.wrote, str(stage.dead))
    console.print(stages)
    verdict = f"[red]{result.lost} records or events lost[/]" if result.lost else "[green]nothing lost[/]"
    console.print(f"{verdict}; knowledge: {result.knowledge}; {result.seconds:.1f} s")
    if truth:
        console.print(
            "The public databases are of 2019 and 2020: they name programs of then, by their own lights; "
            "of today's they know the likes, and the scores say how little that is."
        )


def _first_words(events: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """What each client said first of each kind: an event a flow, as a person thinks of flows."""
    seen = set()
    for event in events:
        client = event["type"] in ("tls", "http") or "hassh" in event["fingerprints"]
        key = (event["run"], event["community_id"], event["type"])
        if client and key not in seen:
            seen.add(key)
            yield event


def _programs(capture: Path) -> dict[str, str]:
    """Which program made each flow, for our own recordings: ``source address:port`` -> name."""
    notes = capture.with_suffix(".json")
    if not notes.exists():
        return {}
    return {
        endpoint(flow["src_ip"], flow["src_port"]): f"{flow['program']} {flow['version']}"
        for flow in json.loads(notes.read_text(encoding="utf-8"))
    }
