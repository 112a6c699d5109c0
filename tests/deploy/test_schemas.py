"""What the chart renders is what Kubernetes and its custom resources' makers take."""

import functools
import json
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from deploy.chart import (
    CHART,
    EXAMPLES,
    ROOT,
    each_example,
    helm,
    rendered,
    tool,
)

CUSTOM = ("keda.sh/", "monitoring.coreos.com/", "kafka.strimzi.io/")


@each_example
def test_lint_is_strict_and_content(values: Path) -> None:
    done = helm("lint", "--strict", CHART, "--values", values)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", ["1.27", "1.34"])
def test_kubernetes_schemas_take_it(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # It reads 2 MB of definitions anew for every object.
    contents = functools.cache(kubernetes_validate.utils.schema_contents)
    monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", contents)
    objects = [json.dumps(found) for values in EXAMPLES for found in rendered(values)]
    for found in map(json.loads, dict.fromkeys(objects)):
        if not found["apiVersion"].startswith(CUSTOM):
            kubernetes_validate.validate(found, version, strict=True)


def test_the_schemas_do_refuse() -> None:
    service = rendered()[0]
    service["spec"]["unheard"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, "1.34", strict=True)


def custom(prefixes: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        found for values in EXAMPLES for found in rendered(values) if found["apiVersion"].startswith(prefixes)
    ]


def checked(command: list[str], objects: list[dict[str, Any]]) -> list[str]:
    done = subprocess.run(command, input=json.dumps(objects), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_models_of_keda_and_prometheus_operator_take_it() -> None:
    if not (script := ROOT / ".tools/crds/node/check.mjs").exists():
        pytest.skip("the models are not here: make tools")
    command, objects = [tool("node", "apt-get install nodejs"), str(script)], custom(CUSTOM[:2])
    assert {found["kind"] for found in objects} == {"ScaledObject", "PrometheusRule", "ServiceMonitor"}
    assert checked(command, objects) == []
    for found in objects:
        found["spec"]["unheard"] = 1
    assert len(checked(command, objects)) == len(objects)


def test_models_of_strimzi_take_it() -> None:
    if not (models := ROOT / ".tools/crds/strimzi").exists():
        pytest.skip("the models are not here: make tools")
    tool("javac", "a JDK compiles the check: apt-get install openjdk-17-jdk-headless")
    command = ["java", "-cp", f"{models}/*", str(ROOT / "tools/crds/Strimzi.java")]
    objects = custom(CUSTOM[2:])
    assert {found["kind"] for found in objects} == {"KafkaTopic", "KafkaUser"}
    wrong = json.loads(json.dumps(objects[0]))
    wrong["metadata"]["name"] = "wrong"
    wrong["spec"]["unheard"] = 1
    lines = checked(command, [*objects, wrong])
    assert [line for line in lines if "wrong" not in line] == []
    assert any("unheard" in line for line in lines)
