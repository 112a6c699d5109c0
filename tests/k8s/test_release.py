"""The chart on a real cluster: installed, tested, updated, disturbed in all ways, and taken away again."""

from collections.abc import Callable
from typing import Any

import pytest
from k8s.cluster import Namespace, kubectl, wait_for
from k8s.flows import NAME, PASSES, RELEASE, SMALL, Flows, everything, scanned, told
from k8s.images import KNOWLEDGE_VERSION

STAGES = ("fingerprint", "classify")


def test_what_its_job_replays_is_told_as_scan_tells_it(flows: Flows) -> None:
    assert "WARNING: kafka.demo.enabled runs a single Kafka node" in flows.notes
    assert told(flows.answers("first")) == [scanned("-a")]


def test_helm_test_passes(flows: Flows) -> None:
    tested = flows.namespace.helm("test", RELEASE, "--logs")
    assert "Phase:          Succeeded" in tested
    assert tested.count(" ready") == len(STAGES)


def update(flows: Flows) -> None:
    """Another tag: every pod of the services and of Kafka is a new one."""
    flows.namespace.upgrade(
        RELEASE, {"image.tag": flows.images.other, "knowledge.image.tag": flows.images.tag}
    )
    for pod in flows.namespace.pods(RELEASE).values():
        if pod["status"]["phase"] == "Running":
            assert {each["image"].rsplit(":", 1)[1] for each in pod["spec"]["containers"]} == {
                flows.images.other
            }


def deletions(flows: Flows) -> None:
    """One pod of each service is told to go, then killed."""
    for force in ([], ["--force", "--grace-period=0"]):
        for stage in STAGES:
            flows.namespace.kubectl("delete", "pod", f"{NAME}-{stage}-0", *force)
            ready(flows)


def scaling(flows: Flows) -> None:
    """Classify has three replicas, each with partitions, and one again."""
    for replicas in (3, 1):
        flows.namespace.upgrade(RELEASE, {"classify.replicas": replicas})
        pods = [f"{NAME}-classify-{number}" for number in range(replicas)]
        wait_for(
            lambda pods=pods: all(
                flows.namespace.metric(pod, "vermilion_partitions_assigned") for pod in pods
            ),  # type: ignore[misc]
            "every replica to have partitions",
        )
        wait_for(lambda pods=pods: sorted(flows.namespace.pods(RELEASE, "classify")) == pods, "their number")  # type: ignore[misc]


def drain(flows: Flows) -> None:
    """The node is emptied, of Kafka too, but for what stands for a sensor elsewhere; and taken back."""
    before = flows.namespace.pods(RELEASE)
    node = before[f"{NAME}-fingerprint-0"]["spec"]["nodeName"]
    try:
        kubectl(
            "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=240s",
            "--pod-selector=app.kubernetes.io/component notin (replay)",
        )  # fmt: skip
    finally:
        kubectl("uncordon", node)
    ready(flows)
    after = flows.namespace.pods(RELEASE)
    for name in (f"{NAME}-fingerprint-0", f"{NAME}-classify-0", f"{NAME}-kafka-0"):
        assert after[name]["metadata"]["uid"] != before[name]["metadata"]["uid"]


def ready(flows: Flows) -> None:
    """Wait until all StatefulSets have what they want."""
    for each in (*STAGES, "kafka"):
        flows.namespace.kubectl("rollout", "status", f"statefulset/{NAME}-{each}", "--timeout=240s")


@pytest.mark.parametrize("disturb", [update, deletions, scaling, drain], ids=lambda each: each.__name__)
def test_in_mid_replay_nothing_is_lost_and_nothing_told_twice(
    flows: Flows, disturb: Callable[[Flows], None]
) -> None:
    sensor = disturb.__name__
    with flows.replayed(sensor):
        disturb(flows)
        assert flows.replaying(sensor), "the replay had ended before the disturbance had"
    assert told(flows.answers(sensor)) == [scanned("-a")] * PASSES


def test_new_knowledge_is_taken_up_without_a_restart(flows: Flows) -> None:
    def lives(namespace: Namespace) -> list[Any]:
        return [
            (pod["metadata"]["uid"], [each["restartCount"] for each in pod["status"]["containerStatuses"]])
            for pod in namespace.pods(RELEASE, "classify").values()
        ]

    before = lives(flows.namespace)
    assert before
    flows.namespace.upgrade(RELEASE, {"knowledge.image.tag": flows.images.other})
    text = f'version="{KNOWLEDGE_VERSION}"'
    wait_for(lambda: text in flows.namespace.metrics(f"{NAME}-classify-0"), "the new knowledge")
    with flows.replayed("informed", passes=1, speed="max"):
        pass
    assert lives(flows.namespace) == before
    expected = scanned("-a", "-d", flows.images.knowledge)
    assert expected != scanned("-a")
    assert told(flows.answers("informed")) == [expected]


def test_rollback_brings_back_what_was(flows: Flows) -> None:
    with flows.replayed("back"):
        flows.namespace.helm("rollback", RELEASE, "1", "--wait", "--timeout=5m")
        assert flows.replaying("back")
    for stage in STAGES:
        (pod,) = flows.namespace.pods(RELEASE, stage).values()
        assert pod["spec"]["containers"][0]["image"].endswith(f":{flows.images.tag}")
    wait_for(
        lambda: KNOWLEDGE_VERSION not in flows.namespace.metrics(f"{NAME}-classify-0"), "the old knowledge"
    )
    # Which knowledge answered what depends on the moment.
    assert told(flows.answers("back"), "analysis") == [scanned()] * PASSES
    with flows.replayed("again", passes=1, speed="max"):
        pass
    assert told(flows.answers("again")) == [scanned("-a")]


def test_the_hook_makes_topics_and_stops_an_upgrade_that_would_enlarge_them(flows: Flows) -> None:
    """A release beside the demo's Kafka, as beside any other: its topics are there before all else."""
    before = everything(flows.namespace)
    values = {
        "image.tag": flows.images.tag,
        "kafka": {"bootstrapServers": flows.kafka, "topicPrefix": "hooked."},
        "topics.partitions": 2,
        "fingerprint": {"resources": SMALL, "replicas": 1},
        "classify": {"resources": SMALL, "replicas": 1},
    }
    flows.namespace.install("hooked", values, "--wait", "--timeout=5m")
    flows.namespace.helm("test", "hooked")
    job = "hooked-vermilion-topics"
    assert not flows.namespace.get("jobs", f"--field-selector=metadata.name={job}")
    with pytest.raises(AssertionError, match="topics"):
        flows.namespace.upgrade("hooked", {"topics.partitions": 3})
    assert "hooked.payloads has 2" in flows.namespace.kubectl("logs", f"job/{job}")
    flows.namespace.upgrade("hooked", {"topics.partitions": 2})
    flows.namespace.helm("uninstall", "hooked", "--wait")
    wait_for(lambda: everything(flows.namespace) == before, f"{everything(flows.namespace) - before} to go")


def test_uninstall_leaves_what_was_there_before(flows: Flows) -> None:
    flows.namespace.helm("uninstall", RELEASE, "--wait")
    wait_for(
        lambda: everything(flows.namespace) == flows.before,
        f"{everything(flows.namespace) - flows.before} to go",
    )
