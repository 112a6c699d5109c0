"""From a master secret to keys, before TLS 1.3: the pseudo-random function (RFC 5246 section 5)."""

import hmac

TLS11, TLS12 = 0x0302, 0x0303


def _p_hash(digest: str, secret: bytes, seed: bytes, length: int) -> bytes:
    # RFC 5246 5: A(0) = seed, A(i) = HMAC(secret, A(i-1))
    out, a = b"", seed
    while len(out) < length:
        a = hmac.digest(secret, a, digest)
        out += hmac.digest(secret, a + seed, digest)
    return out[:length]


def key_block(version: int, digest: str, master: bytes, randoms: tuple[bytes, bytes], length: int) -> bytes:
    """The bytes that keys are cut from (RFC 5246 6.3, RFC 2246 6.3); ``randoms``: client's, server's."""
    client, server = randoms
    seed = b"key expansion" + server + client
    if version >= TLS12:
        return _p_hash(digest, master, seed, length)
    # RFC 2246 5: both halves of the secret, which share a byte when its length is odd.
    half = (len(master) + 1) // 2
    md5 = _p_hash("md5", master[:half], seed, length)
    sha = _p_hash("sha1", master[-half:], seed, length)
    return bytes(one ^ other for one, other in zip(md5, sha, strict=True))
