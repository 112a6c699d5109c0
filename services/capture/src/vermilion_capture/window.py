"""The bytes of a capture in order, a window at a time, whatever they come from or are packed in."""

import os
import stat
import sys
from collections.abc import Iterator
from io import BufferedIOBase
from itertools import chain
from pathlib import Path
from typing import cast

from vermilion_capture.decompress import PIECE, DamagedStream, decompressor
from vermilion_capture.frame import CaptureError

STDIN = Path("-")


class Window:
    """A file's bytes, unpacked, of which a part is here.

    ``buffer`` holds what is here; a reader steps through it by itself and calls ``advance`` when it
    ends. ``size`` and ``consumed`` count the file as it lies on the disk; a pipe has size 0.
    """

    def __init__(self, path: Path) -> None:
        """Open ``path``, or standard input for ``-``. Raises CaptureError."""
        self.name = "standard input" if path == STDIN else str(path)
        self.consumed = 0
        self.buffer = b""
        self._base = 0
        self._packed = False
        self._file, self.size = self._stdin() if path == STDIN else self._open(path)
        self._own = path != STDIN
        try:
            pieces, head = self._pieces(), b""
            while len(head) < 4 and (piece := next(pieces, b"")):
                head += piece
        except CaptureError:
            self.close()
            raise
        pieces = chain((head,), pieces)
        unpack = decompressor(head[:4])
        self._packed = unpack is not None
        self._unpacked = unpack(pieces) if unpack else pieces

    def _open(self, path: Path) -> tuple[BufferedIOBase, int]:
        try:
            if path.is_dir():
                raise CaptureError(f"{path}: is a directory; name the capture files in it")
            return path.open("rb"), path.stat().st_size
        except OSError as error:
            raise CaptureError(f"{path}: {error.strerror or error}") from None

    def _stdin(self) -> tuple[BufferedIOBase, int]:
        if sys.stdin is None or sys.stdin.closed:
            raise CaptureError(f"{self.name}: is closed; pipe a capture into it")
        if sys.stdin.isatty():
            raise CaptureError(f"{self.name}: is a terminal; pipe a capture into it")
        stream = cast("BufferedIOBase", sys.stdin.buffer)
        try:
            status = os.fstat(stream.fileno())
        except OSError:  # something else was put in its place
            return stream, 0
        return stream, status.st_size if stat.S_ISREG(status.st_mode) else 0

    def _pieces(self) -> Iterator[bytes]:
        while True:
            try:
                # What a pipe has by now, not what it may have when the piece is full.
                piece = self._file.read1(PIECE)
            except OSError as error:
                raise self.fail(len(self.buffer), f"cannot be read: {error.strerror or error}") from None
            if not piece:
                return
            self.consumed += len(piece)
            yield piece

    def advance(self, at: int, need: int) -> bytes:
        """Forget what lies before ``at``: the buffer then begins there.

        It holds ``need`` bytes at least, unless the file ends before. Raises CaptureError.
        """
        parts = [self.buffer[at:]]
        have = len(parts[0])
        self._base += at
        self.buffer = parts[0]
        try:
            while have < need and (piece := next(self._unpacked, b"")):
                parts.append(piece)
                have += len(piece)
        except DamagedStream as error:
            raise self.fail(have, str(error)) from None
        self.buffer = b"".join(parts)
        return self.buffer

    def fail(self, at: int, why: str) -> CaptureError:
        """The error that says what is wrong at ``at`` in the buffer."""
        unpacked = " (unpacked)" if self._packed else ""
        return CaptureError(f"{self.name}: offset {self._base + at}{unpacked}: {why}")

    def close(self) -> None:
        """Close the file; standard input is not ours to close."""
        if self._own:
            self._file.close()
