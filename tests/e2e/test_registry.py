"""The chain with a real schema registry, which goes and comes back."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.command import told, vermilion
from conftest import find_ports
from e2e.services import Service, wait_for
from fingerprint.hellos import RECORDING

from vermilion.dev.registry import Registry
from vermilion_capture.publish import Publisher
from vermilion_capture.source import FileSource
from vermilion_pipeline.codec import Codec
from vermilion_pipeline.kafka import KafkaBroker
from vermilion_pipeline.registry import SchemaRegistry

pytestmark = pytest.mark.kafka


def not_ready(service: Service) -> str:
    """What /readyz says while it is not; empty when it is, or does not listen yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/readyz", timeout=5):
            return ""
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()
    except OSError:
        return ""


def test_an_outage_of_the_registry_delays_and_loses_nothing(
    start: Callable[..., Service],
    kafka_bootstrap: str,
    prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = ("-b", kafka_bootstrap, "--topic-prefix", prefix)
    assert vermilion("topics", "create", *here, "--partitions", "2").returncode == 0
    events = len(vermilion("scan", "-e", "-r", RECORDING).stdout.splitlines())
    with Registry(tmp_path / "registry", port=find_ports(1)) as registry:
        monkeypatch.setenv("VERMILION_REGISTRY_URL", registry.url)
        broker = KafkaBroker({"bootstrap.servers": kafka_bootstrap})
        publisher = Publisher(broker, Codec(SchemaRegistry(registry.url), prefix), prefix)
        registry.stop()

        # Down when they start: they wait and say so. A capture that knows no id publishes nothing.
        fingerprint, classify = start("fingerprint"), start("classify")
        for service in (fingerprint, classify):
            wait_for(lambda s=service: "schema registry http" in not_ready(s), "word of the registry")  # type: ignore[misc]
            assert service.metric("registry_waiting") == 1
        told(vermilion("capture", "-r", RECORDING, *here), 1, "schema registry", "VERMILION_REGISTRY_URL")

        # A producer that knows its id goes on; what it wrote is answered once the registry is there.
        publisher.publish(FileSource(RECORDING, "sensor"))
        publisher.close()
        registry.start()
        done = vermilion("tail", "--format", "json", "--from", "beginning", "--limit", str(events), *here)
        assert len(done.stdout.splitlines()) == events

        # Gone later: services that know the schemas go on without it.
        registry.kill()
        publisher = Publisher(broker, Codec(), prefix)
        publisher.publish(FileSource(RECORDING, "sensor"))
        publisher.close()
        wait_for(
            lambda: classify.metric("records_consumed_total") == 2 * events,
            "the second pass to be classified",
        )
    assert vermilion("tail", "deadletter", "--from", "beginning", "--quiet-for", "2", *here).stdout == ""
    assert json.loads(done.stdout.splitlines()[0])["sensor"] == "sensor"
