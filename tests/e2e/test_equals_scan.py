"""The chain tells what ``scan`` tells, whatever the number of partitions and of consumers."""

import json
import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from cli.command import vermilion
from e2e.services import Service, wait_for
from fingerprint.hellos import ROOT

OWN = sorted([*(ROOT / "tests/data").glob("*.pcap"), *(ROOT / "cli/src/vermilion/recordings").glob("*.pcap")])
PEERS = sorted((ROOT.parent / "shared/data/pcaps").glob("*.pcap*"))
# What an event tells beyond what scan tells: where it comes from.
ORIGIN = {"event_id", "type", "sensor", "run", "replayed", "community_id", "vlans", "vni", "syn"}

pytestmark = pytest.mark.kafka


@lru_cache
def scanned(capture: Path) -> Counter[str]:
    done = vermilion("scan", "-a", "-e", capture)
    return Counter(canonical(json.loads(line)) for line in done.stdout.splitlines())


def canonical(event: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in event.items() if name not in ORIGIN}, sort_keys=True)


@pytest.mark.parametrize("consumers", [1, 3])
@pytest.mark.parametrize("partitions", [1, 3, 12])
def test_the_chain_equals_scan(
    partitions: int, consumers: int, start: Callable[..., Service], kafka_bootstrap: str, prefix: str
) -> None:
    here = ("-b", kafka_bootstrap, "--topic-prefix", prefix)
    made = vermilion("topics", "create", *here, "--partitions", str(partitions))
    assert made.returncode == 0, made.stderr
    services = [start(name, number) for name in ("fingerprint", "classify") for number in range(consumers)]
    wait_for(
        lambda: sum(service.metric("partitions_assigned") for service in services) == 2 * partitions,
        "the partitions to be shared out",
    )
    captures = OWN + PEERS
    published = vermilion("capture", *captures, *here)
    assert published.returncode == 0, published.stderr
    told_runs = re.findall(r"^(.+): run (\w+): ", published.stderr, re.MULTILINE)
    runs = {run: Path(name) for name, run in told_runs}
    assert sorted(runs.values()) == sorted(captures)
    total = sum(scanned(capture).total() for capture in captures)
    done = vermilion("tail", "--format", "json", "--from", "beginning", "--limit", str(total), *here)
    told: dict[Path, Counter[str]] = {capture: Counter() for capture in captures}
    for line in done.stdout.splitlines():
        event = json.loads(line)
        told[runs[event["run"]]][canonical(event)] += 1
    for capture in captures:
        assert told[capture] == scanned(capture), capture.name
    rest = vermilion("tail", "--format", "json", "--from", "beginning", "--quiet-for", "2", *here)
    assert len(rest.stdout.splitlines()) == total
