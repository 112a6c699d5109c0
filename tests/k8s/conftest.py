"""One release on the cluster that KUBECONFIG points to, for all tests of this folder."""

import os
from collections.abc import Iterator

import pytest
from k8s.cluster import Namespace
from k8s.flows import Flows
from k8s.images import Images, loaded


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Put the images on the cluster's nodes; skips where there is no cluster."""
    command = os.environ.get("VERMILION_K8S_LOAD")
    if not command or not os.environ.get("KUBECONFIG"):
        pytest.skip(
            "needs a cluster: KUBECONFIG, and in VERMILION_K8S_LOAD the command that takes tars of images "
            "and puts them on its nodes"
        )
    return loaded(tmp_path_factory.mktemp("images"), command)


@pytest.fixture(scope="session")
def flows(images: Images) -> Iterator[Flows]:
    """Install the chart with the demo's Kafka where Pod Security *restricted* is enforced, and replay."""
    with Namespace("flows", "restricted") as namespace:
        yield Flows(namespace, images)
