"""Classic pcap savefiles: micro- and nanosecond, both byte orders, plain or gzip.

Source: the pcap savefile format (pcap-savefile(5); draft-ietf-opsawg-pcap).
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import IO, NamedTuple, cast

ETHERNET = 1
_GZIP = b"\x1f\x8b"
_PCAPNG = b"\x0a\x0d\x0d\x0a"
_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1), b"\xa1\xb2\xc3\xd4": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1000), b"\xa1\xb2\x3c\x4d": (">", 1000),
}  # fmt: skip
# libpcap's own bound for a record; a longer one is a broken file, not a long packet.
MAX_RECORD = 262_144


class CaptureError(Exception):
    """A capture that cannot be read, or not any further: says the file, the offset and why."""


class Frame(NamedTuple):
    """One captured frame. ``time``: microseconds since 1970; ``data``: what was captured of it."""

    time: int
    data: bytes
    wire_length: int


class CaptureFile:
    """Reads one savefile. Iterating gives its frames and raises CaptureError where it breaks."""

    def __init__(self, path: Path) -> None:
        """Open ``path`` and read its header. Raises CaptureError."""
        self.path = path
        self._offset = 0
        try:
            self.size = path.stat().st_size
            if path.is_dir():
                raise CaptureError(f"{path}: is a directory; name the capture files in it")
            self._raw = path.open("rb")
        except OSError as error:
            raise CaptureError(f"{path}: {error.strerror or error}") from None
        try:
            compressed = self._raw.peek(2)[:2] == _GZIP
            self._file = cast("IO[bytes]", gzip.GzipFile(fileobj=self._raw) if compressed else self._raw)
            self._read_header()
        except CaptureError:
            self._raw.close()
            raise

    def __enter__(self) -> "CaptureFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    @property
    def consumed(self) -> int:
        """Bytes of the file (compressed ones, if it is compressed) read so far, for progress.

        A pipe has no position: always 0.
        """
        if self._raw.closed:
            return self.size
        return self._raw.tell() if self._raw.seekable() else 0

    def _fail(self, why: str, offset: int | None = None) -> CaptureError:
        return CaptureError(f"{self.path}: offset {self._offset if offset is None else offset}: {why}")

    def _read(self, count: int) -> bytes:
        try:
            data = self._file.read(count)
        except (OSError, EOFError, zlib.error) as error:
            raise self._fail(f"the gzip stream is damaged or cut off ({error})") from None
        self._offset += len(data)
        return data

    def _read_header(self) -> None:
        magic = self._read(4)
        if not magic:
            raise self._fail("the file is empty")
        if magic == _PCAPNG:
            raise self._fail("this is pcapng, which is not read yet; convert it with: editcap -F pcap", 0)
        if magic not in _MAGIC:
            raise self._fail(f"not a pcap file (it begins with {magic.hex(' ')})", 0)
        order, self._per_microsecond = _MAGIC[magic]
        rest = self._read(20)
        if len(rest) < 20:
            raise self._fail("the pcap file header is cut off")
        self._record = Struct(order + "IIII")
        *_, self.snaplen, link = Struct(order + "HHiIII").unpack(rest)
        self.link_type = link & 0x0FFF_FFFF  # the upper bits tell the length of an FCS
        if self.link_type != ETHERNET:
            raise self._fail(f"link type {self.link_type} is not read yet, only Ethernet (1)", 20)

    def __iter__(self) -> Iterator[Frame]:
        """The frames, clipped to the file's snap length as libpcap clips them."""
        unpack, scale = self._record.unpack, self._per_microsecond
        clip = self.snaplen if 0 < self.snaplen <= MAX_RECORD else MAX_RECORD
        while header := self._read(16):
            start = self._offset - len(header)
            if len(header) < 16:
                raise self._fail("the last record's header is cut off", start)
            seconds, fraction, captured, wire = unpack(header)
            if captured > MAX_RECORD:
                raise self._fail(f"a record claims {captured} bytes, more than {MAX_RECORD}", start)
            data = self._read(captured)
            if len(data) < captured:
                raise self._fail(f"the last record is cut off: {len(data)} of {captured} bytes", start)
            yield Frame(seconds * 1_000_000 + fraction // scale, data[:clip], wire)
