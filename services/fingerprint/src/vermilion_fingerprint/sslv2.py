"""SSLv2's CLIENT-HELLO, which old clients send even where they mean SSL 3.0 or TLS.

Source: RFC 5246 appendix E.2 (the compatible hello); its version 0x0002 is SSL 2.0 itself, which RFC
6176 forbids. The server answers a compatible hello in TLS records.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from vermilion_fingerprint import tls_readable
from vermilion_fingerprint.cursor import Cursor, Malformed, NeedMore

_CLIENT_HELLO = 1
_SSL2 = 0x0002
_HEADER = 11  # msg_length to challenge_length
_CHALLENGE = range(16, 33)
_SESSION_ID = (0, 16)
_SPEC = 3  # bytes of a cipher spec


class CompatibleHello(NamedTuple):
    """An SSLv2 CLIENT-HELLO: its ``version`` and ``cipher_specs`` (three bytes each), in order."""

    version: int
    cipher_specs: tuple[int, ...]
    end: int
    truncated: bool = False
    begin: int = 0
    followed_by: tuple[str, ...] = ()

    def step_over(self, stream: Cursor, final: bool = False) -> tuple[int, bool]:
        """Nothing is sought behind it."""
        return self.end, True

    def context(self) -> Mapping[str, Any] | None:
        """Nothing beside the fingerprint: it has no extensions."""
        return None

    def readable(self) -> dict[str, Any]:
        """``version`` and ``cipher_specs``; those of SSL 2.0, which IANA does not name, in hex."""
        names = [
            tls_readable.cipher_suite(spec) if spec <= 0xFFFF else f"{spec:06x}" for spec in self.cipher_specs
        ]
        return {"version": tls_readable.version(self.version), "cipher_specs": names}


def matches(stream: Cursor) -> bool:
    """Whether the stream begins with such a hello. Raises NeedMore."""
    head = stream.data[:_HEADER]
    if not _may_begin(head):
        return False
    if len(head) < _HEADER:
        raise NeedMore(_HEADER)
    try:
        _lengths(Cursor(head))
    except Malformed:
        return False
    return True


def _may_begin(head: bytes) -> bool:
    version = head[3:5]
    return (
        (not head or head[0] >= 0x80)
        and head[2:3] in (b"", b"\x01")
        and (version[:1] in (b"", b"\x03") or b"\x00\x02".startswith(version))
    )


def _lengths(stream: Cursor) -> tuple[int, int, int, int, int]:
    """Version, and the lengths of the specs, the session id and the challenge; where the hello ends."""
    length = stream.read_u16("msg_length") & 0x7FFF
    if stream.read_u8("msg_type") != _CLIENT_HELLO:
        raise Malformed(2, "msg_type", "no CLIENT-HELLO")
    version = stream.read_u16("version")
    if version != _SSL2 and version >> 8 != 3:
        raise Malformed(3, "version", f"0x{version:04x} is neither SSL nor TLS")
    specs = stream.read_u16("cipher_spec_length")
    if specs == 0 or specs % _SPEC:
        raise Malformed(5, "cipher_spec_length", f"{specs} bytes, not whole specs")
    session = stream.read_u16("session_id_length")
    if session not in _SESSION_ID:
        raise Malformed(7, "session_id_length", f"{session} bytes, 0 or 16")
    challenge = stream.read_u16("challenge_length")
    if challenge not in _CHALLENGE:
        raise Malformed(9, "challenge_length", f"{challenge} bytes, 16 to 32")
    if length != _HEADER - 2 + specs + session + challenge:
        raise Malformed(0, "msg_length", f"{length} bytes, not the sum of its parts")
    return version, specs, session, challenge, length + 2


def parse(stream: Cursor, final: bool = False) -> CompatibleHello:
    """The hello at the start of the stream.

    ``final``: nothing will follow; what is cut off is told, ``truncated``, when its cipher specs are
    complete. Raises NeedMore (never when ``final``) and Malformed.
    """
    try:
        version, specs, _, _, end = _lengths(stream)
        raw = stream.read_bytes(specs, "cipher_specs")
        if stream.available < end and not final:
            raise NeedMore(end)
    except NeedMore:
        if not final:
            raise
        raise Malformed(stream.available, "CLIENT-HELLO", "ends before its cipher specs do") from None
    listed = tuple(int.from_bytes(raw[i : i + _SPEC], "big") for i in range(0, specs, _SPEC))
    return CompatibleHello(version, listed, min(end, stream.available), stream.available < end)


def fingerprint(hello: CompatibleHello) -> str:
    """``(version)(cipher specs)``, in wire order; no peer has a string for it."""
    return f"({hello.version:04x})({''.join(f'{spec:06x}' for spec in hello.cipher_specs)})"
