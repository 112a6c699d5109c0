"""What a record layer must hear of a handshake: both hellos, and which messages change keys.

Sources: RFC 8446 section 4, RFC 5246 section 7.4. Messages of other types are passed over, whatever their
length; a hello is kept until it is whole.
"""

from collections.abc import Iterator

from vermilion_fingerprint.cursor import Malformed

CLIENT_HELLO, SERVER_HELLO, FINISHED, KEY_UPDATE = 1, 2, 20, 24
_WANTED = {CLIENT_HELLO, SERVER_HELLO}
_HEADER = 4
_MAX_HELLO = 1 << 17  # a ClientHello may fill its extensions (RFC 8446 4.1.2), and a little before


class Handshakes:
    """The messages of one direction, cut out of its handshake records."""

    def __init__(self) -> None:
        self._data = b""
        self._passing, self._absent = 0, 0  # the message that is being passed over, and what it lacks

    def feed(self, fragment: bytes) -> Iterator[tuple[int, bytes]]:
        """Each message that ends in the fragment: its type, and a hello itself, header and body.

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
            message, data = data[: _HEADER + length], data[_HEADER + length :]
            yield kind, message
        self._data = data
