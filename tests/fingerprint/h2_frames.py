"""HTTP/2 frames for tests (RFC 9113)."""

from __future__ import annotations

from hpack import Encoder

from vermilion_fingerprint.decrypt.http2 import PREFACE

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
END_HEADERS, PADDED, PRIORITISED = 0x4, 0x8, 0x20
Fields = list[tuple[str, str]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")
    return head + payload


def request(path: str, *more: tuple[str, str]) -> Fields:
    """A request's fields."""
    return [
        (":method", "GET"), (":scheme", "https"), (":authority", "www.example.com"), (":path", path),
        ("user-agent", "test"), *more,
    ]  # fmt: skip


def response(*more: tuple[str, str]) -> Fields:
    """A response's fields."""
    return [(":status", "200"), ("server", "test"), *more]


class Speaker:
    """One end, with its compressor."""

    def __init__(self) -> None:
        self.encoder = Encoder()

    def block(self, fields: Fields) -> bytes:
        """A header block's bytes."""
        return bytes(self.encoder.encode(fields))

    def headers(self, stream: int, fields: Fields) -> bytes:
        """It as one frame."""
        return frame(HEADERS, END_HEADERS, stream, self.block(fields))

    def continued(self, stream: int, fields: Fields, size: int = 20) -> bytes:
        """It in frames of so many bytes, the first padded and with a priority."""
        block = self.block(fields)
        parts = [block[i : i + size] for i in range(0, len(block), size)]
        assert len(parts) > 1
        first = bytes((7,)) + bytes(4) + b"\x10" + parts[0] + bytes(7)
        out = frame(HEADERS, PADDED | PRIORITISED, stream, first)
        for part in parts[1:-1]:
            out += frame(CONTINUATION, 0, stream, part)
        return out + frame(CONTINUATION, END_HEADERS, stream, parts[-1])

    def pushed(self, stream: int, promised: int, fields: Fields) -> bytes:
        """It in a PUSH_PROMISE, padded."""
        payload = bytes((2,)) + promised.to_bytes(4, "big") + self.block(fields) + bytes(2)
        return frame(PUSH_PROMISE, END_HEADERS | PADDED, stream, payload)


def table_size(size: int) -> bytes:
    """A SETTINGS frame that says SETTINGS_HEADER_TABLE_SIZE."""
    return frame(SETTINGS, 0, 0, (1).to_bytes(2, "big") + size.to_bytes(4, "big"))


HELLO, HELLO_SERVER = PREFACE + table_size(65536), table_size(4096)
ACK = frame(SETTINGS, 1, 0)
