"""From a secret to keys: HKDF of TLS 1.3 (RFC 8446 section 7), the PRF of older ones (RFC 5246 section 5)."""

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

TLS12 = 0x0303


def expand_label(digest: hashes.HashAlgorithm, secret: bytes, label: bytes, length: int) -> bytes:
    """HKDF-Expand-Label with an empty context (RFC 8446 7.1)."""
    label = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes((len(label),)) + label + b"\0"
    return HKDFExpand(digest, length, info).derive(secret)


def _hmac(digest: hashes.HashAlgorithm, secret: bytes, data: bytes) -> bytes:
    keyed = hmac.HMAC(secret, digest)
    keyed.update(data)
    return keyed.finalize()


def _p_hash(digest: hashes.HashAlgorithm, secret: bytes, seed: bytes, length: int) -> bytes:
    # RFC 5246 5: A(0) = seed, A(i) = HMAC(secret, A(i-1))
    out, a = b"", seed
    while len(out) < length:
        a = _hmac(digest, secret, a)
        out += _hmac(digest, secret, a + seed)
    return out[:length]


def key_block(
    version: int, digest: hashes.HashAlgorithm, master: bytes, randoms: tuple[bytes, bytes], length: int
) -> bytes:
    """The bytes that keys are cut from (RFC 5246 6.3, RFC 2246 6.3); ``randoms``: client's, server's."""
    client, server = randoms
    seed = b"key expansion" + server + client
    if version >= TLS12:
        return _p_hash(digest, master, seed, length)
    # RFC 2246 5: both halves of the secret, which share a byte when its length is odd.
    half = (len(master) + 1) // 2
    md5 = _p_hash(hashes.MD5(), master[:half], seed, length)  # noqa: S303 (TLS 1.0 and 1.1 have it so)
    sha = _p_hash(hashes.SHA1(), master[-half:], seed, length)  # noqa: S303
    return bytes(one ^ other for one, other in zip(md5, sha, strict=True))
