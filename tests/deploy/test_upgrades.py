"""Upgrades: what the chart makes of what it finds in the cluster, and of a release that was there before."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from deploy.chart import (
    CHART,
    DEMO,
    MINIMAL,
    NAME,
    NAMESPACE,
    RELEASE,
    STRIMZI,
    Object,
    helm,
    objects_in,
    of_kind,
    rendered,
)

KINDS = {
    "v1": "ConfigMap Pod Service ServiceAccount",
    "apps/v1": "StatefulSet",
    "autoscaling/v2": "HorizontalPodAutoscaler",
    "batch/v1": "Job",
    "kafka.strimzi.io/v1": "KafkaTopic KafkaUser",
    "keda.sh/v1alpha1": "ScaledObject",
    "monitoring.coreos.com/v1": "PrometheusRule ServiceMonitor",
    "networking.k8s.io/v1": "NetworkPolicy",
    "policy/v1": "PodDisruptionBudget",
}
"""Of every object that is rendered here."""
Upgrade = Callable[..., tuple[str, list[Object]]]


class _Api(ThreadingHTTPServer):
    """As much of Kubernetes as `lookup` asks for: which kinds there are, and an object by its name."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.there: list[Object] = []

    def answer(self, path: str) -> Object | None:
        """What is at a path."""
        path = path.partition("?")[0]
        root, *parts = path.strip("/").split("/")
        version = "/".join(parts[:2] if root == "apis" else parts[:1])
        if root == "version":
            return {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            groups = [
                {
                    "name": group.split("/")[0],
                    "versions": [{"groupVersion": group, "version": group.split("/")[1]}],
                }
                for group in KINDS
                if "/" in group
            ]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        if "/".join(parts) == version and version in KINDS:
            resources = [
                {
                    "name": _plural(kind),
                    "kind": kind,
                    "namespaced": True,
                    "singularName": "",
                    "verbs": ["get"],
                }
                for kind in KINDS[version].split()
            ]
            return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
        for found in self.there:
            metadata = found["metadata"]
            where = ["namespaces", metadata["namespace"], _plural(found["kind"]), metadata["name"]]
            if "/".join(parts) == "/".join([found["apiVersion"], *where]):
                return found
        return None


def _plural(kind: str) -> str:
    return f"{kind.lower()}s"


class _Answer(BaseHTTPRequestHandler):
    server: _Api

    def do_GET(self) -> None:
        found = self.server.answer(self.path)
        missing = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": "NotFound",
            "code": 404,
        }
        text = json.dumps(found or missing).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def upgrade(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgrade]:
    """Renders as an upgrade with these objects in the cluster does: what is refused, and what comes of it."""
    with _Api() as api:
        Thread(target=api.serve_forever, daemon=True).start()
        config = tmp_path_factory.mktemp("cluster") / "config"
        cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{api.server_port}"}}
        context = {"name": "c", "context": {"cluster": "c", "user": ""}}
        config.write_text(json.dumps({"clusters": [cluster], "contexts": [context], "current-context": "c"}))

        def render(there: list[Object], values: object, *settings: str) -> tuple[str, list[Object]]:
            api.there = [
                found | {"metadata": found["metadata"] | {"namespace": NAMESPACE}} for found in there
            ]
            given = [word for setting in settings for word in ("--set-json", setting)]
            done = helm(
                "template", RELEASE, CHART, "--namespace", NAMESPACE, "--kube-version", "1.34.0",
                "--is-upgrade", "--dry-run=server", "--disable-openapi-validation", "--kubeconfig", config,
                "--values", str(values), *given,
            )  # fmt: skip
            return done.stderr, objects_in(done.stdout)

        yield render
        api.shutdown()


def _scaled_to(objects: list[Object], replicas: int) -> list[Object]:
    sets = of_kind(objects, "StatefulSet").values()
    return [found | {"spec": found["spec"] | {"replicas": replicas}} for found in sets]


def _replicas(objects: list[Object]) -> list[int | None]:
    return [found["spec"].get("replicas") for found in of_kind(objects, "StatefulSet").values()]


def test_autoscaling_takes_over_the_replicas_that_are_there(upgrade: Upgrade) -> None:
    hpa = ('fingerprint.autoscaling.mode="hpa"', 'classify.autoscaling.mode="hpa"')
    _, on = upgrade(_scaled_to(rendered(), 5), MINIMAL, *hpa)
    assert _replicas(on) == [5, 5]
    # An upgrade after that tells what is there then, or the field would be taken away after all.
    assert _replicas(upgrade(_scaled_to(on, 7), MINIMAL, *hpa)[1]) == [7, 7]
    # Where the autoscaler had them from the first, no revision has a number that a rollback would bring back.
    _, first = upgrade([], MINIMAL, *hpa)
    assert _replicas(first) == [None, None]
    assert _replicas(upgrade(_scaled_to(first, 7), MINIMAL, *hpa)[1]) == [None, None]


def test_keda_is_not_put_beside_an_autoscaler_that_is_there(upgrade: Upgrade) -> None:
    keda = ('classify.autoscaling.mode="keda"', 'keda.prometheusAddress="http://prometheus:9090"')
    there = list(
        of_kind(rendered(MINIMAL, 'classify.autoscaling.mode="hpa"'), "HorizontalPodAutoscaler").values()
    )
    told, objects = upgrade(there, MINIMAL, *keda)
    assert f"kubectl --namespace {NAMESPACE} delete hpa {NAME}-classify; the replicas stay" in told
    assert not objects
    assert list(of_kind(upgrade([], MINIMAL, *keda)[1], "ScaledObject")) == [f"{NAME}-classify"]


def test_topics_that_are_there_are_not_enlarged(upgrade: Upgrade) -> None:
    there = list(of_kind(rendered(STRIMZI), "KafkaTopic").values())
    told, _ = upgrade(there, STRIMZI, "topics.partitions=24")
    assert "the KafkaTopic vermilion-payloads has 12" in told
    assert "More partitions in docs/operations.md" in told
    told, objects = upgrade(there, STRIMZI)
    assert list(of_kind(objects, "KafkaTopic").values()) == there, told


def test_another_prefix_takes_other_topics(upgrade: Upgrade) -> None:
    there = list(of_kind(rendered(STRIMZI), "KafkaTopic").values())
    told, objects = upgrade(there, STRIMZI, 'kafka.topicPrefix="vermilion2."', "topics.partitions=24")
    topics = of_kind(objects, "KafkaTopic")
    assert topics["vermilion-vermilion2-payloads"]["spec"]["topicName"] == "vermilion2.payloads", told
    assert not set(topics) & {found["metadata"]["name"] for found in there}
    # Topics of a prefix of their own that came by the plain names stay under them.
    own = [found | {"spec": found["spec"] | {"topicName": "v2." + name.removeprefix("vermilion-")}}
           for name, found in of_kind(there, "KafkaTopic").items()]  # fmt: skip
    _, objects = upgrade(own, STRIMZI, 'kafka.topicPrefix="v2."')
    assert set(of_kind(objects, "KafkaTopic")) == {found["metadata"]["name"] for found in own}
    # Prefixes that are no names make some that differ.
    names = [
        next(iter(of_kind(rendered(STRIMZI, f'kafka.topicPrefix="{prefix}"'), "KafkaTopic")))
        for prefix in ("", "a_", "A_", "-.")
    ]
    assert len(set(names)) == 4
    for name in names:
        assert all(part.strip("-") == part != "" for part in name.split(".")), name


def test_a_replay_is_not_published_again_for_what_else_changes(upgrade: Upgrade) -> None:
    def replay(objects: list[Object]) -> Object:
        (found,) = [job for name, job in of_kind(objects, "Job").items() if "-replay-" in name]
        return found

    first = replay(rendered(DEMO))
    for other in (
        "kafka.staticMembership=false",
        'kafka.demo.persistence.size="3Gi"',
        'kafka.auth.users.classify={"username": "c", "secret": "s"}',
        'strimzi.namespace="kafka"',
        'kafka.config={"client.rack": "a"}',
        'registry.url="http://registry"',
        "replay.verify=false",
        "replay.timeoutSeconds=5",
    ):
        assert replay(rendered(DEMO, other))["metadata"]["name"] == first["metadata"]["name"], other
    for another in (
        "replay.depth=0",
        'replay.transport=["tcp"]',
        'replay.sensor="b"',
        'fullnameOverride="b"',
    ):
        assert replay(rendered(DEMO, another))["metadata"]["name"] != first["metadata"]["name"], another
    # The same name with another template: a Job cannot be changed, so it stays as it is.
    changed = ('image.tag="2"', "replay.verify=false", 'registry.url="http://registry"')
    assert replay(rendered(DEMO, *changed))["spec"] != first["spec"]
    assert replay(upgrade([first], DEMO, *changed)[1])["spec"] == first["spec"]
    # The API server's own labels are not the chart's: a rollback would take them away, which no Job allows.
    there = deepcopy(first)
    for label in (
        "controller-uid",
        "batch.kubernetes.io/controller-uid",
        "job-name",
        "batch.kubernetes.io/job-name",
    ):
        there["spec"]["template"]["metadata"]["labels"][label] = "1"
    assert replay(upgrade([there], DEMO, *changed)[1])["spec"] == first["spec"]


def test_the_topics_hook_reaches_a_kafka_that_is_elsewhere() -> None:
    elsewhere = ('kafka.bootstrapServers="kafka:9999"', 'registry.url="https://registry"')
    objects = rendered(MINIMAL, *elsewhere, 'networkPolicy.kafkaTo=[{"ipBlock": {"cidr": "192.0.2.0/24"}}]')
    policies, job = of_kind(objects, "NetworkPolicy"), of_kind(objects, "Job")[f"{NAME}-topics"]
    policy = policies[f"{NAME}-topics"]
    hook, first = (found["metadata"]["annotations"] for found in (job, policy))
    assert first["helm.sh/hook"] == hook["helm.sh/hook"]
    assert int(first["helm.sh/hook-weight"]) < int(hook.get("helm.sh/hook-weight", 0))
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["spec"]["egress"] == policies[f"{NAME}-clients"]["spec"]["egress"]
    assert policy["spec"]["egress"][1] == {
        "ports": [{"port": 9999, "protocol": "TCP"}],
        "to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
    }
    for without in (rendered(DEMO), rendered(STRIMZI), rendered(MINIMAL, "networkPolicy.enabled=false")):
        assert not any(name.endswith("-topics") for name in of_kind(without, "NetworkPolicy"))
