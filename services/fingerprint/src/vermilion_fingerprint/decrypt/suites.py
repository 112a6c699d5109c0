"""Which cipher suites can be opened, and what of: read off IANA's names."""

import re
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes

from vermilion_fingerprint.tls_names import CIPHER_SUITES


class Suite(NamedTuple):
    """How the records of a cipher suite are protected."""

    name: str
    mode: str
    """``GCM``, ``CCM``, ``CCM_8``, ``CHACHA20_POLY1305``, ``CBC`` or ``3DES_CBC``."""
    key_size: int
    digest: hashes.HashAlgorithm
    """Of the key schedule: HKDF's, or TLS 1.2's pseudo-random function (RFC 5246 section 5)."""
    mac: hashes.HashAlgorithm | None
    """Of the records, where the cipher does not authenticate."""


# RFC 8446 B.4, RFC 5288, 5289, 5487, 6655, 7251, 7905, 8442, 5246 A.5: the part behind WITH.
_NAME = re.compile(
    r"TLS_(?:\w+_WITH_)?(?:AES_(?P<bits>128|256)_(?P<mode>GCM|CCM_8|CCM|CBC)|"
    r"(?P<chacha>CHACHA20_POLY1305)|(?P<des>3DES_EDE)_CBC)(?:_(?P<hash>SHA|SHA256|SHA384))?"
)
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "SHA": hashes.SHA1(),  # noqa: S303 (what was sent under it is to be read)
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
}


def _suite(name: str) -> Suite | None:
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    digest = _HASHES["SHA384" if found["hash"] == "SHA384" else "SHA256"]
    if found["des"]:
        return Suite(name, "3DES_CBC", 24, digest, _HASHES[found["hash"]])
    if found["chacha"]:
        return Suite(name, found["chacha"], 32, digest, None)
    mac = _HASHES[found["hash"]] if found["mode"] == "CBC" else None
    return Suite(name, found["mode"], int(found["bits"]) // 8, digest, mac)


SUITES: dict[int, Suite] = {
    code: suite for code, name in CIPHER_SUITES.items() if (suite := _suite(name)) is not None
}
"""By their code."""
