"""DTLS's records and handshake fragments for tests, made from RFC 6347 and RFC 9147."""

from fingerprint.hellos import u16s, vector

DTLS10, DTLS12, DTLS13 = 0xFEFF, 0xFEFD, 0xFEFC


def client_hello(
    suites: bytes = u16s(0xC02F), extensions: bytes = b"", version: int = DTLS12, cookie: bytes = b""
) -> bytes:
    """A ClientHello's body."""
    body = u16s(version) + bytes(32) + vector(b"", 1) + vector(cookie, 1) + vector(suites, 2)
    return body + vector(b"\0", 1) + vector(extensions, 2)


def server_hello(suite: int = 0xC02F, extensions: bytes = b"", version: int = DTLS12) -> bytes:
    """A ServerHello's body."""
    return u16s(version) + bytes(32) + vector(b"", 1) + u16s(suite) + b"\0" + vector(extensions, 2)


def fragment(body: bytes, begin: int = 0, end: int | None = None, *, kind: int = 1, number: int = 0) -> bytes:
    """A fragment of a handshake message."""
    part = body[begin:end]
    head = bytes([kind]) + len(body).to_bytes(3, "big") + u16s(number)
    return head + begin.to_bytes(3, "big") + vector(part, 3)


def dtls_record(content: bytes, *, kind: int = 22, epoch: int = 0, version: int = DTLS12) -> bytes:
    """A record."""
    return bytes([kind]) + u16s(version, epoch) + bytes(6) + vector(content, 2)


FINISHED = dtls_record(bytes(40), epoch=1)
