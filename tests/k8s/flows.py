"""A release of the chart with its demo's Kafka: what is replayed into it, and what is read back."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cli.command import vermilion
from e2e.test_equals_scan import canonical
from fingerprint.hellos import RECORDING
from k8s.cluster import APPLICATION, Namespace, bare, kubectl, wait_for
from k8s.images import Images

RELEASE = "demo"
NAME = f"{RELEASE}-vermilion"
CAPTURES, CLAIM = "captures", "knowledge"
# Requests that a node of two processors has room for, with the three replicas of a test.
SMALL = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
# Two minutes and a half of a recording of 55 s.
SPEED, PASSES = 20, 50
Event = dict[str, Any]


class Flows:
    """The release; with what was in its namespace before, and what installing it told."""

    def __init__(self, namespace: Namespace, images: Images) -> None:
        self.namespace, self.images = namespace, images
        self.kafka = f"{NAME}-kafka.{namespace.name}.svc:9092"
        namespace.kubectl("create", "configmap", CAPTURES, f"--from-file={RECORDING}")
        namespace.kubectl("create", "--filename=-", given=json.dumps(_claim()))
        wait_for(lambda: namespace.get("serviceaccounts"), "the namespace's account")
        self.before = everything(namespace)
        self.notes = self._install()

    def _install(self) -> str:
        """Ends when the Job has replayed, too."""
        values = {
            "image.tag": self.images.tag,
            "kafka.demo": {"enabled": True, "persistence": {"enabled": True}},
            "topics.partitions": 6,
            "fingerprint": {"replicas": 1, "resources": SMALL},
            "classify": {"replicas": 1, "resources": SMALL},
            "knowledge.existingClaim": CLAIM,
            "replay": {"enabled": True, "configMap": CAPTURES, "sensor": "first", "resources": SMALL},
        }
        return self.namespace.install(RELEASE, values, "--wait", "--wait-for-jobs", "--timeout=5m")

    @contextmanager
    def replayed(self, sensor: str, *, passes: int = PASSES, speed: int | str = SPEED) -> Iterator[None]:
        """A replay by a release of its own: the body runs in the midst of it, and the end is waited for.

        Fails where anything is not answered, or is answered twice.
        """
        release = f"replay-{sensor}"
        values = {
            "image.tag": self.images.tag,
            "kafka.bootstrapServers": self.kafka,
            "topics.mode": "none",
            "fingerprint.enabled": False,
            "classify.enabled": False,
            "replay": {
                "enabled": True, "configMap": CAPTURES, "sensor": sensor, "speed": speed, "loop": passes,
                "resources": SMALL,
            },
        }  # fmt: skip
        handled = self.handled()
        self.namespace.install(release, values)
        (job,) = self.namespace.get("jobs", f"--selector={APPLICATION}/instance={release}")
        name = f"job/{job['metadata']['name']}"
        try:
            wait_for(lambda: self.handled() > handled, f"{name} to publish")
            yield
            wait_for(lambda: self._ended(release), f"{name} to end")
            log = self.namespace.kubectl("logs", name, "--tail=-1")
            assert self._ended(release) == "succeeded", log[-10_000:]
            expected = passes * scanned().total()
            assert f"{expected} of {expected} answered (100 %)" in log
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.namespace.state()}") from None
        finally:
            self.namespace.helm("uninstall", release, "--wait")

    def replaying(self, sensor: str) -> bool:
        """Whether that replay goes on."""
        return not self._ended(f"replay-{sensor}")

    def _ended(self, release: str) -> str:
        (job,) = self.namespace.get("jobs", f"--selector={APPLICATION}/instance={release}")
        return next((how for how in ("succeeded", "failed") if job["status"].get(how)), "")

    def handled(self) -> float:
        """Records that fingerprint's first replica has handled."""
        return self.namespace.metric(f"{NAME}-fingerprint-0", "vermilion_records_consumed_total")

    def answers(self, sensor: str) -> list[Event]:
        """All that ``classified`` has of a sensor."""
        labels = {f"{APPLICATION}/name": "vermilion", f"{APPLICATION}/instance": RELEASE}
        # A component that the chart's policies let to Kafka.
        labels[f"{APPLICATION}/component"] = "test"
        reader = bare("reader", f"vermilion-cli:{self.images.tag}", ["sleep", "infinity"], labels)
        self.namespace.kubectl("create", "--filename=-", given=json.dumps(reader))
        try:
            self.namespace.kubectl("wait", "--for=condition=Ready", "pod/reader", "--timeout=120s")
            read = f"vermilion tail -b {self.kafka} --format json --from beginning --quiet-for 5"
            found = self.namespace.kubectl("exec", "reader", "--", "sh", "-c", f"HOME=/tmp {read}")
        finally:
            self.namespace.kubectl("delete", "pod", "reader", "--wait")
        return [event for event in map(json.loads, found.splitlines()) if event["sensor"] == sensor]


def scanned(*options: str | Path) -> Counter[str]:
    """What ``scan`` tells of the recording."""
    done = vermilion("scan", "-e", *options, RECORDING)
    assert done.returncode == 0, done.stderr
    return Counter(canonical(json.loads(line)) for line in done.stdout.splitlines())


def told(events: list[Event], *without: str) -> list[Counter[str]]:
    """What was told of each run, but for the parts ``without``; ids are different, and each there once."""
    assert len({event["event_id"] for event in events}) == len(events)
    runs: dict[str, Counter[str]] = {event["run"]: Counter() for event in events}
    for event in events:
        kept = {part: value for part, value in event.items() if part not in without}
        runs[event["run"]][canonical(kept)] += 1
    return list(runs.values())


def everything(namespace: Namespace) -> set[str]:
    """Every object of a namespace, by kind and name; but for events, which go by their age."""
    kinds = kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name").split()
    listed = ",".join(kind for kind in kinds if kind.split(".")[0] not in ("events", "pods.metrics"))
    return set(namespace.kubectl("get", listed, "--output=name", "--ignore-not-found").split())


def _claim() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
