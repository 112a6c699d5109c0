"""STARTTLS: what is said in the clear before a TLS handshake on the same connection.

Sources: RFC 3207 (SMTP, LMTP), RFC 9051 section 6.2.1 (IMAP), RFC 2595 section 4 (POP3), RFC 4217
section 4 (FTP), RFC 4642 section 2.2 (NNTP), and PostgreSQL's message formats (SSLRequest).

It has no fingerprint: it leads to the hello behind it. One direction does not see the other, so a
client is followed to its request, and a server to the reply that something other than text follows.
"""

import re
from collections.abc import Mapping
from typing import Any

from vermilion_fingerprint.cursor import Cursor, Malformed, NeedMore

# No dialogue before TLS is so long; FTP's welcome and its list of features are the longest.
_MOST = 8192
# RFC 5321 4.5.3.1.5: 512 bytes a reply line, the longest of all of them.
_FIRST_LINE = 512

_NO_TEXT = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

# How a client begins that may ask for TLS. IMAP's commands have a tag before them.
_CLIENT = re.compile(
    rb"(?i)(?:(?:EHLO|HELO|LHLO|HOST) |(?:CAPA|CAPABILITIES|FEAT|SYST|NOOP|HELP|MODE READER|STLS)\s*$"
    rb"|AUTH +(?:TLS|SSL)|(?:[!-~]{1,64} +)?(?:CAPABILITY|ID\b.*|NOOP|STARTTLS)\s*$)"
)
_REQUEST = re.compile(rb"(?i)(?:(?:[!-~]{1,64} +)?STARTTLS|STLS|AUTH +(?:TLS|SSL)(?:-[CP])?)\s*$")
# After these a client goes on in the clear.
_GOES_ON = re.compile(
    rb"(?i)(?:MAIL|RCPT|DATA|BDAT|USER|PASS|APOP|GROUP|POST|AUTH(?:INFO)?) "
    rb"|[!-~]{1,64} +(?:LOGIN|AUTHENTICATE) "
)

# SMTP, FTP; NNTP; IMAP; POP3.
_SERVER = re.compile(rb"220[ -]|20[01] |\* OK\b|\+OK\b")
_READY = re.compile(rb"(?:220|234|334|382) |(?i:[!-~]{1,64} OK\b)|\+OK\b")

# Length 8 and the code 80877103; the server's "S" says yes.
_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
_WILLING = b"S"
# The content types that a TLS stream begins with (RFC 8446 5.1): alert, handshake.
_RECORD = (b"\x15", b"\x16")


class Upgrade:
    """The text before a handshake, and the request or the reply that ends it."""

    begin = 0
    truncated = False

    def __init__(self, end: int, followed_by: tuple[str, ...]) -> None:
        """``end``: where in the stream the handshake begins."""
        self.end = end
        self.followed_by = followed_by

    def step_over(self, stream: Cursor, final: bool = False) -> tuple[int, bool]:
        """All of it."""
        return self.end, True

    def context(self) -> Mapping[str, Any] | None:
        """Nothing: there is no event."""
        return None

    def readable(self) -> Any:
        """Nothing: there is no event."""
        return None


def matches(stream: Cursor) -> bool:
    """Whether the stream begins with text that leads to TLS. Raises NeedMore."""
    return _upgrade(stream.data) is not None


def parse(stream: Cursor, final: bool = False) -> Upgrade:
    """The text at the start of the stream. Raises NeedMore (never when ``final``) and Malformed."""
    try:
        found = _upgrade(stream.data)
    except NeedMore:
        if not final:
            raise
        found = None
    if found is None:
        raise Malformed(0, "STARTTLS", "nobody asks for TLS")
    return found


def _upgrade(data: bytes) -> Upgrade | None:
    for whole, follower in ((_SSL_REQUEST, "tls"), (_WILLING, "tls_server")):
        if data and whole.startswith(data):
            raise NeedMore(len(whole) + 1)
        if data.startswith(whole) and data.startswith(_RECORD, len(whole)):
            return Upgrade(len(whole), (follower,))
    at = data.find(b"\n") + 1
    first = data[: at or _FIRST_LINE + 1]
    if len(first) > _FIRST_LINE or _NO_TEXT.search(first):
        return None
    if not at:
        raise NeedMore(len(data) + 1)
    if _CLIENT.match(first):
        return _request(data)
    return _reply(data, at) if _SERVER.match(first) else None


def _request(data: bytes) -> Upgrade | None:
    """To behind a client's request."""
    at = 0
    while feed := data.find(b"\n", at, _MOST) + 1:
        line, at = data[at:feed], feed
        if _REQUEST.match(line):
            # RFC 3207 4, RFC 4217 4: a server that cannot or will not is asked otherwise, or in the clear.
            return Upgrade(at, ("tls", "starttls"))
        if _GOES_ON.match(line) or _NO_TEXT.search(line):
            return None
    _wait(data)
    return None


def _reply(data: bytes, at: int) -> Upgrade | None:
    """To behind the server's reply that a record of TLS follows; the greeting ends ``at``."""
    while feed := data.find(b"\n", at, _MOST) + 1:
        line, at = data[at:feed], feed
        if _READY.match(line):
            if len(data) == at:
                raise NeedMore(at + 1)
            if data.startswith(_RECORD, at):
                return Upgrade(at, ("tls_server",))
        if _NO_TEXT.search(line):
            return None
    _wait(data)
    return None


def _wait(data: bytes) -> None:
    """Raise NeedMore, unless it has been too much already."""
    if len(data) < _MOST:
        raise NeedMore(len(data) + 1)
