"""The certificates that a server of TLS 1.2 or older sends, and pmercury's string of the first.

Sources: RFC 5246 section 7.4.2 (the message, which ``tls_server`` reads), RFC 5280 (certificates,
which the library reads), RFC 4514 (names as text). Pure Python: a handshake has it at most once.
"""

import warnings
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, ClassVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from vermilion_fingerprint.cursor import Cursor, Malformed
from vermilion_fingerprint.oids import ATTRIBUTES, EXTENSIONS, SIGNATURES, UNKNOWN
from vermilion_fingerprint.tls_server import matches_certificate, parse_certificate

MOST_TOLD = 10
"""So many certificates of a chain are told; the public ones have two to five."""

BUDGET = 3000
"""Microseconds that reading a chain may cost, by the estimate of ``_cost``."""

matches = matches_certificate

Names = list[tuple[str, str | bytes]]


@dataclass(frozen=True)
class Leaf:
    """What the fingerprint and the readable form have of the first certificate; OIDs are dotted."""

    serial: str
    signature: str
    issuer: Names
    not_before: str
    not_after: str
    subject: Names
    key: dict[str, str | int]
    extensions: list[str]


@dataclass
class Chain:
    """A server's certificates. ``begin`` and ``end``: where the message is in the server's stream.

    ``truncated``: the message's end was never seen; the certificates told were complete.
    """

    begin: int
    end: int
    truncated: bool
    leaf: Leaf
    certificates: list[dict[str, Any]] = field(default_factory=list)

    def context(self) -> dict[str, Any]:
        """The chain as sent, at most MOST_TOLD; of a later one that is not read the hash alone."""
        return {"certificates": self.certificates}

    followed_by: ClassVar[tuple[str, ...]] = ()
    """Nothing: the rest of the handshake tells no more."""

    def step_over(self, stream: Cursor, final: bool = False) -> tuple[int, bool]:
        """Nothing is sought behind it."""
        return -1, True

    def readable(self) -> dict[str, Any]:
        """The first certificate's fields; what has no name is shown by its object identifier."""
        leaf = self.leaf
        return {
            "serial_number": leaf.serial,
            "signature_algorithm": SIGNATURES.get(leaf.signature, leaf.signature),
            "issuer": _readable_name(leaf.issuer),
            "validity_not_before": leaf.not_before,
            "validity_not_after": leaf.not_after,
            "subject": _readable_name(leaf.subject),
            "public_key": leaf.key,
            "extensions": {EXTENSIONS.get(oid, oid): "" for oid in leaf.extensions},
        }


def parse(stream: Cursor, final: bool = False) -> Chain:
    """The certificates of a server's stream, which is given from its beginning.

    ``final``: nothing will follow. Raises NeedMore (never when ``final``) and Malformed, that also
    when the first certificate is none.
    """
    message = parse_certificate(stream, final)
    first, *others = message.certificates[:MOST_TOLD]
    cost = _cost(first)
    if cost > BUDGET:
        raise Malformed(0, "ASN.1Cert", "more names and extensions than a certificate has")
    with warnings.catch_warnings():
        # The library warns of what certificates should not have; here it is only reported.
        warnings.simplefilter("ignore")
        try:
            certificate = x509.load_der_x509_certificate(first)
            chain = Chain(
                message.begin, message.end, message.truncated, _leaf(certificate), [_told(certificate, first)]
            )
        except BaseException as error:
            _expect(error)
            raise Malformed(0, "ASN.1Cert", f"{type(error).__name__}: {error}"[:200]) from None
        for der in others:
            cost += _cost(der)
            chain.certificates.append(_told_if_readable(der) if cost <= BUDGET else _only_hash(der))
    return chain


def _cost(der: bytes) -> float:
    """An upper estimate, before it is read, of what a certificate costs to read and tell.

    The library makes an object of each attribute, extension, general name and number, and 64 KiB has
    room for thousands. Each of the first two holds an OBJECT IDENTIFIER (tag 0x06), a general name
    has a tag from 0x81 to 0x88 (RFC 5280 4.2.1.6), a number begins 0x02 0x01: count such bytes.
    """
    names = sum(map(der.count, range(0x81, 0x89)))
    return len(der) / 32 + 3 * der.count(6) + 0.6 * names + 0.4 * der.count(b"\x02\x01")


def _expect(error: BaseException) -> None:
    # A panic in the library's Rust is no Exception, and no reason to end either.
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error


def _leaf(certificate: x509.Certificate) -> Leaf:
    number = certificate.serial_number
    size = (number.bit_length() + 7) // 8 or 1
    return Leaf(
        # X.690 8.3: a negative number, which RFC 5280 forbids, has its own first bit set.
        number.to_bytes(size if number >= 0 else size + 1, "big", signed=number < 0).hex(),
        certificate.signature_algorithm_oid.dotted_string,
        _names(certificate.issuer),
        _time(certificate.not_valid_before_utc).replace("T", " ").removesuffix("Z"),
        _time(certificate.not_valid_after_utc).replace("T", " ").removesuffix("Z"),
        _names(certificate.subject),
        _key(certificate),
        [extension.oid.dotted_string for extension in certificate.extensions],
    )


def _names(name: x509.Name) -> Names:
    return [(attribute.oid.dotted_string, attribute.value) for attribute in name]


def _time(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat() + "Z"


def _key(certificate: x509.Certificate) -> dict[str, str | int]:
    try:
        key = certificate.public_key()
    except UnsupportedAlgorithm:
        return {"type": certificate.public_key_algorithm_oid.dotted_string}
    if isinstance(key, EllipticCurvePublicKey):
        return {"type": "ECPublicKey", "key_size": key.key_size, "curve_name": key.curve.name}
    if isinstance(key, RSAPublicKey):
        numbers = key.public_numbers()
        return {
            "type": "RSAPublicKey",
            "key_size": key.key_size,
            "public_modulus": _even(numbers.n),
            "public_exponent": _even(numbers.e),
        }
    return {"type": type(key).__name__}


def _told(certificate: x509.Certificate, der: bytes) -> dict[str, Any]:
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "not_before": _time(certificate.not_valid_before_utc),
        "not_after": _time(certificate.not_valid_after_utc),
        "sans": _alternative_names(certificate),
        "sha256": sha256(der).hexdigest(),
    }


def _told_if_readable(der: bytes) -> dict[str, Any]:
    try:
        return _told(x509.load_der_x509_certificate(der), der)
    except BaseException as error:
        _expect(error)
        return _only_hash(der)


def _only_hash(der: bytes) -> dict[str, Any]:
    nothing = dict.fromkeys(("subject", "issuer", "not_before", "not_after"))
    return {**nothing, "sans": [], "sha256": sha256(der).hexdigest()}


# RFC 5280 4.2.1.6
def _alternative_names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [_general_name(name) for name in extension.value]


def _general_name(name: x509.GeneralName) -> str:
    if isinstance(name, x509.DirectoryName):
        return name.value.rfc4514_string()
    if isinstance(name, x509.RegisteredID):
        return name.value.dotted_string
    if isinstance(name, x509.OtherName):
        return f"{name.type_id.dotted_string}=#{name.value.hex()}"
    return str(name.value)


def _readable_name(names: Names) -> dict[str, str | list[str]]:
    """By attribute; one that comes more than once, as organizationalUnitName may, has a list."""
    values: dict[str, list[str]] = {}
    for oid, value in names:
        text = value if isinstance(value, str) else value.hex()
        values.setdefault(ATTRIBUTES.get(oid, oid), []).append(text)
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}


def fingerprint(chain: Chain) -> str:
    """pmercury's string of the first certificate.

    ``(serial)(signature)(issuer)(notBefore)(notAfter)(subject)(key)(extensions)``, all but the serial
    hex of text, numbers of the key hex of hex. A key that is neither RSA nor of a curve is ``()``.
    """
    leaf = chain.leaf
    key = leaf.key
    parts: list[str] = []
    if key["type"] == "ECPublicKey":
        parts = ["ECPublicKey", _even(int(key["key_size"])), str(key["curve_name"])]
    elif key["type"] == "RSAPublicKey":
        size = _even(int(key["key_size"]))
        parts = ["RSAPublicKey", size, str(key["public_modulus"]), str(key["public_exponent"])]
    groups = (
        leaf.serial,
        _hex(SIGNATURES.get(leaf.signature, UNKNOWN)),
        _name_groups(leaf.issuer),
        _hex(leaf.not_before),
        _hex(leaf.not_after),
        _name_groups(leaf.subject),
        "".join(f"({_hex(part)})" for part in parts),
        "".join(f"(({_hex(EXTENSIONS.get(oid, UNKNOWN))}))" for oid in leaf.extensions),
    )
    return "".join(f"({group})" for group in groups)


def _name_groups(names: Names) -> str:
    return "".join(f"(({_hex(ATTRIBUTES.get(oid, UNKNOWN))})({_hex(value)}))" for oid, value in names)


def _hex(text: str | bytes) -> str:
    return (text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text).hex()


def _even(number: int) -> str:
    text = f"{number:x}"
    return text if len(text) % 2 == 0 else "0" + text
