"""A cluster, spoken to by kubectl and helm as a person does."""

import json
import secrets
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from deploy.chart import CHART, Object, tool

PATIENCE = 300.0
APPLICATION = "app.kubernetes.io"


def run(*command: str | Path, given: str | None = None, patience: float = PATIENCE) -> str:
    """What a command writes; fails with all that it says where it does."""
    done = subprocess.run(
        [str(word) for word in command], input=given, capture_output=True, text=True, check=False,
        timeout=patience,
    )  # fmt: skip
    assert done.returncode == 0, (
        f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}{done.stderr}"
    )
    return done.stdout


def kubectl(*arguments: str | Path, given: str | None = None, patience: float = PATIENCE) -> str:
    """What ``kubectl`` writes; fails where it does."""
    return run(tool("kubectl", "make tools"), *arguments, given=given, patience=patience)


def wait_for(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Until ``condition`` holds; fails with ``what`` when it does not in time."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience:.0f} s for {what}"
        time.sleep(0.5)


class Namespace:
    """A namespace of a name of its own, gone with all that is in it at the end; ``with`` it."""

    def __init__(self, part: str, security: str) -> None:
        """``security``: the level of Pod Security that it enforces."""
        self.name = f"vermilion-{part}-{secrets.token_hex(3)}"
        self._security = security

    def __enter__(self) -> "Namespace":
        kubectl("create", "namespace", self.name)
        kubectl("label", "namespace", self.name, f"pod-security.kubernetes.io/enforce={self._security}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        kubectl("delete", "namespace", self.name, "--timeout=120s")

    def kubectl(self, *arguments: str | Path, given: str | None = None) -> str:
        """What ``kubectl`` writes of this namespace."""
        return kubectl("--namespace", self.name, *arguments, given=given)

    def get(self, *arguments: str) -> list[Object]:
        """Objects, as ``kubectl get`` names them."""
        found: list[Object] = json.loads(self.kubectl("get", *arguments, "--output=json"))["items"]
        return found

    def helm(self, command: str, release: str, *arguments: str | Path) -> str:
        """What ``helm`` writes of a release; with where things are when it fails."""
        try:
            return run(tool("helm", "make tools"), command, release, "--namespace", self.name, *arguments)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.state()}") from None

    def install(self, release: str, values: dict[str, Any], *arguments: str) -> str:
        """``helm install`` of the chart with ``values``."""
        return self._with("install", release, values, *arguments)

    def upgrade(self, release: str, values: dict[str, Any]) -> str:
        """``helm upgrade`` with all as it was but ``values``; ends when all pods are ready."""
        return self._with("upgrade", release, values, "--reset-then-reuse-values", "--wait", "--timeout=5m")

    def _with(self, command: str, release: str, values: dict[str, Any], *arguments: str) -> str:
        given = [f"--set-json={name}={json.dumps(value)}" for name, value in values.items()]
        return self.helm(command, release, CHART, *given, *arguments)

    def pods(self, release: str, component: str = "") -> dict[str, Object]:
        """The pods of a release, or of one of its components, by name."""
        labels = f"{APPLICATION}/instance={release}" + (
            f",{APPLICATION}/component={component}" if component else ""
        )
        return {pod["metadata"]["name"]: pod for pod in self.get("pods", f"--selector={labels}")}

    def metrics(self, pod: str) -> str:
        """What a pod shows, asked for through Kubernetes; nothing while it does not answer."""
        path = f"/api/v1/namespaces/{self.name}/pods/{pod}:9464/proxy/metrics"
        try:
            return self.kubectl("get", "--raw", path)
        except AssertionError:
            return ""

    def metric(self, pod: str, name: str) -> float:
        """A pod's metric, all labels summed; 0 while it does not answer."""
        lines = [
            line for line in self.metrics(pod).splitlines() if line.startswith((f"{name} ", f"{name}{{"))
        ]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def state(self) -> str:
        """What its pods and latest events are, and what containers that are not ready said."""
        told = self.kubectl("get", "pods", "--output=wide")
        told += "\n".join(self.kubectl("get", "events", "--sort-by=.lastTimestamp").splitlines()[-30:])
        for pod in self.get("pods"):
            statuses = pod["status"].get("containerStatuses", []) + pod["status"].get(
                "initContainerStatuses", []
            )
            for status in statuses:
                if not status["ready"]:
                    told += (
                        f"\n--- {pod['metadata']['name']} {status['name']}: {json.dumps(status['state'])}\n"
                    )
                    told += self._log(pod["metadata"]["name"], status["name"])
        return told

    def _log(self, pod: str, container: str) -> str:
        try:
            return self.kubectl("logs", pod, "--container", container, "--tail=20")
        except AssertionError as error:
            return str(error)


def bare(name: str, image: str, words: Sequence[str], labels: dict[str, str]) -> Object:
    """A pod that Pod Security *restricted* lets in."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": list(words),
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
