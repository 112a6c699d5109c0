"""NSS key logs: the secrets of TLS connections, by the ClientHello's random.

Source: the SSLKEYLOGFILE format (draft-ietf-tls-keylogfile) section 2: a line is a label, the random and a
secret, both in hex. Nothing here shows a secret: no text of an object, no error, no log has one.
"""

import re
from enum import IntEnum
from typing import Final

MAX_CONNECTIONS: Final = 100_000
MAX_LINE: Final = 512


class Label(IntEnum):
    """What a secret is for."""

    MASTER = 0
    CLIENT_HANDSHAKE = 1
    SERVER_HANDSHAKE = 2
    CLIENT_TRAFFIC = 3
    SERVER_TRAFFIC = 4


_LABELS = {
    b"CLIENT_RANDOM": Label.MASTER,  # TLS 1.2 and older: the master secret
    b"CLIENT_HANDSHAKE_TRAFFIC_SECRET": Label.CLIENT_HANDSHAKE,
    b"SERVER_HANDSHAKE_TRAFFIC_SECRET": Label.SERVER_HANDSHAKE,
    b"CLIENT_TRAFFIC_SECRET_0": Label.CLIENT_TRAFFIC,
    b"SERVER_TRAFFIC_SECRET_0": Label.SERVER_TRAFFIC,
}
_MASTER_SIZE = 48  # RFC 5246 8.1
_TRAFFIC_SIZES = (32, 48)  # RFC 8446 7.1: the output of SHA-256 or SHA-384
_LINE = re.compile(rb"([A-Z][A-Z0-9_]*) ([0-9A-Fa-f]{64}) ((?:[0-9A-Fa-f]{2})+)")
# Labels that are known and of no use here: 0-RTT data, exporters, ECH, older forms.
_IGNORED = re.compile(
    rb"(?:CLIENT_EARLY_|EARLY_EXPORTER_|EXPORTER_|ECH_|(?:CLIENT|SERVER)_TRAFFIC_SECRET_)\w+"
)


class KeyLog:
    """The secrets of up to ``most`` connections; of more, the oldest are forgotten.

    ``lines`` counts what was read: ``secret``, ``ignored`` (of no use here) and ``garbage``;
    ``forgotten`` the connections whose secrets there was no room for.
    """

    def __init__(self, most: int = MAX_CONNECTIONS) -> None:
        self._most = most
        self._secrets: dict[bytes, list[bytes | None]] = {}
        self.lines = {"secret": 0, "ignored": 0, "garbage": 0}
        self.forgotten = 0

    @property
    def connections(self) -> int:
        """Of how many connections there are secrets."""
        return len(self._secrets)

    def add(self, line: bytes) -> None:
        """Take one line, without its end. An empty one and a comment count for nothing."""
        line = line.strip()
        if line and not line.startswith(b"#"):
            self.lines[self._take(line)] += 1

    def _take(self, line: bytes) -> str:
        found = _LINE.fullmatch(line) if len(line) <= MAX_LINE else None
        if found is None:
            return "garbage"
        label = _LABELS.get(found[1])
        if label is None:
            return "ignored" if _IGNORED.fullmatch(found[1]) else "garbage"
        random, secret = bytes.fromhex(found[2].decode()), bytes.fromhex(found[3].decode())
        if len(secret) not in ((_MASTER_SIZE,) if label is Label.MASTER else _TRAFFIC_SIZES):
            return "garbage"
        known = self._secrets.get(random)
        if known is None:
            if len(self._secrets) >= self._most:
                del self._secrets[next(iter(self._secrets))]
                self.forgotten += 1
            known = self._secrets[random] = [None] * len(Label)
        known[label] = secret
        return "secret"

    def secret(self, random: bytes, label: Label) -> bytes | None:
        """A secret of the connection whose ClientHello has ``random``; None when the log has none."""
        known = self._secrets.get(random)
        return known[label] if known is not None else None
