"""The record layer of one TLS connection, both directions, as one who knows its secrets reads it.

Sources: RFC 8446 (TLS 1.3) sections 4.2.10, 4.6.3, 5 and 7, appendix D.4; RFC 5246 (TLS 1.2) sections 6.2,
7.1 and 7.4; RFC 4346, RFC 2246 (TLS 1.1, 1.0).
"""

from vermilion_fingerprint.cursor import Malformed
from vermilion_fingerprint.decrypt.handshakes import (
    CLIENT_HELLO,
    FINISHED,
    KEY_UPDATE,
    SERVER_HELLO,
    Handshakes,
)
from vermilion_fingerprint.decrypt.keylog import KeyLog, Label
from vermilion_fingerprint.decrypt.protection import NotVerified, Protection, Tls13, of_master
from vermilion_fingerprint.decrypt.secrets import TLS12
from vermilion_fingerprint.decrypt.suites import SUITES, Suite
from vermilion_fingerprint.hkdf import expand_label
from vermilion_fingerprint.tls import ClientHello
from vermilion_fingerprint.tls import read_hello as read_client_hello
from vermilion_fingerprint.tls_server import ServerHello
from vermilion_fingerprint.tls_server import read_hello as read_server_hello

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA, HEARTBEAT = 20, 21, 22, 23, 24
TLS10, TLS13 = 0x0301, 0x0304
_EXT_ENCRYPT_THEN_MAC, _EXT_EARLY_DATA = 22, 42  # RFC 7366 2, RFC 8446 4.2.10
_FATAL, _CLOSE_NOTIFY = 2, 0
# RFC 8446 4.2.10: what a server does not take of early data it skips, up to a length of its own choice.
_MAX_EARLY = 1 << 24
_MAX_HANDSHAKES = 64


class Ended(Exception):
    """Nothing more of this direction can be opened. ``reason`` is None where it said so itself."""

    def __init__(self, reason: str | None) -> None:
        super().__init__(reason)
        self.reason = reason


class _Side:
    """What one end sends."""

    def __init__(self) -> None:
        self.protection: Protection | None = None
        self.messages = Handshakes()
        self.epoch = 0  # before TLS 1.3: how many handshakes have given it keys
        self.changing = False  # its next record is under the next keys, whatever it is
        self.secret = b""  # TLS 1.3: what the keys in use come from
        self.finished = False  # TLS 1.3: its handshake is done, what follows is under application keys
        self.verified = False  # a record of its has been opened
        self.early = 0  # bytes of early data passed over


def _has(hello: ClientHello | ServerHello, extension: int) -> bool:
    return any(kind == extension for kind, _ in hello.extensions)


class Session:
    """Opens records in the order of each direction; the directions may come in any order.

    ``opened`` counts records that were authentic, ``early_data`` those passed over as 0-RTT data.
    """

    def __init__(self, keys: KeyLog) -> None:
        self._keys = keys
        self._client = _Side()
        self._server = _Side()
        # Of each handshake of the connection: before TLS 1.3 there may be more than one (renegotiation).
        self._client_hellos: list[ClientHello] = []
        self._server_hellos: list[ServerHello] = []
        self._tls13: bool | None = None
        self.opened = 0
        self.early_data = 0
        self.lacks = "no_secret"

    @property
    def version(self) -> str:
        """Of the protocol, as people write it."""
        return f"1.{self._server_hellos[0].selected_version - TLS10}" if self._server_hellos else "unknown"

    def open(self, client: bool, kind: int, version: int, fragment: bytes) -> bytes | None:
        """The application data of the next record that this side sent, or nothing.

        None: it cannot be opened yet; ``lacks`` says for want of what, and it is to be given again.
        Raises Ended.
        """
        side = self._client if client else self._server
        try:
            if side.protection is None and not self._begin(side, kind):
                return None
            return self._record(side, kind, version, fragment)
        except Malformed as bad:
            raise Ended(f"malformed_{bad.field}") from None
        except NotVerified:
            raise Ended("not_verified") from None

    # RFC 8446 5: protected records look like application data; RFC 5246 7.1: a change_cipher_spec is what
    # protection begins behind.
    def _begin(self, side: _Side, kind: int) -> bool:
        """Get a side's keys when this record needs them; whether they are there, or not needed."""
        if side.changing:
            return self._change(side)
        if kind == CHANGE_CIPHER_SPEC:
            if self._tls13 is None:
                self.lacks = "no_server_hello"
            return self._tls13 is not None and (self._tls13 or self._change(side))
        if kind != APPLICATION_DATA:
            return True
        if self._tls13 is False:
            raise Ended("data_before_keys")
        return self._change(side)

    def _record(self, side: _Side, kind: int, version: int, fragment: bytes) -> bytes:
        if side.protection is None or self._unprotected(side, kind, fragment):
            return self._content(side, kind, fragment)
        if kind == CHANGE_CIPHER_SPEC and (self._tls13 or not side.verified):
            return b""  # TLS 1.3: it means nothing (D.4); before: it is the one that brought the keys
        try:
            kind, content = side.protection.open(kind, version, fragment)
        except NotVerified:
            if not self._is_early(side, fragment):
                raise
            return b""
        self.opened += 1
        side.verified = True
        if kind == CHANGE_CIPHER_SPEC and not self._tls13:
            side.protection, side.changing = None, True  # renegotiated (RFC 5246 7.4.1.1)
        return self._content(side, kind, content)

    def _unprotected(self, side: _Side, kind: int, fragment: bytes) -> bool:
        """Whether a record of TLS 1.3 is in the clear though its side has keys.

        A second ClientHello behind early data (4.2.10), and an alert of one who never had the keys.
        """
        return (
            bool(self._tls13)
            and not side.verified
            and ((kind == HANDSHAKE and fragment[:1] == bytes((CLIENT_HELLO,))) or kind == ALERT)
        )

    def _is_early(self, side: _Side, fragment: bytes) -> bool:
        """Whether what does not open may be 0-RTT data, whose keys are others (RFC 8446 4.2.10)."""
        early = side is self._client and not side.verified and _has(self._client_hellos[0], _EXT_EARLY_DATA)
        side.early += len(fragment)
        if not (early and self._tls13 and side.early <= _MAX_EARLY):
            return False
        self.early_data += 1
        return True

    def _content(self, side: _Side, kind: int, content: bytes) -> bytes:
        if kind == HANDSHAKE:
            for message, whole in side.messages.feed(content):
                self._message(side, message, whole)
        elif kind == ALERT and len(content) == 2 and (content[0] == _FATAL or content[1] == _CLOSE_NOTIFY):
            raise Ended(None)
        return content if kind == APPLICATION_DATA else b""

    def _message(self, side: _Side, kind: int, whole: bytes) -> None:
        if kind == CLIENT_HELLO and side is self._client:
            self._client_hellos.append(read_client_hello(whole))
        elif kind == SERVER_HELLO and side is self._server:
            hello = read_server_hello(whole)
            if not hello.retry:
                self._server_hellos.append(hello)
            self._tls13 = hello.selected_version >= TLS13 or hello.retry
        elif self._tls13 and kind == FINISHED and side.protection is not None and not side.finished:
            side.finished, side.protection = True, None
        elif self._tls13 and kind == KEY_UPDATE and side.finished:
            # RFC 8446 4.6.3, 7.2
            digest = self._suite(self._server_hellos[0]).digest
            side.secret = expand_label(digest.name, side.secret, "traffic upd", digest.digest_size)
            side.protection = Tls13(self._suite(self._server_hellos[0]), side.secret)
        if max(len(self._client_hellos), len(self._server_hellos)) > _MAX_HANDSHAKES:
            raise Ended("renegotiated")

    def _suite(self, hello: ServerHello) -> Suite:
        suite = SUITES.get(hello.cipher_suite)
        if suite is None or (self._tls13 and suite.mac is not None):
            raise Ended("cipher_suite")
        if not TLS10 <= hello.selected_version <= TLS13:
            raise Ended("version")
        return suite

    def _change(self, side: _Side) -> bool:
        """Give a side its next keys; whether what they come from is there. Raises Ended."""
        for lacking, hellos in (
            ("no_server_hello", self._server_hellos),
            ("no_client_hello", self._client_hellos),
        ):
            if len(hellos) <= side.epoch:
                self.lacks = lacking
                return False
        client, server = self._client_hellos[side.epoch], self._server_hellos[side.epoch]
        suite = self._suite(server)
        secret = self._keys.secret(client.random, self._label(side))
        if secret is None:
            self.lacks = "no_secret"
            return False
        if self._tls13:
            if len(secret) != suite.digest.digest_size:
                raise Ended("not_verified")
            side.secret, side.protection = secret, Tls13(suite, secret)
            return True
        if server.compression_method:
            raise Ended("compression")
        side.epoch, side.changing = side.epoch + 1, False
        side.protection = of_master(
            suite, min(server.selected_version, TLS12), secret, (client.random, server.random),
            client=side is self._client, encrypt_then_mac=_has(server, _EXT_ENCRYPT_THEN_MAC),
        )  # fmt: skip
        return True

    def _label(self, side: _Side) -> Label:
        if not self._tls13:
            return Label.MASTER
        if side is self._client:
            return Label.CLIENT_TRAFFIC if side.finished else Label.CLIENT_HANDSHAKE
        return Label.SERVER_TRAFFIC if side.finished else Label.SERVER_HANDSHAKE
