"""Parsers for Python programmers: bytes in, a message with its fingerprint out."""

from dataclasses import dataclass

from vermilion_fingerprint import tls
from vermilion_fingerprint.cursor import Cursor, Malformed


@dataclass(frozen=True, slots=True)
class TLS:
    """A TLS ClientHello."""

    fingerprint: str
    """``(version)(cipher suites)((extension)...)`` in hex, GREASE values as 0a0a."""
    server_name: str | None
    """The host name that the client asked for, if it told one."""
    version: int
    """legacy_version: 0x0303 is TLS 1.2, and what TLS 1.3 writes there too."""
    cipher_suites: tuple[int, ...]
    """Code points in the order offered."""
    extensions: tuple[tuple[int, bytes], ...]
    """Type and body in the order sent."""

    @classmethod
    def parse(cls, stream: bytes) -> "TLS":
        """The ClientHello at the start of ``stream``, what a TCP client sent, record header first.

        Raises NeedMore when ``stream`` is only its beginning (``.total`` bytes are needed at
        least), Malformed when it is no ClientHello (``.offset``, ``.field``, ``.reason``).
        """
        if not tls.matches(Cursor(stream)):
            raise Malformed(0, "TLSPlaintext", "no record that begins a ClientHello")
        hello = tls.parse(Cursor(stream))
        if hello.truncated:
            raise Malformed(hello.end, "ClientHello", "interrupted by a record of another type")
        return cls(
            tls.fingerprint(hello),
            hello.server_name,
            hello.version,
            tuple(hello.cipher_suites),
            tuple(hello.extensions),
        )
