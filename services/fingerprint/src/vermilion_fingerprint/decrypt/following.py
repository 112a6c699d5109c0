"""A key log's file, read as it grows, is renamed away or written anew."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from vermilion_fingerprint.decrypt.keylog import MAX_LINE, KeyLog
from vermilion_pipeline.errors import VermilionError

_CHUNK = 1 << 20
# So many of the last bytes read are compared: a file written anew may be longer than the one before.
_TAIL = 256


class KeyLogError(VermilionError):
    """A key log that cannot be read; says which, and why."""


class KeyLogFile:
    """Follows ``path`` and puts its lines into ``keys``.

    ``refresh`` reads what has come since; the first time, all that is there. ``problem`` says why
    nothing can be read, and is None while that goes well; ``tell`` hears of each change of it.
    """

    def __init__(
        self,
        path: Path,
        keys: KeyLog | None = None,
        tell: Callable[[str | None], None] = lambda problem: None,
    ) -> None:
        self.path = path
        self.keys = keys or KeyLog()
        self.problem: str | None = None
        self._tell = tell
        self._file: int | None = None
        self._identity: tuple[int, int] | None = None
        self._seen: tuple[int, int] | None = None
        self._restart()

    def _restart(self) -> None:
        """What is read next is a file's beginning."""
        self._offset = 0
        self._tail = b""
        self._rest = b""
        self._overlong = False

    def refresh(self) -> None:
        """Read what has been added. A file that is not there or cannot be read is a ``problem``, no error."""
        problem = None
        try:
            found = self.path.stat()
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            if (found.st_dev, found.st_ino) != self._identity:
                self._drain()  # what was still written to the one before
                self._open((found.st_dev, found.st_ino))
        except OSError as error:
            problem = f"{self.path}: {error.strerror}"
        # Renamed away, it is read on until another takes its place.
        self._drain()
        if problem != self.problem:
            self.problem = problem
            self._tell(problem)

    def check(self, *, may_come: bool = False) -> None:
        """Read it a first time; ``may_come``: it need not be there yet. Raises KeyLogError."""
        self.refresh()
        if self.problem is not None and not (may_come and not self.path.exists()):
            raise KeyLogError(
                f"key log {self.problem}; name the file that the program writes by SSLKEYLOGFILE, "
                "and let this user read it"
            )

    def close(self) -> None:
        """Follow no more."""
        if self._file is not None:
            os.close(self._file)
            self._file = self._identity = None

    def _open(self, identity: tuple[int, int]) -> None:
        fresh = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self.close()
        self._file, self._identity, self._seen = fresh, identity, None
        self._restart()

    def _drain(self) -> None:
        """Read the open file to where it ends now."""
        if self._file is None:
            return
        now = os.fstat(self._file)
        if (now.st_size, now.st_mtime_ns) == self._seen:
            return
        self._seen = now.st_size, now.st_mtime_ns
        before = os.pread(self._file, len(self._tail), self._offset - len(self._tail))
        if now.st_size < self._offset or before != self._tail:  # truncated, perhaps written anew since
            self._restart()
        for chunk in self._chunks(now.st_size):
            self._lines(chunk)

    def _chunks(self, size: int) -> Iterator[bytes]:
        while self._file is not None and self._offset < size:
            chunk = os.pread(self._file, min(_CHUNK, size - self._offset), self._offset)
            if not chunk:
                return
            self._offset += len(chunk)
            self._tail = (self._tail + chunk)[-_TAIL:]
            yield chunk

    def _lines(self, chunk: bytes) -> None:
        """Take the lines that are complete; the last may still be written."""
        *lines, rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if not self._overlong:
                self.keys.add(line)
            self._overlong = False
        if len(rest) > MAX_LINE and not self._overlong:
            self.keys.add(rest)  # garbage, once
            self._overlong = True
        self._rest = b"" if self._overlong else rest
