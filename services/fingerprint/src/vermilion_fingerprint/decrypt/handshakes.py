"""What a record layer must know of a handshake: both hellos, and which messages change keys.

Sources: RFC 8446 section 4, RFC 5246 section 7.4, RFC 7366 section 2. Messages of other types are passed
over, whatever their length; one that is wanted is kept until it is whole.
"""

from collections.abc import Iterator
from typing import NamedTuple

from vermilion_fingerprint.cursor import Cursor, Malformed

CLIENT_HELLO, SERVER_HELLO, FINISHED, KEY_UPDATE = 1, 2, 20, 24
_WANTED = {CLIENT_HELLO, SERVER_HELLO}
_HEADER = 4
_MAX_HELLO = 1 << 17  # a ClientHello may fill its extensions (RFC 8446 4.1.2), and a little before
_EXT_ENCRYPT_THEN_MAC, _EXT_EARLY_DATA, _EXT_SUPPORTED_VERSIONS = 22, 42, 43
# RFC 8446 4.1.3: SHA-256 of "HelloRetryRequest".
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


class ClientHello(NamedTuple):
    """What of it the keys depend on."""

    random: bytes
    early_data: bool


class ServerHello(NamedTuple):
    """What of it the keys depend on; ``retry``: it is a HelloRetryRequest."""

    random: bytes
    version: int
    suite: int
    compression: int
    encrypt_then_mac: bool
    retry: bool


def _start(message: Cursor) -> tuple[int, bytes]:
    # RFC 8446 4.1.2, 4.1.3; RFC 5246 7.4.1.2, 7.4.1.3
    version = message.read_u16("legacy_version")
    random = message.read_bytes(32, "random")
    message.read_bytes(message.read_u8("session_id"), "session_id")
    return version, random


def _extensions(message: Cursor) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    if message.position == message.limit:
        return found
    extensions = message.read_sub(message.read_u16("extensions"), "extensions")
    while extensions.position < extensions.limit:
        kind = extensions.read_u16("extension_type")
        found[kind] = extensions.read_bytes(extensions.read_u16("extension_data"), "extension_data")
    return found


def client_hello(body: bytes) -> ClientHello:
    """A ClientHello's body. Raises Malformed."""
    message = Cursor(body, len(body))
    _, random = _start(message)
    message.read_bytes(message.read_u16("cipher_suites"), "cipher_suites")
    message.read_bytes(message.read_u8("compression_methods"), "compression_methods")
    return ClientHello(random, _EXT_EARLY_DATA in _extensions(message))


def server_hello(body: bytes) -> ServerHello:
    """A ServerHello's body. Raises Malformed."""
    message = Cursor(body, len(body))
    version, random = _start(message)
    suite = message.read_u16("cipher_suite")
    compression = message.read_u8("compression_method")
    extensions = _extensions(message)
    selected = extensions.get(_EXT_SUPPORTED_VERSIONS)
    if selected is not None:
        version = Cursor(selected, len(selected)).read_u16("selected_version")
    return ServerHello(
        random, version, suite, compression, _EXT_ENCRYPT_THEN_MAC in extensions, random == _RETRY
    )


class Handshakes:
    """The messages of one direction, cut out of its handshake records."""

    def __init__(self) -> None:
        self._data = b""
        self._passing, self._absent = 0, 0  # the message that is being passed over, and what it lacks

    def feed(self, fragment: bytes) -> Iterator[tuple[int, bytes]]:
        """Each message that ends in the fragment: its type, and its body where that is wanted.

        Raises Malformed.
        """
        data = self._data + fragment
        while True:
            if self._absent:
                passed = min(self._absent, len(data))
                data, self._absent = data[passed:], self._absent - passed
                if self._absent:
                    break
                yield self._passing, b""
            if len(data) < _HEADER:
                break
            kind, length = data[0], int.from_bytes(data[1:_HEADER], "big")
            if kind not in _WANTED:
                self._passing, self._absent = kind, _HEADER + length
                continue
            if length > _MAX_HELLO:
                raise Malformed(1, "length", f"a hello of {length} bytes")
            if len(data) < _HEADER + length:
                break
            body, data = data[_HEADER : _HEADER + length], data[_HEADER + length :]
            yield kind, body
        self._data = data
