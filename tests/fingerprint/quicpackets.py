"""QUIC's Initial packets for tests, made from RFC 9000, 9001 and 9369; nothing of the product is used."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

V1, V2, DRAFT_29, DRAFT_34 = 0x00000001, 0x6B3343CF, 0xFF00001D, 0xFF000022
ID = bytes.fromhex("8394c8f03e515708")  # that of the RFCs' samples
SALTS = {
    V1: "38762cf7f55934b34d179ae6a4c80cadccbb7f0a",
    V2: "0dede3def700a6db819381be6e269dcbf9bd2ed9",
    DRAFT_29: "afbfec289993d24c9e9786f19c6111e04390a899",
    DRAFT_34: "38762cf7f55934b34d179ae6a4c80cadccbb7f0a",
}
INITIAL, ZERO_RTT, HANDSHAKE, RETRY = range(4)


def varint(value: int, size: int = 0) -> bytes:
    """RFC 9000 16; ``size``: of so many bytes, when that is not the shortest."""
    length = size or next(n for n in (1, 2, 4, 8) if value < 1 << (8 * n - 2))
    return (value | (length.bit_length() - 1) << (8 * length - 2)).to_bytes(length, "big")


def crypto(offset: int, data: bytes) -> bytes:
    """A CRYPTO frame."""
    return b"\x06" + varint(offset) + varint(len(data), 2) + data


def ack(largest: int = 1, ranges: Sequence[tuple[int, int]] = (), *, ecn: bool = False) -> bytes:
    """An ACK frame."""
    out = bytes([2 + ecn]) + varint(largest) + varint(300) + varint(len(ranges)) + varint(0)
    out += b"".join(varint(gap) + varint(length) for gap, length in ranges)
    return out + (varint(1) + varint(2) + varint(3) if ecn else b"")


def _first(version: int, kind: int, size: int) -> int:
    number = (kind + 1) % 4 if version == V2 else kind
    return 0xC0 | number << 4 | (size - 1)


def _expand(secret: bytes, label: str, size: int) -> bytes:
    text = b"tls13 " + label.encode()
    info = size.to_bytes(2, "big") + bytes([len(text)]) + text + b"\0"
    return HKDFExpand(SHA256(), size, info).derive(secret)


def initial(
    frames: bytes,
    number: int = 0,
    *,
    version: int = V1,
    to: bytes = ID,
    key: bytes = ID,
    source: bytes = b"",
    token: bytes = b"",
    size: int = 4,
    pad: int = 0,
) -> bytes:
    """A client's Initial packet. ``to``: its Destination Connection ID; ``key``: that of its keys.

    ``size``: bytes of its packet number; ``pad``: the frames are padded to so many bytes.
    """
    frames = frames.ljust(max(pad, 4), b"\0")
    prefix = "quicv2" if version == V2 else "quic"
    secret = _expand(HKDF.extract(SHA256(), bytes.fromhex(SALTS[version]), key), "client in", 32)
    header = bytes([_first(version, INITIAL, size)]) + version.to_bytes(4, "big")
    header += bytes([len(to)]) + to + bytes([len(source)]) + source + varint(len(token)) + token
    header += varint(size + len(frames) + 16, 2) + (number % (1 << 8 * size)).to_bytes(size, "big")
    nonce = int.from_bytes(_expand(secret, f"{prefix} iv", 12), "big") ^ number
    body = AESGCM(_expand(secret, f"{prefix} key", 16)).encrypt(nonce.to_bytes(12, "big"), frames, header)
    sample = (header[-size:] + body)[4:20]
    mask = Cipher(AES(_expand(secret, f"{prefix} hp", 16)), ECB()).encryptor().update(sample)  # noqa: S305
    hidden = bytes(a ^ b for a, b in zip(header[-size:], mask[1:], strict=False))
    return bytes([header[0] ^ mask[0] & 0x0F]) + header[1:-size] + hidden + body


def other(kind: int, version: int = V1, to: bytes = ID, body: bytes = bytes(40)) -> bytes:
    """A long header packet of another kind; what it carries is not read."""
    header = bytes([_first(version, kind, 1)]) + version.to_bytes(4, "big") + bytes([len(to)]) + to + b"\0"
    return header + (body if kind == RETRY else varint(len(body)) + body)


SHORT = b"\x40" + bytes(30)
"""A 1-RTT packet, as far as anybody can tell."""
