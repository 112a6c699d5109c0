"""Opens a capture, whatever its format and packing, and gives its frames."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from vermilion_capture import pcap, pcapng
from vermilion_capture.frame import CaptureError, Frame
from vermilion_capture.ring import Block
from vermilion_capture.window import Window

__all__ = ["CaptureBlocks", "CaptureError", "CaptureFile", "Frame"]


class _Capture:
    """Reads pcap and pcapng, plain, gzip or zstd; each is recognised by its first bytes."""

    def __init__(self, path: Path) -> None:
        """Open ``path``, ``-`` for standard input, and read its header. Raises CaptureError."""
        self.path = path
        self._window = Window(path)
        try:
            self._pieces = self._recognise()
        except CaptureError:
            self.close()
            raise

    def _recognise(self) -> Iterator[Frame | Block]:
        magic = self._window.advance(0, 4)[:4]
        if not magic:
            raise self._window.fail(0, "the file is empty")
        if magic in pcap.MAGIC:
            return pcap.stretches(self._window)
        if magic == pcapng.MAGIC:
            return pcapng.frames(self._window)
        raise self._window.fail(0, f"not a pcap or pcapng file (it begins with {magic.hex(' ')})")

    def close(self) -> None:
        """Close the file."""
        self._window.close()

    @property
    def drops(self) -> Mapping[str, int]:
        """None that the file tells of."""
        return {}

    @property
    def size(self) -> int:
        """Bytes of the file as it lies on the disk; 0 for a pipe."""
        return self._window.size

    @property
    def consumed(self) -> int:
        """Bytes of the file (compressed ones, if it is compressed) read so far, for progress."""
        return self._window.consumed


class CaptureFile(_Capture):
    """A capture's frames. Iterating raises CaptureError where the file breaks."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._frames = self._each()

    def __enter__(self) -> "CaptureFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def _each(self) -> Iterator[Frame]:
        for piece in self._pieces:
            if isinstance(piece, Frame):
                yield piece
            else:
                yield from piece


class CaptureBlocks(_Capture):
    """The same in blocks of packets where the format allows it, which cost no object a packet.

    Each is to be taken wholly before the next is asked for.
    """

    def __iter__(self) -> Iterator[Frame | Block]:
        return self._pieces
