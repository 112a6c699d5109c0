"""The protection of QUIC's Initial packets, which whoever sees a connection begin can lift.

Their keys follow from the version and from the Destination Connection ID of the client's first
Initial packet. Sources: RFC 9001 sections 5.2 to 5.4 (version 1), RFC 9369 section 3.3 (version 2),
RFC 9000 section 17.1 and appendix A.3 (packet numbers), RFC 5869 (HKDF).
"""

import hmac
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from vermilion_fingerprint.hkdf import expand_label

INITIAL, ZERO_RTT, HANDSHAKE, RETRY = "Initial", "0-RTT", "Handshake", "Retry"

_HASH = "sha256"  # RFC 9001 5.2
_TAG = 16
_SAMPLE_AT = 4  # RFC 9001 5.4.2: as if the packet number had four bytes


class Version(NamedTuple):
    """What Initial packets of a version differ by."""

    name: str
    salt: bytes
    """RFC 9001 5.2: initial_salt."""
    label: str = "quic"
    """What the labels of its keys begin with."""
    types: tuple[str, ...] = (INITIAL, ZERO_RTT, HANDSHAKE, RETRY)
    """Long packet types by their number (RFC 9000 17.2)."""


_SALT_29 = bytes.fromhex("afbfec289993d24c9e9786f19c6111e04390a899")
_SALT_1 = bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")
_SALT_2 = bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9")

VERSIONS = {
    0x00000001: Version("1", _SALT_1),
    # RFC 9369 3.2: other numbers for the same types.
    0x6B3343CF: Version("2", _SALT_2, "quicv2", (RETRY, INITIAL, ZERO_RTT, HANDSHAKE)),
    **{0xFF000000 + draft: Version(f"draft-{draft}", _SALT_29) for draft in range(29, 33)},
    # draft-ietf-quic-tls-33 changed the salt to that of version 1.
    **{0xFF000000 + draft: Version(f"draft-{draft}", _SALT_1) for draft in (33, 34)},
}

NOT_DECRYPTED = {
    **{0xFF000000 + draft: f"draft-{draft}" for draft in range(22, 29)},
    **{int.from_bytes(name.encode(), "big"): name for name in ("Q046", "Q050", "T050", "T051")},
    0xFACEB001: "mvfst-1",
    0xFACEB002: "mvfst-2",
    0xFACEB00E: "mvfst-e",
}
"""Versions that are recognised, and counted by these names, but not decrypted."""


class InitialKeys:
    """The keys of what a client sends in Initial packets."""

    def __init__(self, version: int, connection_id: bytes) -> None:
        """``connection_id``: the first that the client drew for its server. KeyError: no such version."""
        known = VERSIONS[version]
        self.version = version
        self.connection_id = connection_id
        initial = hmac.digest(known.salt, connection_id, _HASH)
        secret = expand_label(_HASH, initial, "client in", 32)
        self._aead = AESGCM(expand_label(_HASH, secret, f"{known.label} key", 16))
        self._iv = int.from_bytes(expand_label(_HASH, secret, f"{known.label} iv", 12), "big")
        # One block at a time, so that the mode is none.
        mask = Cipher(AES(expand_label(_HASH, secret, f"{known.label} hp", 16)), ECB())  # noqa: S305
        self._mask = mask.encryptor()

    def open(self, packet: bytes, number_at: int, largest: int) -> tuple[int, bytes] | None:
        """The packet's number and what it carries; None when it is not protected by these keys.

        ``number_at``: where its packet number begins; ``largest``: the highest number opened so far,
        -1 for none.
        """
        sample = packet[number_at + _SAMPLE_AT : number_at + _SAMPLE_AT + 16]
        if len(sample) < 16:
            return None
        mask = self._mask.update(sample)
        first = packet[0] ^ (mask[0] & 0x0F)
        size = (first & 3) + 1
        body = number_at + size
        if len(packet) < body + _TAG:
            return None
        cut = int.from_bytes(packet[number_at:body], "big") ^ int.from_bytes(mask[1 : 1 + size], "big")
        number = _whole(cut, size * 8, largest)
        header = bytes([first]) + packet[1:number_at] + cut.to_bytes(size, "big")
        nonce = (self._iv ^ number).to_bytes(12, "big")
        try:
            return number, self._aead.decrypt(nonce, packet[body:], header)
        except InvalidTag:
            return None


def _whole(cut: int, bits: int, largest: int) -> int:
    """The packet number of which the last bits were sent: the nearest to the one expected (A.3)."""
    expected, window = largest + 1, 1 << bits
    number = (expected & -window) | cut
    if number <= expected - window // 2 and number < (1 << 62) - window:
        return number + window
    if number > expected + window // 2 and number >= window:
        return number - window
    return number
