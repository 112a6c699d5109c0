"""The chart, rendered by helm."""

import functools
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/vermilion"
EXAMPLES = sorted((CHART / "ci").glob("*.yaml"))
MINIMAL = CHART / "ci/minimal-values.yaml"
DEMO, SCRAM, STRIMZI, CAPTURE, DECRYPTION = (
    CHART / f"ci/{name}-values.yaml" for name in ("demo", "scram", "strimzi", "capture", "decryption")
)
RELEASE, NAMESPACE = "trial", "flows"
NAME = f"{RELEASE}-vermilion"
each_example = pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
Object = dict[str, Any]


def tool(name: str, target: str) -> str:
    """Where ``make tools`` put a program, or the system has it; skips the test where it is not to be had."""
    found = shutil.which(str(ROOT / ".tools/bin" / name)) or shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name}: {target}")
    return found


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run helm, whatever comes of it."""
    command = [tool("helm", "make tools"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@functools.cache
def template(values: Path | None, *settings: str) -> subprocess.CompletedProcess[str]:
    """``helm template`` with a file of values and ``--set-json`` settings."""
    given: list[str | Path] = ["--values", values] if values else []
    for setting in settings:
        given += ["--set-json", setting]
    return helm("template", RELEASE, CHART, "--namespace", NAMESPACE, "--kube-version", "1.34.0", *given)


def rendered(values: Path | None = MINIMAL, *settings: str) -> list[Object]:
    """The objects that come of it; fails where helm does."""
    done = template(values, *settings)
    assert done.returncode == 0, done.stderr
    return objects_in(done.stdout)


class _Strict(yaml.CSafeLoader):
    """Refuses a map with a key twice, as stricter readers than helm do."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Make the map. Raises ConstructorError."""
        names = Counter(key.value for key, _ in node.value)
        if twice := [name for name, count in names.items() if count > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"twice: {twice}", node.start_mark)
        return super().construct_mapping(node, deep)


def objects_in(text: str) -> list[Object]:
    """What helm wrote."""
    return [found for found in yaml.load_all(text, _Strict) if found]


def refusal(values: Path | None, *settings: str) -> str:
    """What helm says that it will not have; fails where it renders."""
    done = template(values, *settings)
    assert done.returncode != 0, f"{settings} went through"
    return done.stderr


def of_kind(objects: Iterable[Object], kind: str) -> dict[str, Object]:
    """Those of a kind by their names."""
    return {found["metadata"]["name"]: found for found in objects if found["kind"] == kind}


def pods(objects: Iterable[Object]) -> Iterator[tuple[str, Object]]:
    """The spec of every pod that the objects make, with the name of what makes it."""
    for found in objects:
        if found["kind"] == "Pod":
            yield found["metadata"]["name"], found["spec"]
        elif "template" in found.get("spec", {}):
            yield found["metadata"]["name"], found["spec"]["template"]["spec"]


def containers(spec: Object) -> list[Object]:
    """All containers of a pod, those that come first included."""
    return [*spec.get("initContainers", []), *spec["containers"]]


def environment(container: Object) -> dict[str, Any]:
    """Its variables that have a value of their own; what is JSON is read."""
    found = {}
    for variable in container["env"]:
        if "value" in variable:
            text = variable["value"]
            found[variable["name"]] = json.loads(text) if text.startswith("{") else text
    return found
