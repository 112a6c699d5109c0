"""HTTP/2's header blocks (RFC 9113 sections 4 and 6), decompressed by ``hpack`` (RFC 7541).

Frames that carry none are passed over as they come, and nothing of them is kept. One header block that
cannot be read leaves the compression's state unknown, so it ends the direction.
"""

import logging
from collections.abc import Iterator

from hpack import Decoder
from hpack.exceptions import HPACKError

from vermilion_fingerprint.cursor import Malformed
from vermilion_fingerprint.decrypt.messages import Http2

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113 3.4
_HEADER = 9
_HEADERS, _SETTINGS, _PUSH_PROMISE, _CONTINUATION = 1, 4, 5, 9
_ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x4, 0x8, 0x20
_MAX_BLOCK = 1 << 16  # bytes of a header block, as sent
_MAX_FRAMES = 64  # CONTINUATIONs of one block: more than 64 KiB can need, but for empty ones
_MAX_LIST = 1 << 16  # bytes of its fields, decompressed, by RFC 7541 4.1
# A dynamic table is as large as its encoder says (RFC 7541 6.3), up to what the peer allowed; browsers
# allow 64 KiB.
_MAX_TABLE = 1 << 16
_ENTRY = 32  # RFC 7541 4.1: what an entry costs beside its bytes; in Python, four times that


def may_be_settings(data: bytes) -> bool:
    """Whether the bytes can begin a server's connection preface, a SETTINGS frame (RFC 9113 3.4, 6.5)."""
    shape = data[:_HEADER]
    return (
        shape[:1] in (b"", b"\0")
        and shape[3:4] in (b"", bytes((_SETTINGS,)))
        and shape[4:5] in (b"", b"\0", bytes((_ACK,)))
        and not shape[5:].strip(b"\0")
        and (len(shape) < 3 or int.from_bytes(shape[:3], "big") % 6 == 0)
    )


class FrameReader:
    """One direction's frames, from behind the client's preface on."""

    def __init__(self, *, server: bool) -> None:
        # At its level "debug" hpack logs every field that it decodes.
        logging.getLogger("hpack").setLevel(logging.WARNING)
        self._decoder = Decoder(max_header_list_size=_MAX_LIST)
        self._decoder.max_allowed_table_size = _MAX_TABLE
        self._server = server
        self._data = b""
        self._at = 0 if server else len(PREFACE)  # where ``_data`` begins in the direction
        self._absent = 0
        self._table = 0
        self._clear()

    def _clear(self) -> None:
        self._block: list[bytes] = []
        self._size, self._begin, self._stream = 0, 0, 0
        self._promised: int | None = None

    @property
    def cost(self) -> int:
        """Bytes in memory, about."""
        return len(self._data) + self._size + 4 * min(self._table, self._decoder.header_table_size)

    @property
    def waiting(self) -> int:
        """Bytes of a header block that is not complete."""
        return self._at + len(self._data) - self._begin if self._block else len(self._data)

    def feed(self, data: bytes) -> Iterator[Http2]:
        """The header blocks that are complete now. Raises Malformed."""
        self._data += data
        while True:
            passed = min(self._absent, len(self._data))
            self._step(passed)
            self._absent -= passed
            if self._absent or len(self._data) < _HEADER:
                return
            length, kind = int.from_bytes(self._data[:3], "big"), self._data[3]
            # RFC 9113 4.3: a block's frames come one behind the other.
            if self._block and kind != _CONTINUATION:
                raise Malformed(self._at + 3, "type", "another frame within a header block")
            if kind not in (_HEADERS, _PUSH_PROMISE, _CONTINUATION):
                self._absent = _HEADER + length
                continue
            if self._size + length > _MAX_BLOCK:
                raise Malformed(self._at, "length", f"a header block of more than {_MAX_BLOCK} bytes")
            if len(self._data) < _HEADER + length:
                return
            flags, stream = self._data[4], int.from_bytes(self._data[5:_HEADER], "big") & 0x7FFFFFFF
            self._frame(kind, flags, stream, self._data[_HEADER : _HEADER + length])
            self._step(_HEADER + length)
            if flags & _END_HEADERS:
                yield self._decode()

    def _step(self, count: int) -> None:
        self._data = self._data[count:]
        self._at += count

    # RFC 9113 6.2, 6.6, 6.10
    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if stream == 0 or (kind == _CONTINUATION and (not self._block or stream != self._stream)):
            raise Malformed(self._at + 5, "stream_identifier", f"stream {stream} for a frame of type {kind}")
        if len(self._block) >= _MAX_FRAMES:
            raise Malformed(self._at, "type", f"a header block of more than {_MAX_FRAMES} frames")
        if kind != _CONTINUATION:
            self._begin, self._stream = self._at, stream
            padding = 0
            if flags & _PADDED:
                padding, payload = payload[0] if payload else 256, payload[1:]
            fixed = 4 if kind == _PUSH_PROMISE else 5 if flags & _PRIORITY else 0
            if padding + fixed > len(payload):
                raise Malformed(self._at + _HEADER, "pad_length", f"more than {len(payload)} bytes")
            if kind == _PUSH_PROMISE:
                self._promised = int.from_bytes(payload[:4], "big") & 0x7FFFFFFF
            payload = payload[fixed : len(payload) - padding]
        self._block.append(payload)
        self._size += len(payload)

    def _decode(self) -> Http2:
        try:
            # raw: bytes, since a field may be no UTF-8
            fields = [
                (bytes(name), bytes(value))
                for name, value in self._decoder.decode(b"".join(self._block), raw=True)
            ]
        except HPACKError as error:
            raise Malformed(self._begin, "field_block", type(error).__name__) from None
        self._table += sum(len(name) + len(value) + _ENTRY for name, value in fields)
        self._table = min(self._table, _MAX_TABLE)
        block = Http2(self._begin, self._at, self._stream, self._promised, fields, server=self._server)
        self._clear()
        return block
