"""Parsers for Python programmers: bytes in, a message with its fingerprint out."""

from collections.abc import Iterable
from dataclasses import dataclass

from vermilion_fingerprint import quic, tls
from vermilion_fingerprint.cursor import Cursor, Malformed, NeedMore

_LONGEST = 1 << 16


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


@dataclass(frozen=True, slots=True)
class QUIC:
    """A ClientHello in QUIC."""

    fingerprint: str
    """``quic/(QUIC version)(version)(cipher suites)[(extension)...]`` in hex, extensions sorted."""
    ja4: str
    server_name: str | None
    """The host name that the client asked for, if it told one."""
    version: str
    """Of QUIC: 1, 2, or draft-29 to draft-34."""
    cipher_suites: tuple[int, ...]
    """Code points in the order offered."""
    extensions: tuple[tuple[int, bytes], ...]
    """Type and body in the order sent."""

    @classmethod
    def parse(cls, datagrams: Iterable[bytes]) -> "QUIC":
        """The first ClientHello in what a client sent, its UDP payloads in any order, decrypted.

        Raises NeedMore when it is not complete in them (``.total`` bytes of payloads are needed at
        least), Malformed when nothing in them can be decrypted, or what is there is no ClientHello.
        """
        connection, size = quic.Connection(_LONGEST), 0
        for datagram in datagrams:
            size += len(datagram)
            for message in connection.take(datagram, 0, 0):
                hello = message.hello
                return cls(
                    quic.fingerprint(message),
                    quic.ja4(message),
                    hello.server_name,
                    message.context()["version"],
                    tuple(hello.cipher_suites),
                    tuple(hello.extensions),
                )
        if not connection.one_sided:
            raise Malformed(0, "Initial", "no packet that is a client's first")
        for metric, *labels in connection.counts:
            if metric == "parse_errors":
                raise Malformed(0, labels[1], "what was decrypted is no ClientHello")
        raise NeedMore(size + 1)
