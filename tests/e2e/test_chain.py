"""The chain on a real Apache Kafka, its services as separate processes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.command import vermilion
from e2e.services import Service, wait_for
from fingerprint.hellos import RECORDING

REFERENCE = Path(__file__).parents[3] / "shared/data/pcaps/mercury_top_100_fingerprints.pcap"
# What an event tells beyond what scan tells: where it comes from.
ORIGIN = {"event_id", "type", "sensor", "run", "replayed", "community_id", "vlans", "vni", "syn"}

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("topics")]
Start = Callable[..., Service]


@pytest.fixture
def topics(kafka_bootstrap: str, prefix: str) -> None:
    done = vermilion(
        "topics", "create", "-b", kafka_bootstrap, "--topic-prefix", prefix, "--partitions", "12"
    )
    assert done.returncode == 0, done.stderr


def scanned(capture: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in vermilion("scan", "-a", "-e", "-r", capture).stdout.splitlines()]


def ordered(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def key(event: dict[str, Any]) -> tuple[Any, ...]:
        return event["event_start"], event["src_port"], list(event["fingerprints"])

    return sorted(events, key=key)


@pytest.mark.parametrize("capture", [RECORDING, REFERENCE], ids=["recorded", "reference"])
def test_two_replicas_give_what_scan_gives_and_a_replay_gives_it_again(
    capture: Path, start: Start, kafka_bootstrap: str, prefix: str
) -> None:
    if not capture.exists():
        pytest.skip("the reference capture is not here (../shared/data)")
    here = ("-b", kafka_bootstrap, "--topic-prefix", prefix)
    fingerprint, replicas = start("fingerprint"), [start("classify", number) for number in (1, 2)]
    wait_for(
        lambda: [service.metric("partitions_assigned") for service in (fingerprint, *replicas)] == [12, 6, 6],
        "the partitions to be shared out",
    )
    assert [service.page(path) for service in replicas for path in ("/healthz", "/readyz")] == [200] * 4
    expected = scanned(capture)
    for _ in range(2):
        published = vermilion("capture", "-r", capture, *here)
        assert published.returncode == 0, published.stderr
    total = 2 * len(expected)
    done = vermilion(
        "tail", "classified", "--format", "json", "--from", "beginning", "--limit", str(total), *here
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({event["event_id"] for event in events}) == len(events) == total
    runs = {event["run"] for event in events}
    assert len(runs) == 2
    for run in runs:
        answers = [
            {k: v for k, v in event.items() if k not in ORIGIN} for event in events if event["run"] == run
        ]
        assert ordered(answers) == ordered(expected)
    handled = [replica.metric("records_consumed_total") for replica in replicas]
    assert sum(handled) == total
    assert min(handled) >= 0.2 * total
    nothing_more = vermilion("tail", "classified", "--from", "beginning", "--quiet-for", "3", *here)
    assert len(nothing_more.stdout.splitlines()) == total
    assert vermilion("tail", "deadletter", "--from", "beginning", "--quiet-for", "2", *here).stdout == ""
    assert [service.stop() for service in (fingerprint, *replicas)] == [0, 0, 0]


def test_a_killed_service_loses_and_repeats_nothing(start: Start, kafka_bootstrap: str, prefix: str) -> None:
    here = ("-b", kafka_bootstrap, "--topic-prefix", prefix)
    expected, runs = scanned(RECORDING), 6
    classify, fingerprint = start("classify"), start("fingerprint")
    for number in range(runs):
        assert vermilion("capture", "-r", RECORDING, *here).returncode == 0
        fingerprint.kill()
        fingerprint = start("fingerprint", number + 1)
        if number == 3:
            classify.kill()
            classify = start("classify", 1)
    total = runs * len(expected)
    # A killed member keeps its partitions until its session is over, and its open transaction hides
    # what follows until its time-out: so this waits for the last event, not for a silence.
    done = vermilion("tail", "--format", "json", "--from", "beginning", "--limit", str(total), *here)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({event["event_id"] for event in events}) == len(events) == total
    nothing_more = vermilion("tail", "--format", "json", "--from", "beginning", "--quiet-for", "4", *here)
    assert len(nothing_more.stdout.splitlines()) == total


def test_poison_is_a_dead_letter(start: Start, kafka_bootstrap: str, prefix: str) -> None:
    from vermilion_pipeline.kafka import KafkaBroker

    here = ("-b", kafka_bootstrap, "--topic-prefix", prefix)
    start("fingerprint")
    start("classify")
    producer = KafkaBroker({"bootstrap.servers": kafka_bootstrap}).producer()
    producer.produce(f"{prefix}payloads", b"key", b"no avro", (("origin", b"kept"),))
    producer.produce(f"{prefix}payloads", b"key", b"\x00\x00\x00\x00\x09unknown id")
    producer.close()
    assert vermilion("capture", "-r", RECORDING, *here).returncode == 0
    done = vermilion("tail", "deadletter", "--format", "json", "--from", "beginning", "--limit", "2", *here)
    letters = [json.loads(line) for line in done.stdout.splitlines()]
    assert [bytes.fromhex(letter["value"])[:7] for letter in letters] == [
        b"no avro",
        b"\x00\x00\x00\x00\x09un",
    ]
    assert letters[0]["headers"]["origin"] == "kept"
    assert letters[0]["headers"]["vermilion_origin_topic"] == f"{prefix}payloads"
    assert "schema registry" in letters[1]["headers"]["vermilion_error_message"]
    count = str(len(scanned(RECORDING)))
    done = vermilion("tail", "classified", "--from", "beginning", "--limit", count, *here)
    assert len(done.stdout.splitlines()) == int(count)
