"""What is fetched from Maven Central: where it lives, what it must hash to; and Apache Kafka's jars."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from vermilion_pipeline.errors import VermilionError

MAVEN_SECONDS = 900
JAVA_AT_LEAST = 17
# Small, because it shares a developer's machine.
SMALL_JAVA = (
    "-Xms128m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:ActiveProcessorCount=2",
    "-Djava.awt.headless=true",
)


class DevError(VermilionError):
    """What a developer's machine lacks or refuses, told with what to do about it."""


def find_root() -> Path:
    """Find the checkout that the current folder is in."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "docker-compose.yml").is_file() or _is_workspace(folder / "pyproject.toml"):
            return folder
    raise DevError(
        f"{here} is not inside a checkout of Vermilion: change into one, "
        "or set VERMILION_TOOLS_DIR to the folder that Apache Kafka and the registry shall be kept in"
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


def java(what: str = "Apache Kafka") -> str:
    """Find a Java that is new enough for ``what``."""
    found = shutil.which("java")
    advice = "on Debian and Ubuntu: apt-get install openjdk-17-jre-headless"
    if found is None:
        raise DevError(
            f"{what} runs on Java {JAVA_AT_LEAST} or newer, and there is no java in PATH; {advice}"
        )
    done = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    if version is None or int(version[1]) < JAVA_AT_LEAST:
        told = f"is version {version[1]}" if version else "does not tell its version"
        raise DevError(f"{what} needs Java {JAVA_AT_LEAST} or newer, and {found} {told}; {advice}")
    return found


def fetch(root: Path | None = None) -> Path:
    """Bring Apache Kafka's jars into the checkout and return their folder; do nothing where they are.

    Every jar must hash to what ``kafka.sha256`` says, so a changed download is refused.
    """
    return provide(
        tools_dir(root),
        "kafka",
        "Apache Kafka",
        ["dependency:copy-dependencies", "-DincludeScope=runtime"],
        lambda part, libs: part.rename(libs),
        lambda libs: {jar.name for jar in libs.glob("*.jar")} == pins("kafka").keys(),
    )


def provide(
    tools: Path,
    name: str,
    what: str,
    goal: list[str],
    settle: Callable[[Path, Path], object],
    whole: Callable[[Path], bool],
) -> Path:
    """Let Maven fetch what ``NAME-pom.xml`` pins, check it, and return its folder; once.

    ``settle(fetched, folder)`` makes the folder of what was fetched and found right; ``whole`` tells
    whether it still is. Raises DevError.
    """
    home = tools / name / pinned_version(name)
    folder, part, stamp = home / "libs", home / "libs.part", home / "complete"
    with exclusive(tools / name / "fetch.lock"):
        want = hashlib.sha256(packaged(f"{name}.sha256").encode()).hexdigest()
        if stamp.is_file() and stamp.read_text() == want and whole(folder):
            return folder
        stamp.unlink(missing_ok=True)
        for old in (part, folder):
            shutil.rmtree(old, ignore_errors=True)
        _run_maven(what, f"{name}-pom.xml", [*goal, f"-Dmaven.repo.local={tools / 'm2'}"], part)
        _verify(part, name)
        settle(part, folder)
        stamp.write_text(want)
    return folder


def pins(name: str) -> dict[str, str]:
    """The files that ``NAME.sha256`` lists, with the SHA-256 of each."""
    lines = (line.split() for line in packaged(f"{name}.sha256").splitlines() if not line.startswith("#"))
    return {file: digest for digest, file in lines}


@contextmanager
def exclusive(file: Path) -> Iterator[None]:
    """Let one process at a time through: two test runs may want the same folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run_maven(what: str, pom: str, arguments: list[str], output: Path) -> None:
    java(what)
    maven = shutil.which("mvn")
    if maven is None:
        raise DevError(
            f"{what} is fetched by Maven, and there is no mvn in PATH; "
            "on Debian and Ubuntu: apt-get install maven"
        )
    with resources.as_file(_package().joinpath(pom)) as file:
        command = [maven, "-q", "-B", "-f", str(file), *arguments, f"-DoutputDirectory={output}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=MAVEN_SECONDS)
        except subprocess.TimeoutExpired:
            raise DevError(f"Maven did not fetch {what} within {MAVEN_SECONDS} s: try again") from None
    if done.returncode:
        told = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise DevError(f"Maven could not fetch {what} (exit {done.returncode}):\n{told}")


def _verify(folder: Path, name: str) -> None:
    expected = pins(name)
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*")}
    wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if wrong:
        raise DevError(
            f"not the files that {name}.sha256 lists: {', '.join(wrong)} missing, changed or not listed. "
            f"They are in {folder} to look at; nothing of them is used"
        )


def pinned_version(what: str) -> str:
    """The version, from the one place that pins it: ``WHAT.version`` in ``WHAT-pom.xml``."""
    found = re.search(rf"<{what}\.version>([\w.]+)</{what}\.version>", packaged(f"{what}-pom.xml"))
    if found is None:
        raise DevError(f"{what}-pom.xml does not say {what}.version")
    return found[1]


def packaged(name: str) -> str:
    """The text of a file beside this module."""
    try:
        return _package().joinpath(name).read_text(encoding="utf-8")
    except OSError as error:
        raise DevError(f"this installation of Vermilion lacks {name}: {error}") from error


def _package() -> resources.abc.Traversable:
    return resources.files("vermilion.dev")
