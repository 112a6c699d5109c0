"""Sees through gzip and zstd, a piece at a time, in bounded memory.

Sources: RFC 1952 (gzip: members one after the other), RFC 8878 (zstd: frames one after the other,
skippable ones among them).
"""

import sys
import zlib
from collections.abc import Callable, Iterator

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Bytes of a piece, read or unpacked.
PIECE = 256 * 1024
# As far as the zstd command itself goes unasked: frames may look back 128 MiB, which is then held.
_ZSTD_WINDOW_LOG = 27

Unpack = Callable[[Iterator[bytes]], Iterator[bytes]]


class DamagedStream(Exception):
    """A compressed stream that is broken or ends too early; says which and why."""


def decompressor(head: bytes) -> Unpack | None:
    """What unpacks a file that begins with ``head`` (four bytes); None when it is not compressed."""
    if head.startswith(b"\x1f\x8b"):
        return _gzip
    # RFC 8878 3.1.1 and 3.1.2: a frame, or one of the sixteen magic numbers of skippable frames
    if head == b"\x28\xb5\x2f\xfd" or (head[1:] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return _zstd
    return None


def _gzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """RFC 1952 2.2: members follow one another; zeros may pad what comes before and after them."""
    data = b""
    while data := data or next(pieces, b""):
        data = data.lstrip(b"\0")
        if not data:
            continue
        member = zlib.decompressobj(16 + zlib.MAX_WBITS)
        while not member.eof:
            ended = not (data := data or next(pieces, b""))
            try:
                out = member.decompress(data, PIECE)
            except zlib.error as error:
                raise DamagedStream(f"the gzip stream is damaged ({error})") from None
            data = member.unconsumed_tail
            if out:
                yield out
            elif ended and not member.eof:
                raise DamagedStream("the gzip stream is cut off")
        data = member.unused_data


def _zstd(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """RFC 8878 3.1: frames follow one another."""
    data = b""
    while data := data or next(pieces, b""):
        frame = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})
        while not frame.eof:
            if frame.needs_input and not (data := data or next(pieces, b"")):
                raise DamagedStream("the zstd stream is cut off")
            try:
                out = frame.decompress(data, PIECE)
            except zstd.ZstdError as error:
                if "too much memory" in str(error):
                    why = "looks back more than 128 MiB; unpack it first: zstd -d --long=31"
                else:
                    why = f"is damaged ({error})"
                raise DamagedStream(f"the zstd stream {why}") from None
            data = b""
            if out:
                yield out
        data = frame.unused_data
