"""HKDF-Expand-Label, by which TLS 1.3 and QUIC make keys of secrets (RFC 8446 7.1, RFC 9001 5.1)."""

import hmac


def expand_label(digest: str, secret: bytes, label: str, size: int) -> bytes:
    """``size`` bytes, which are one block of the hash ``digest`` at most; the context is empty."""
    text = b"tls13 " + label.encode()
    info = size.to_bytes(2, "big") + bytes((len(text),)) + text + b"\0"
    # RFC 5869 2.3: T(1) = HMAC(PRK, info | 0x01).
    return hmac.digest(secret, info + b"\x01", digest)[:size]
