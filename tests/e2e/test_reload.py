"""New knowledge under load on a real Apache Kafka: every event is answered by one version, none twice."""

import json
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from classify.databases import NO_MONTHS, TABLES, database, line, row
from cli.command import vermilion
from e2e.services import Service, wait_for
from fingerprint.hellos import RECORDING

from vermilion_classify import container
from vermilion_classify.compiling import Layer, SystemTables, compiled

SWAPS = 20

pytestmark = pytest.mark.kafka


def test_twenty_swaps_under_load(
    start: Callable[..., Service], kafka_bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    here = ("-b", kafka_bootstrap, "--topic-prefix", prefix)
    assert vermilion("topics", "create", *here, "--partitions", "4").returncode == 0
    found = database(tmp_path, [line([row("anything", 1)])])
    versions = [
        compiled([Layer("swap", str(number), found)], TABLES, SystemTables(), NO_MONTHS)
        for number in range(SWAPS + 1)
    ]
    path = tmp_path / "knowledge"
    container.write(path, versions[0])
    start("fingerprint")
    classify = start("classify", 1, "-d", str(path))
    wait_for(lambda: classify.metric("partitions_assigned") == 4, "the partitions")
    loaded = threading.Event()
    runs: list[int] = []

    def load() -> None:
        while not loaded.is_set():
            done = vermilion("capture", "-r", RECORDING, *here)
            assert done.returncode == 0, done.stderr
            runs.append(1)

    loader = threading.Thread(target=load)
    loader.start()
    try:
        for number in range(1, SWAPS + 1):
            container.write(path, versions[number])
            text = f'version="{number}"'
            wait_for(lambda text=text: text in classify.metrics(), f"version {number}")  # type: ignore[misc]
    finally:
        loaded.set()
        loader.join()
    total = len(runs) * len(vermilion("scan", "-e", RECORDING).stdout.splitlines())
    done = vermilion("tail", "--format", "json", "--from", "beginning", "--limit", str(total), *here)
    events = [json.loads(text) for text in done.stdout.splitlines()]
    assert len({event["event_id"] for event in events}) == len(events) == total
    hellos = [event for event in events if event["type"] == "tls"]
    used = Counter(event["analysis"]["knowledge"]["version"] for event in hellos)
    assert used.total() == len(hellos)
    assert set(used) <= {str(number) for number in range(SWAPS + 1)}
    assert len(used) > SWAPS / 2, "most versions answered something: the load went on"
    rest = vermilion("tail", "--format", "json", "--from", "beginning", "--quiet-for", "2", *here)
    assert len(rest.stdout.splitlines()) == total
    assert classify.metric("db_reload_failures_total") == 0
