"""Knowledge that changes while a service runs: looked at again and again, put in place whole."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import structlog

from vermilion_classify.databases import KnowledgeError
from vermilion_classify.knowledge import Knowledge

_log = structlog.get_logger(__name__)

_Identity = tuple[int, int, int, int]


class KnowledgeSource(Protocol):
    """Where a stage gets its knowledge from, a batch at a time."""

    @property
    def failures(self) -> int:
        """How many new files were refused."""

    def current(self) -> Knowledge:
        """The knowledge to answer a batch by."""


class Fixed:
    """One knowledge for ever."""

    failures = 0

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge

    def current(self) -> Knowledge:
        """It."""
        return self._knowledge


class Reloading:
    """The knowledge in a file, and in what takes its place: renamed over it, or behind a new symbolic link.

    What cannot be loaded is refused and told, and what is in use stays. A thread looks; a batch takes
    what is current and keeps it.
    """

    def __init__(self, path: Path, load: Callable[[Path], Knowledge], every: float = 1.0) -> None:
        """``every``: seconds between looks. Raises KnowledgeError when the first cannot be loaded."""
        self._path = path
        self._load = load
        self._every = every
        self._seen = self._identity()
        self._knowledge = load(path)
        self._wake, self._ended = threading.Event(), threading.Event()
        self._again = False
        self.failures = 0
        self._thread = threading.Thread(target=self._watch, name="knowledge", daemon=True)
        self._thread.start()

    def current(self) -> Knowledge:
        """The newest that could be loaded."""
        return self._knowledge

    def reload(self) -> None:
        """Load the file anew, whether or not it has changed; a signal's handler may call it."""
        self._again = True
        self._wake.set()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        self._wake.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.is_set():
            self._wake.wait(self._every)
            self._wake.clear()
            again, self._again = self._again, False
            now = self._identity()
            # A file that is away for a moment is no reason to load, nor to complain.
            if not self._ended.is_set() and now is not None and (again or now != self._seen):
                self._seen = now
                self._take()

    def _take(self) -> None:
        try:
            fresh = self._load(self._path)
        except KnowledgeError as error:
            self.failures += 1
            _log.error("knowledge refused; what is in use stays", error=str(error), **self._knowledge.version)
        except Exception:
            # A defect of ours must not end the watch: the service would never hear of a good file again.
            self.failures += 1
            _log.exception("knowledge could not be loaded; what is in use stays", path=str(self._path))
        else:
            self._knowledge = fresh
            _log.info("knowledge loaded", path=str(self._path), fingerprints=fresh.entries, **fresh.version)

    def _identity(self) -> _Identity | None:
        """What changes when another file takes the path."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
