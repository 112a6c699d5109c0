"""What tests share: a real Apache Kafka and a real schema registry, started once a run by `vermilion dev`."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

from vermilion.dev.kafka import Cluster, DevError, ports_free
from vermilion.dev.registry import Registry

PortFinder = Callable[[int], int]

# No example is held to the clock: that a machine is busy is no defect of what is tested.
settings.register_profile(
    "vermilion", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("vermilion")


def find_ports(nodes: int) -> int:
    """Find a first port for a cluster; below where systems take the ports of outgoing connections from."""
    for _ in range(200):
        first = random.randrange(20000, 32000)
        if ports_free(first, nodes):
            return first
    pytest.fail("no free ports for Apache Kafka between 20000 and 32000", pytrace=False)


@pytest.fixture
def kafka_ports() -> PortFinder:
    """Give the first of free ports for a cluster of so many nodes."""
    return find_ports


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the bootstrap.servers of a real one-node Apache Kafka; without Java or Maven its tests fail."""
    try:
        with Cluster(tmp_path_factory.mktemp("kafka"), port=find_ports(1)) as cluster:
            yield cluster.bootstrap
    except DevError as error:
        pytest.fail(f"Apache Kafka cannot run here: {error}", pytrace=False)


@pytest.fixture(scope="session")
def registry_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a real schema registry, shared: subjects need names of their own."""
    try:
        with Registry(tmp_path_factory.mktemp("registry"), port=find_ports(1)) as registry:
            yield registry.url
    except DevError as error:
        pytest.fail(f"the schema registry cannot run here: {error}", pytrace=False)
