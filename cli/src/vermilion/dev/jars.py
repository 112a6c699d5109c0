"""Apache Kafka's jars: where they live, what fetches them, what they must hash to."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

MAVEN_SECONDS = 900
JAVA_AT_LEAST = 17


class DevError(Exception):
    """What a developer's machine lacks or refuses, told with what to do about it."""


def find_root() -> Path:
    """Find the checkout that the current folder is in."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "docker-compose.yml").is_file() or _is_workspace(folder / "pyproject.toml"):
            return folder
    raise DevError(
        f"{here} is not inside a checkout of Vermilion: change into one, "
        "or set VERMILION_TOOLS_DIR to the folder that Apache Kafka shall be kept in"
    )


def _is_workspace(file: Path) -> bool:
    try:
        settings = tomllib.loads(file.read_text())
    except (OSError, ValueError):
        return False
    return "workspace" in settings.get("tool", {}).get("uv", {})


def tools_dir(root: Path | None = None) -> Path:
    """Say where fetched tools are kept: $VERMILION_TOOLS_DIR, or .tools of the checkout."""
    chosen = os.environ.get("VERMILION_TOOLS_DIR")
    return Path(chosen).absolute() if chosen else (root or find_root()) / ".tools"


def default_data(root: Path | None = None) -> Path:
    """Say where the developers' cluster keeps its data."""
    return tools_dir(root) / "kafka" / "data"


def java() -> str:
    """Find a Java that is new enough."""
    found = shutil.which("java")
    advice = "on Debian and Ubuntu: apt-get install openjdk-17-jre-headless"
    if found is None:
        raise DevError(
            f"Apache Kafka runs on Java {JAVA_AT_LEAST} or newer, and there is no java in PATH; {advice}"
        )
    told = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(?:1\.)?(\d+)', told.stderr + told.stdout)
    if version is None or int(version[1]) < JAVA_AT_LEAST:
        what = f"is version {version[1]}" if version else "does not tell its version"
        raise DevError(f"Apache Kafka needs Java {JAVA_AT_LEAST} or newer, and {found} {what}; {advice}")
    return found


def fetch(root: Path | None = None) -> Path:
    """Bring Apache Kafka's jars into the checkout and return their folder; do nothing where they are.

    Every jar must hash to what ``kafka-jars.sha256`` says, so a changed download is refused.
    """
    tools = tools_dir(root)
    expected = _expected()
    version = _version()
    folder = tools / "kafka" / version
    libs, stamp = folder / "libs", folder / "complete"
    with exclusive(tools / "kafka" / "fetch.lock"):
        want = hashlib.sha256(_packaged("kafka-jars.sha256").encode()).hexdigest()
        if (
            stamp.is_file()
            and stamp.read_text() == want
            and {jar.name for jar in libs.glob("*.jar")} == set(expected)
        ):
            return libs
        stamp.unlink(missing_ok=True)
        part = folder / "libs.part"
        for old in (part, libs):
            shutil.rmtree(old, ignore_errors=True)
        _run_maven(tools / "m2", part)
        _verify(part, expected)
        part.rename(libs)
        stamp.write_text(want)
    return libs


@contextmanager
def exclusive(file: Path) -> Iterator[None]:
    """Let one process at a time through: two test runs may want the same folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run_maven(repository: Path, output: Path) -> None:
    java()
    maven = shutil.which("mvn")
    if maven is None:
        raise DevError(
            "Apache Kafka's jars are fetched by Maven, and there is no mvn in PATH; "
            "on Debian and Ubuntu: apt-get install maven"
        )
    with resources.as_file(_package().joinpath("kafka-pom.xml")) as pom:
        command = [maven, "-q", "-B", "-f", str(pom), f"-Dmaven.repo.local={repository}"]
        command += ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={output}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=MAVEN_SECONDS)
        except subprocess.TimeoutExpired:
            raise DevError(f"Maven did not fetch Apache Kafka within {MAVEN_SECONDS} s: try again") from None
    if done.returncode:
        told = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise DevError(f"Maven could not fetch Apache Kafka (exit {done.returncode}):\n{told}")


def _verify(folder: Path, expected: dict[str, str]) -> None:
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in folder.glob("*.jar")}
    wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if wrong:
        raise DevError(
            f"not the jars that kafka-jars.sha256 lists: {', '.join(wrong)} missing, changed or not listed. "
            f"They are in {folder} to look at; nothing of them is used"
        )


def _expected() -> dict[str, str]:
    lines = (line.split() for line in _packaged("kafka-jars.sha256").splitlines() if not line.startswith("#"))
    return {name: digest for digest, name in lines}


def _version() -> str:
    """Kafka's version, from the one place that pins it."""
    found = re.search(r"<kafka\.version>([\w.]+)</kafka\.version>", _packaged("kafka-pom.xml"))
    if found is None:
        raise DevError("kafka-pom.xml does not say kafka.version")
    return found[1]


def _packaged(name: str) -> str:
    try:
        return _package().joinpath(name).read_text(encoding="utf-8")
    except OSError as error:
        raise DevError(f"this installation of Vermilion lacks {name}: {error}") from error


def _package() -> resources.abc.Traversable:
    return resources.files("vermilion.dev")
