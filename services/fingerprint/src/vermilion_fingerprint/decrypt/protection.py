"""One direction's protected records, opened: each is authentic, or NotVerified.

A record is its type, its version and its fragment; ``open`` gives the type and bytes of what was in it,
and goes on to the next sequence number only when it was authentic.
"""

from typing import Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import constant_time, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from vermilion_fingerprint.decrypt.secrets import TLS11, key_block
from vermilion_fingerprint.decrypt.suites import Suite
from vermilion_fingerprint.hkdf import expand_label

_IV = 12  # RFC 8446 5.3, RFC 7905 2
_SALT = 4  # RFC 5288 3, RFC 6655 3: the implicit part of the nonce, before the explicit one
_EXPLICIT = 8


class NotVerified(Exception):
    """A record whose tag, MAC or padding is not that of its bytes under this key."""


class Protection(Protocol):
    """How one direction's records are opened from one change of keys to the next."""

    def open(self, kind: int, version: int, fragment: bytes) -> tuple[int, bytes]:
        """The type and bytes of what is in the record. Raises NotVerified."""


def _aead(suite: Suite, key: bytes) -> AESGCM | AESCCM | ChaCha20Poly1305:
    if suite.mode == "GCM":
        return AESGCM(key)
    if suite.mode == "CHACHA20_POLY1305":
        return ChaCha20Poly1305(key)
    return AESCCM(key, tag_length=8 if suite.mode == "CCM_8" else 16)


def _xor(iv: bytes, sequence: int) -> bytes:
    return (int.from_bytes(iv, "big") ^ sequence).to_bytes(len(iv), "big")


class Tls13:
    """TLS 1.3 (RFC 8446 5.2): the type is within, behind it zeros."""

    def __init__(self, suite: Suite, secret: bytes) -> None:
        self._cipher = _aead(suite, expand_label(suite.digest.name, secret, "key", suite.key_size))
        self._iv = expand_label(suite.digest.name, secret, "iv", _IV)
        self._sequence = 0

    def open(self, kind: int, version: int, fragment: bytes) -> tuple[int, bytes]:
        """See Protection."""
        header = bytes((kind,)) + version.to_bytes(2, "big") + len(fragment).to_bytes(2, "big")
        try:
            inner = self._cipher.decrypt(_xor(self._iv, self._sequence), fragment, header)
        except (InvalidTag, ValueError):  # ValueError: shorter than a tag, or longer than CCM takes
            raise NotVerified from None
        self._sequence += 1
        content = inner.rstrip(b"\0")
        if not content:
            raise NotVerified
        return content[-1], content[:-1]


class Aead:
    """TLS 1.2 with AEAD (RFC 5246 6.2.3.3); ChaCha20-Poly1305 has its nonce as TLS 1.3 does (RFC 7905 2)."""

    def __init__(self, suite: Suite, key: bytes, iv: bytes) -> None:
        self._cipher = _aead(suite, key)
        self._iv = iv
        self._overhead = 16 if suite.mode != "CCM_8" else 8
        self._sequence = 0

    def open(self, kind: int, version: int, fragment: bytes) -> tuple[int, bytes]:
        """See Protection."""
        nonce = _xor(self._iv, self._sequence)
        if len(self._iv) == _SALT:
            nonce, fragment = self._iv + fragment[:_EXPLICIT], fragment[_EXPLICIT:]
        length = len(fragment) - self._overhead
        if length < 0:
            raise NotVerified
        # RFC 5246 6.2.3.3: seq_num + TLSCompressed.type + version + length
        data = self._sequence.to_bytes(8, "big") + bytes((kind,)) + version.to_bytes(2, "big")
        try:
            plain = self._cipher.decrypt(nonce, fragment, data + length.to_bytes(2, "big"))
        except (InvalidTag, ValueError):
            raise NotVerified from None
        self._sequence += 1
        return kind, plain


class Cbc:
    """A block cipher with an HMAC, before encryption (RFC 5246 6.2.3.2) or behind it (RFC 7366)."""

    def __init__(self, suite: Suite, key: bytes, mac_key: bytes, iv: bytes, encrypt_then_mac: bool) -> None:
        """``iv``: of TLS 1.0's first record, where each goes on from the last; empty: each has its own."""
        if suite.mac is None:
            raise ValueError(f"{suite.name} has no MAC")
        self._algorithm: AES | TripleDES = TripleDES(key) if suite.mode == "3DES_CBC" else AES(key)
        self._block = self._algorithm.block_size // 8
        self._mac, self._mac_key = suite.mac, mac_key
        self._iv = iv
        self._after = encrypt_then_mac
        self._sequence = 0

    def _check(self, kind: int, version: int, content: bytes, tag: bytes) -> None:
        keyed = hmac.HMAC(self._mac_key, self._mac)
        head = self._sequence.to_bytes(8, "big") + bytes((kind,)) + version.to_bytes(2, "big")
        keyed.update(head + len(content).to_bytes(2, "big") + content)
        try:
            keyed.verify(tag)
        except InvalidSignature:
            raise NotVerified from None

    def open(self, kind: int, version: int, fragment: bytes) -> tuple[int, bytes]:
        """See Protection."""
        size = self._mac.digest_size
        if self._after:
            fragment, tag = fragment[:-size], fragment[-size:]
            self._check(kind, version, fragment, tag)
        iv, body = (self._iv, fragment) if self._iv else (fragment[: self._block], fragment[self._block :])
        if not body or len(body) % self._block or len(iv) != self._block:
            raise NotVerified
        plain = Cipher(self._algorithm, modes.CBC(iv)).decryptor().update(body)
        # RFC 5246 6.2.3.2: each byte of the padding, and the one behind it, is the padding's length.
        padding = plain[-1] + 1
        if padding > len(plain) or not constant_time.bytes_eq(
            plain[-padding:], bytes((padding - 1,)) * padding
        ):
            raise NotVerified
        plain = plain[:-padding]
        if not self._after:
            if len(plain) < size:
                raise NotVerified
            plain, tag = plain[:-size], plain[-size:]
            self._check(kind, version, plain, tag)
        if self._iv:
            self._iv = body[-self._block :]
        self._sequence += 1
        return kind, plain


def of_master(
    suite: Suite,
    version: int,
    master: bytes,
    randoms: tuple[bytes, bytes],
    *,
    client: bool,
    encrypt_then_mac: bool,
) -> Protection:
    """What a master secret gives for one direction of TLS 1.2 or older (RFC 5246 6.3)."""
    if suite.mac is None:
        mac_size, iv_size = 0, _IV if suite.mode == "CHACHA20_POLY1305" else _SALT
    else:
        block = 8 if suite.mode == "3DES_CBC" else 16
        # RFC 4346 6.3: from TLS 1.1 on a record brings its own IV.
        mac_size, iv_size = suite.mac.digest_size, 0 if version >= TLS11 else block
    sizes = (mac_size, suite.key_size, iv_size)
    block_of = key_block(version, suite.digest.name, master, randoms, 2 * sum(sizes))
    parts, at = [], 0
    for size in sizes:  # of each: the client's, the server's
        parts.append(block_of[at : at + size] if client else block_of[at + size : at + 2 * size])
        at += 2 * size
    mac_key, key, iv = parts
    if suite.mac is None:
        return Aead(suite, key, iv)
    return Cbc(suite, key, mac_key, iv, encrypt_then_mac)
