"""Where a replay is, kept in a small file from which another process can go on: see ``docs/replay.md``."""

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from vermilion.errors import CommandFailed
from vermilion_pipeline.errors import VermilionError


class Unkept(VermilionError):
    """The position cannot be kept; says why."""


@dataclass
class Position:
    """How far a replay has come: all before it is acknowledged by the broker."""

    captures: list[tuple[str, int, int]]
    """Path, bytes and time of the last change (nanoseconds since 1970) of each capture, in order."""
    options: dict[str, Any]
    """What the records depend on beside the captures; it must be the same when the replay goes on."""
    done: int = 0
    """Passes over single captures that are behind it."""
    run: str = ""
    """The run of the pass under way; empty: it has not begun."""
    records: int = 0
    """Its records and marks so far."""
    newest: int = 0
    """Its newest packet time, microseconds."""
    packets: int = 0
    """Its packets read, for people."""
    ends: list[int] | None = None
    """The end of each partition of ``payloads`` then; None: nothing was on its way beyond ``records``."""
    answers: dict[str, list[int]] = field(default_factory=dict)
    """The ends of the topics that are read to verify, when the run began."""


def state_folder() -> Path:
    """Where positions are kept: ``$XDG_STATE_HOME/vermilion/replay`` (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_STATE_HOME", "")
    # A relative path there is to be ignored, the specification says.
    base = Path(home) if home.startswith("/") else Path.home() / ".local/state"
    return base / "vermilion" / "replay"


def identities(paths: list[Path]) -> list[tuple[str, int, int]]:
    """How the captures are told to be the same as before; size -1: not there."""
    found = []
    for path in paths:
        try:
            status = path.stat()
            found.append((str(path.absolute()), status.st_size, status.st_mtime_ns))
        except OSError:
            found.append((str(path.absolute()), -1, -1))
    return found


class Keeper:
    """The one place of one replay: what was named, to one cluster and prefix. Held by one process."""

    def __init__(self, named: list[str], servers: str, prefix: str) -> None:
        """Take the place. Raises Unkept when it cannot be written, or another replay holds it."""
        whole = [[os.path.abspath(one) for one in named], servers, prefix]  # noqa: PTH100 (may be a pattern)
        self.folder = state_folder() / sha256(json.dumps(whole).encode()).hexdigest()[:16]
        self.path = self.folder / "position.json"
        try:
            self._lock = self._locked()
        except BlockingIOError:
            raise Unkept("another replay of the same captures is running") from None
        except OSError as error:
            raise Unkept(f"{self.folder}: {error.strerror}") from None

    def _locked(self) -> int:
        while True:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_ino == self.folder.stat().st_ino:
                    return lock
            except FileNotFoundError:
                pass  # whoever held it has just removed it
            except OSError:
                os.close(lock)
                raise
            os.close(lock)

    def read(self) -> Position | None:
        """What an interrupted replay left; None when there is nothing. Raises CommandFailed."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            position = Position(**found)
            position.captures = [(name, size, changed) for name, size, changed in position.captures]
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, OSError) as error:
            raise CommandFailed(f"{self.path}: no position of a replay ({error}); remove it") from None
        return position

    def write(self, position: Position) -> None:
        """Keep ``position``: whenever the process dies, the file is whole. Raises CommandFailed."""
        fresh = self.path.with_suffix(".new")
        try:
            with fresh.open("w", encoding="utf-8") as file:
                json.dump(asdict(position), file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        except OSError as error:
            raise CommandFailed(f"{self.path}: the position cannot be kept: {error.strerror}") from None

    def clear(self) -> None:
        """Nothing is left to resume."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the place; nothing of it stays where nothing is left to resume."""
        with suppress(OSError):  # a position is in it
            self.folder.rmdir()
        os.close(self._lock)
