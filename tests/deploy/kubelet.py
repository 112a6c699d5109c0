"""Runs a pod's containers as processes of this machine: their commands, environment and files, as rendered.

What an image would bring, and names that only a cluster resolves, are ``stands_for``: text -> what is here.
Volumes are folders, and the paths that they are mounted at are replaced wherever they are named.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from deploy.chart import Object

PATIENCE = 60.0
_CHECKOUT = str(Path(__file__).parents[2])


@dataclass
class Cluster:
    """What pods find: files of Secrets, ConfigMaps and claims, and what stands for what."""

    folder: Path
    stands_for: Mapping[str, str]
    secrets: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    configs: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)


class Pod:
    """One pod; ``with`` it, to have it ended."""

    def __init__(
        self, cluster: Cluster, name: str, spec: Object, own: Mapping[str, str] | None = None
    ) -> None:
        """``own``: variables that are other ones here, such as a port."""
        self.name = name
        self._cluster, self._spec, self._own = cluster, spec, own or {}
        self._folder = cluster.folder / name
        self._processes: list[subprocess.Popen[bytes]] = []
        # A test's own files are where they are, even below what a pod mounts a volume at (/tmp).
        self._replace = {_CHECKOUT: _CHECKOUT, **cluster.stands_for}
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            for mount in container.get("volumeMounts", []):
                self._replace[mount["mountPath"]] = str(self._volume(mount["name"]))
        for volume in spec["volumes"]:
            self._fill(volume)

    def __enter__(self) -> "Pod":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self) -> "Pod":
        """Run what comes first to its end, and start the rest."""
        for container in self._spec.get("initContainers", []):
            self._end(self._started(container), container["name"])
        self._processes += [self._started(container) for container in self._spec["containers"]]
        return self

    def run(self) -> str:
        """Run all containers to their end, one by one; what they wrote. Fails where one does."""
        told = ""
        for container in [*self._spec.get("initContainers", []), *self._spec["containers"]]:
            told += self._end(self._started(container), container["name"])
        return told

    def stop(self) -> int:
        """SIGTERM to the first container; its exit code."""
        process = self._processes.pop(0)
        process.terminate()
        return process.wait(self._spec.get("terminationGracePeriodSeconds", 30))

    @property
    def running(self) -> bool:
        """Whether all that was started goes on."""
        return all(process.poll() is None for process in self._processes)

    def log(self) -> str:
        """What all containers wrote so far."""
        return "".join(file.read_text() for file in sorted(self._folder.glob("*.log")))

    def text(self, text: str) -> str:
        """``text`` as it is to be on this machine."""
        # Whole paths and whole names, once: what stands for one may have another in it.
        names = sorted(self._replace, key=len, reverse=True)
        found = "|".join(("(?<!/)" if name[0] == "/" else "") + re.escape(name) for name in names)
        return re.sub(rf"(?<![\w.-])(?:{found})(?![\w.-])", lambda match: self._replace[match[0]], text)

    def _volume(self, name: str) -> Path:
        return self._folder / "volumes" / name

    def _fill(self, volume: Object) -> None:
        folder = self._volume(volume["name"])
        # A pod's own volumes do not outlive it.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        files: dict[str, bytes] = {}
        if "secret" in volume:
            found = self._cluster.secrets[volume["secret"]["secretName"]]
            files = {item["path"]: found[item["key"]] for item in volume["secret"]["items"]}
        elif "configMap" in volume:
            for name, content in self._cluster.configs[volume["configMap"]["name"]].items():
                readable = name.endswith(".properties")
                files[name] = self.text(content.decode()).encode() if readable else content
        # As Kubernetes lays them out, to change all at once: links, through a link, to a hidden folder.
        for name, content in files.items():
            (folder / "..1").mkdir(exist_ok=True)
            (folder / "..1" / name).write_bytes(content)
            (folder / name).symlink_to(f"..data/{name}")
        if files:
            (folder / "..data").symlink_to("..1")

    def _environment(self, container: Object) -> dict[str, str]:
        found: dict[str, str] = {}
        for variable in container.get("env", []):
            name = variable["name"]
            if "value" in variable:
                # Kubernetes expands what stands before.
                value = re.sub(
                    r"\$\((\w+)\)", lambda match: found.get(match[1], match[0]), str(variable["value"])
                )
                found[name] = self.text(value)
            else:
                found[name] = self._from(variable["valueFrom"])
        return {**found, **self._own}

    def _from(self, source: dict[str, Any]) -> str:
        if "secretKeyRef" in source:
            reference = source["secretKeyRef"]
            return self._cluster.secrets[reference["name"]][reference["key"]].decode()
        return {"metadata.name": self.name, "status.podIP": "127.0.0.1", "spec.nodeName": "node"}[
            source["fieldRef"]["fieldPath"]
        ]

    def _started(self, container: Object) -> subprocess.Popen[bytes]:
        words = [self.text(word) for word in [*container["command"], *container.get("args", [])]]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        variables = {"PATH": path, **self._environment(container)}
        # As a container is: of this process's environment nothing is left.
        words[0] = shutil.which(words[0], path=path) or words[0]
        with (self._folder / f"{container['name']}.log").open("wb") as log:
            return subprocess.Popen(words, stdout=log, stderr=log, env=variables, cwd=self._folder)

    def _end(self, process: subprocess.Popen[bytes], name: str) -> str:
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        told = (self._folder / f"{name}.log").read_text()
        assert code == 0, f"{self.name}: {name} ended with {code}:\n{told}"
        return told
