"""A record that kills the process: found by the third life at the latest, on a real Apache Kafka."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.command import vermilion
from confluent_kafka import Consumer, KafkaException, TopicPartition
from e2e.services import Service, wait_for
from fingerprint.hellos import RECORDING

pytestmark = pytest.mark.kafka

DYING = Path(__file__).with_name("dying.py")


def lives_until_quiet(
    environment: dict[str, str], arguments: tuple[str, ...], log: Path, total: int
) -> list[int]:
    """Start the service again each time that it dies, until it has answered everything; its deaths."""
    deaths: list[int] = []
    while len(deaths) < 6:
        with log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, str(DYING), *arguments], env=environment, stdout=out, stderr=out
            )
        deadline = time.monotonic() + 60
        while process.poll() is None:
            if answered(environment) >= total:
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0
                return deaths
            if time.monotonic() > deadline:
                process.kill()
                process.wait()
                pytest.fail(log.read_text()[-3000:])
            time.sleep(0.3)
        deaths.append(-process.returncode)
    return deaths


def answered(environment: dict[str, str]) -> int:
    """Records that the group has committed past, all partitions."""
    prefix = environment["VERMILION_TOPIC_PREFIX"]
    servers = environment["VERMILION_BOOTSTRAP_SERVERS"]
    consumer = Consumer({"bootstrap.servers": servers, "group.id": f"{prefix}fingerprint"})
    try:
        partitions = [TopicPartition(f"{prefix}payloads", number) for number in range(2)]
        return sum(max(0, found.offset) for found in consumer.committed(partitions, 10))
    except KafkaException:  # a fresh cluster has no coordinator for the first seconds; asked again
        return 0
    finally:
        consumer.close()


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSEGV"])
def test_a_record_that_kills_twice_is_a_dead_letter_and_the_others_are_answered_once(
    how: str, start: Callable[..., Service], kafka_bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    here = ("-b", kafka_bootstrap, "--topic-prefix", prefix)
    assert vermilion("topics", "create", *here, "--partitions", "2").returncode == 0
    events = [json.loads(line) for line in vermilion("scan", "-e", "-r", RECORDING).stdout.splitlines()]
    clients = [event["src_port"] for event in events if "tls" in event["fingerprints"]]
    port = clients[-5]
    published = vermilion("capture", "-r", RECORDING, *here)
    records = int(published.stderr.split(" of ")[0].split()[-1])
    environment = {
        **os.environ,
        "VERMILION_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "VERMILION_TOPIC_PREFIX": prefix,
        "VERMILION_INSTANCE": "one",
        # Small, so that the killer lies beyond what is watched after a start.
        "VERMILION_BATCH_RECORDS": "10",
        # Otherwise a dead member's partitions wait for its session to end: 15 s a death.
        "VERMILION_KAFKA": '{"session.timeout.ms": "6000"}',
    }
    deaths = lives_until_quiet(environment, (how, str(port)), tmp_path / "dying.log", records)
    assert deaths == [signal.Signals[how]] * 2
    done = vermilion("tail", "deadletter", "--from", "beginning", "--quiet-for", "3", *here)
    (letter,) = (json.loads(line) for line in done.stdout.splitlines())
    assert letter["headers"]["vermilion_error_class"] == "ProcessKilled"
    assert letter["headers"]["vermilion_error_message"] == f"handling it ends in {how}"
    assert int(letter["headers"]["vermilion_origin_offset"]) > 20

    def others(told: list[dict[str, Any]]) -> list[tuple[int, int, float]]:
        found = [(event["src_port"], event["dst_port"], event["event_start"]) for event in told]
        return sorted(each for each in found if port not in each)

    done = vermilion("tail", "fingerprints", "--from", "beginning", "--quiet-for", "3", *here)
    assert others([json.loads(line) for line in done.stdout.splitlines()]) == others(events)
    # The real service takes over, and a letter put back after the fix is handled.
    fingerprint = start("fingerprint")
    wait_for(lambda: fingerprint.metric("partitions_assigned") == 2, "the partitions")
    replayed = vermilion("replay", "--from", "deadletter", *here)
    assert "1 dead letters put back" in replayed.stderr
    wait_for(lambda: fingerprint.metric("records_consumed_total") == 1, "the letters put back")
    assert fingerprint.metric("dlq_total") == 0
