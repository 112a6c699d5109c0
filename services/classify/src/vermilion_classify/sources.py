"""Where knowledge comes from, and where it lies once fetched."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path


class FetchError(Exception):
    """Knowledge that could not be fetched; says what was tried and what to do."""


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of ``resources/sources.toml``: a wheel, and the files wanted of it."""

    name: str
    version: str
    wheel_sha256: str
    folder: str
    licence: str
    what: str
    files: dict[str, str]

    @property
    def directory(self) -> Path:
        """Where its files lie once fetched."""
        return resource_dir() / "knowledge" / f"{self.name}-{self.version}"

    def missing(self) -> list[str]:
        """Files that are not there, or not as they should be."""
        return [name for name, digest in self.files.items() if sha256(self.directory / name) != digest]


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
        return [Source(name=name, **entry) for name, entry in table.items()]
    except (OSError, ValueError, TypeError) as error:
        raise FetchError(f"{path}: {error}") from None


def sha256(path: Path) -> str | None:
    """SHA-256 of a file as hex; None when there is no such file."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def fetch(source: Source) -> bool:
    """Put the source's files in place, by pip or uv; False when they already were. Raises FetchError."""
    if not source.missing():
        return False
    with tempfile.TemporaryDirectory() as scratch:
        unpacked = Path(scratch, "wheel")
        requirement = Path(scratch, "requirement.txt")
        requirement.write_text(
            f"{source.name}=={source.version} --hash=sha256:{source.wheel_sha256}\n", encoding="utf-8"
        )
        command = [
            *_installer(),
            "--no-deps",
            "--require-hashes",
            "--target",
            str(unpacked),
            "-r",
            str(requirement),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise FetchError(
                f"cannot fetch {source.name} {source.version}: {' '.join(command)} failed:\n"
                + done.stderr.strip()
            )
        _place(source, unpacked / source.folder)
    return True


def _installer() -> list[str]:
    uv = Path(sys.executable).with_name("uv")
    found = str(uv) if uv.exists() else shutil.which("uv")
    if found:
        return [
            found,
            "pip",
            "install",
            "--system-certs",
            "--quiet",
            "--python",
            sys.executable,
            "--only-binary",
            ":all:",
        ]
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
    raise FetchError(
        "neither uv nor pip is here to fetch knowledge with; install one: apt-get install python3-pip"
    )


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
