"""Certificates of a server: where they are found, and what is told of them."""

import json
import time
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from fingerprint.hellos import extension, records, vector
from fingerprint.servers import (
    Ends,
    certificates,
    directions,
    recorded,
    retry_request,
    server_hello,
)
from fingerprint.test_tls_server import WARNING
from hypothesis import given
from hypothesis import strategies as st

from vermilion_fingerprint import certificate, oids, tls_server
from vermilion_fingerprint.cursor import Cursor, Malformed, NeedMore

EC_KEY = ec.generate_private_key(ec.SECP384R1())
SIGNER = ec.generate_private_key(ec.SECP256R1())
DNS = x509.DNSName("a.example")


def name(*values: str, oid: x509.ObjectIdentifier = NameOID.COMMON_NAME) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for value in values])


def der(
    key: Any = EC_KEY,
    subject: x509.Name | None = None,
    sans: Iterable[x509.GeneralName] = (),
    extensions: Iterable[x509.ExtensionType] = (),
) -> bytes:
    """A certificate."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(name("leaf") if subject is None else subject)
        .issuer_name(name("issuer"))
        .public_key(key.public_key())
        .serial_number(0x0ABC)
        .not_valid_before(datetime(2019, 7, 29, 18, 43, 22))
        .not_valid_after(datetime(2049, 10, 21))
    )
    for one in (*([x509.SubjectAlternativeName(sans)] if sans else ()), *extensions):
        builder = builder.add_extension(one, critical=False)
    return builder.sign(SIGNER, hashes.SHA256()).public_bytes(Encoding.DER)


LEAF = der(sans=[DNS])
SIMPLE = records(server_hello() + certificates(LEAF, der()) + b"\x0e\0\0\0")


@lru_cache
def chains() -> tuple[bytes, ...]:
    """The servers' streams of the project's own captures that have certificates in the clear."""
    out = [stream for stream in recorded() if certificate.matches(Cursor(stream))]
    assert out
    return tuple(out)


def parse(stream: bytes, final: bool = False) -> certificate.Chain:
    return certificate.parse(Cursor(stream), final)


def fingerprint(stream: bytes) -> str:
    return certificate.fingerprint(parse(stream))


def groups(*texts: str) -> str:
    return "".join(f"({text.encode().hex()})" for text in texts)


def test_the_seed_form() -> None:
    assert fingerprint(SIMPLE) == (
        "(0abc)"
        + groups("ecdsa-with-SHA256")
        + f"(({groups('commonName')}{groups('issuer')}))"
        + groups("2019-07-29 18:43:22", "2049-10-21 00:00:00")
        + f"(({groups('commonName')}{groups('leaf')}))"
        + f"({groups('ECPublicKey', '0180', 'secp384r1')})"
        + f"(({groups('subjectAltName')}))"
    )


def test_what_the_event_tells() -> None:
    chain = parse(SIMPLE)
    assert not chain.truncated
    assert (chain.begin, chain.end) == (5 + len(server_hello()), len(SIMPLE) - 4)
    first, second = chain.context()["certificates"]
    assert first == {
        "subject": "CN=leaf",
        "issuer": "CN=issuer",
        "not_before": "2019-07-29T18:43:22Z",
        "not_after": "2049-10-21T00:00:00Z",
        "sans": ["a.example"],
        "sha256": sha256(LEAF).hexdigest(),
    }
    assert second["sans"] == []


def test_readable() -> None:
    rsa_key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([*name("x", "y", oid=NameOID.ORGANIZATIONAL_UNIT_NAME), *name("leaf")])
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"")
    stream = records(certificates(der(rsa_key, subject, extensions=[unknown])))
    readable = parse(stream).readable()
    key = readable.pop("public_key")
    assert readable == {
        "serial_number": "0abc",
        "signature_algorithm": "ecdsa-with-SHA256",
        "issuer": {"commonName": "issuer"},
        "validity_not_before": "2019-07-29 18:43:22",
        "validity_not_after": "2049-10-21 00:00:00",
        "subject": {"organizationalUnitName": ["x", "y"], "commonName": "leaf"},
        "extensions": {"1.2.3.4": ""},
    }
    assert (key["type"], key["key_size"], key["public_exponent"]) == ("RSAPublicKey", 2048, "010001")
    assert int(key["public_modulus"], 16) == rsa_key.public_key().public_numbers().n
    assert fingerprint(stream).endswith(f"(({groups('Unknown OID')}))")


@pytest.mark.parametrize("kind", ["DSA", "Ed25519"])
def test_another_key_is_an_empty_group(kind: str) -> None:
    key = ed25519.Ed25519PrivateKey.generate() if kind == "Ed25519" else dsa.generate_private_key(2048)
    assert fingerprint(records(certificates(der(key)))).endswith("()()")
    assert parse(records(certificates(der(key)))).readable()["public_key"]["type"].endswith("PublicKey")


def test_a_key_the_library_does_not_know_is_an_empty_group() -> None:
    strange = LEAF.replace(bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d0219"))
    assert strange != LEAF
    chain = parse(records(certificates(strange)))
    assert "()" in certificate.fingerprint(chain)
    assert chain.readable()["public_key"]["type"] == "1.2.840.10045.2.25"


def test_every_kind_of_alternative_name() -> None:
    sans = [
        DNS,
        x509.IPAddress(ip_address("192.0.2.1")),
        x509.IPAddress(ip_address("2001:db8::1")),
        x509.RFC822Name("a@b.example"),
        x509.UniformResourceIdentifier("https://a.example/"),
        x509.DirectoryName(name("dir")),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
        x509.OtherName(x509.ObjectIdentifier("1.2.4"), b"\x0c\x01a"),
    ]
    told = parse(records(certificates(der(sans=sans)))).context()["certificates"][0]["sans"]
    assert told == [
        "a.example",
        "192.0.2.1",
        "2001:db8::1",
        "a@b.example",
        "https://a.example/",
        "CN=dir",
        "1.2.3",
        "1.2.4=#0c0161",
    ]


@pytest.mark.parametrize("serial", ["01", "00", "ff", "8001", "00ff", "7f"])
def test_serial_numbers_of_any_sign(serial: str) -> None:
    """RFC 5280 4.1.2.2 wants them positive; others occur, and warnings do not get out."""
    raw = bytes.fromhex(serial)
    whole = der().replace(b"\x02\x02\x0a\xbc", b"\x02" + vector(raw, 1))
    # The lengths of the two SEQUENCEs around it (X.690 8.1.3.5: two bytes after 0x82, here one after 0x81).
    assert whole[1] in (0x81, 0x82)
    grown = len(raw) - 2
    patched = bytearray(whole)
    for at in (0, 1 + (whole[1] & 0x7F) + 1):
        size = patched[at + 1] & 0x7F
        length = int.from_bytes(patched[at + 2 : at + 2 + size], "big") + grown
        patched[at + 2 : at + 2 + size] = length.to_bytes(size, "big")
    number = int.from_bytes(raw, "big", signed=True)
    expected = f"{number:x}" if number >= 0 else raw.hex()
    expected = "0" * (len(expected) % 2) + expected
    told = fingerprint(records(certificates(bytes(patched)))).split(")")[0][1:]
    assert int.from_bytes(bytes.fromhex(told), "big", signed=number < 0) == number
    assert number < 0 or told == expected


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 100, 1 << 14])
@pytest.mark.parametrize("apart", [False, True])
def test_records_and_messages_in_any_arrangement(size: int, apart: bool) -> None:
    messages = (server_hello(), b"\x17\0\0\2ab", certificates(LEAF), b"\x0e\0\0\0")
    stream = b"".join(records(one, size) for one in messages) if apart else records(b"".join(messages), size)
    assert certificate.matches(Cursor(stream))
    assert fingerprint(WARNING + stream) == fingerprint(records(certificates(LEAF)))
    chain = parse(stream)
    if apart:
        record = stream[chain.begin :]
        assert record[:3] == b"\x16\3\1"
        assert fingerprint(record) == fingerprint(stream)
        assert stream[chain.end :] == records(messages[-1], size)


@pytest.mark.parametrize(
    "stream",
    [
        records(server_hello(0x1301, extension(43, b"\3\4"))) + b"\x14\3\3\0\1\1\x17\3\3\0\x20",
        records(retry_request()),
        records(server_hello() + b"\x0e\0\0\0"),
        records(server_hello() + server_hello()),
        records(server_hello()) + b"\x14\3\3\0\1\1",
        records(server_hello(version=0x0203) + certificates(LEAF)),
        records(b"\0\0\0\0" * 5 + certificates(LEAF)),
        records(server_hello() + b"\x0b\x02\0\0" + certificates(LEAF)[4:]),
        records(b"\1\0\0\0"),
        b"HTTP/1.1 200 OK",
    ],
)
def test_no_certificates_in_the_clear(stream: bytes) -> None:
    assert not certificate.matches(Cursor(stream))
    with pytest.raises(Malformed):
        parse(stream)


@pytest.mark.parametrize(
    "message",
    [
        certificates(),
        certificates(b""),
        certificates(b"\x30\0"),
        certificates(LEAF[:-1]),
        certificates(LEAF + b"\0"),
        b"\x0b" + vector(vector(b"\0", 3), 3),
        b"\x0b" + vector(b"\0\0\x50" + vector(LEAF, 3), 3),
        b"\x0b" + vector(b"\x7f" + vector(LEAF, 3), 3),
    ],
)
def test_a_first_certificate_that_is_none(message: bytes) -> None:
    for final in (False, True):
        with pytest.raises(Malformed) as bad:
            parse(records(message), final)
        assert bad.value.field in ("ASN.1Cert", "certificate_list")


def test_a_later_certificate_that_is_none_has_its_hash() -> None:
    first, second = parse(records(certificates(LEAF, b"\x30\0"))).context()["certificates"]
    assert first["subject"] == "CN=leaf"
    assert second == {
        "subject": None,
        "issuer": None,
        "not_before": None,
        "not_after": None,
        "sans": [],
        "sha256": sha256(b"\x30\0").hexdigest(),
    }


def test_a_long_chain_is_told_as_far_as_ten() -> None:
    assert len(parse(records(certificates(*[LEAF] * 50))).context()["certificates"]) == certificate.MOST_TOLD


@pytest.mark.parametrize("number", range(len(chains())))
def test_every_truncation_of_every_recorded_chain(number: int) -> None:
    stream = chains()[number]
    whole = parse(stream)
    stream = stream[: whole.end]
    text = certificate.fingerprint(whole)
    cuts = 0
    for end in range(len(stream)):
        with pytest.raises(NeedMore) as more:
            parse(stream[:end])
        assert end < more.value.total <= len(stream)
        try:
            cut = parse(stream[:end], final=True)
        except Malformed:
            continue
        cuts += 1
        assert cut.truncated
        assert certificate.fingerprint(cut) == text
        assert cut.certificates == whole.certificates[: len(cut.certificates)]
    assert cuts or len(whole.certificates) == 1


@pytest.mark.parametrize("stream", [SIMPLE, *chains()])
def test_told_when_to_try_again_a_few_tries_are_enough(stream: bytes) -> None:
    tries, total, found = 0, 1, None
    while found is None:
        tries += 1
        try:
            found = certificate.matches(Cursor(stream[:total])) and parse(stream[:total])
        except NeedMore as more:
            total = more.total
    assert tries < 15
    assert found == parse(stream)


def test_every_byte_corrupted() -> None:
    stream = bytearray(SIMPLE)
    for at in range(len(stream)):
        old = stream[at]
        for value in (0, 0x80, 0xFF, old ^ 1):
            stream[at] = value
            try:
                chain = parse(bytes(stream), True)
            except Malformed as bad:
                assert bad.field
            else:
                assert json.dumps([chain.readable(), chain.context()])
                assert certificate.fingerprint(chain)
        stream[at] = old


@given(st.data())
def test_corrupted_chains_raise_only_the_parsers_own(data: st.DataObject) -> None:
    stream = bytearray(data.draw(st.sampled_from((SIMPLE, *chains()))))
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    for final in (False, True):
        try:
            chain = parse(bytes(stream), final)
        except Malformed as bad:
            assert str(bad)
        except NeedMore:
            assert not final
        else:
            assert json.dumps([chain.readable(), chain.context(), certificate.fingerprint(chain)])


@given(st.binary(max_size=300), st.booleans(), st.booleans())
def test_any_bytes(tail: bytes, final: bool, behind: bool) -> None:
    stream = records(server_hello() + b"\x0b\0\1\0") + b"\x16\3\3\1\0" + tail if behind else tail
    try:
        certificate.matches(Cursor(stream))
    except NeedMore as more:
        assert more.total > len(stream)
    try:
        parse(stream, final)
    except NeedMore:
        assert not final
    except Malformed as outcome:
        assert str(outcome)


def sized(message: bytes, size: int = 1 << 14) -> bytes:
    return records(message, size)[: 1 << 16]


@pytest.mark.parametrize(
    "stream",
    [
        sized(certificates(*[LEAF] * 150)),
        sized(certificates(*[b"0"] * 16000)),
        sized(certificates(der(sans=[DNS] * 4000))),
        sized(certificates(der(sans=[x509.DNSName("a")] * 3500))),
        sized(certificates(der(subject=name(*"a" * 600)))),
        sized(certificates(der(subject=name(*"a" * 5000)))),
        sized(certificates(der(extensions=[x509.TLSFeature([x509.TLSFeatureType.status_request] * 15000)]))),
        sized(certificates(LEAF + bytes(10000)), 1),
        sized(server_hello() + b"\x17\0\x7f\0" + bytes(0x7F00) + certificates(LEAF, bytes(20000))),
    ],
    ids=["chain", "empty", "names", "short names", "name", "long name", "numbers", "small records", "before"],
)
def test_hostile_64_kib(stream: bytes) -> None:
    def cost() -> float:
        start = time.thread_time()
        try:
            chain = parse(stream, True)
            certificate.fingerprint(chain)
            chain.context()
        except Malformed:
            pass
        return time.thread_time() - start

    def count() -> float:
        """What this machine, as busy as it is, takes for 100,000 steps of Python."""
        start, total = time.thread_time(), 0
        for number in range(100_000):
            total += number
        return time.thread_time() - start

    # In turn, so that both meet the same neighbours. The dearest takes half of that.
    turns = [(cost(), count()) for _ in range(9)]
    assert min(one for one, _ in turns) < 3 * min(other for _, other in turns)


def test_the_names_are_the_librarys() -> None:
    """But for one that it changed since."""
    for table in (oids.ATTRIBUTES, oids.SIGNATURES, oids.EXTENSIONS):
        for dotted, text in table.items():
            if text != "RSASSA-PSS":
                assert x509.ObjectIdentifier(dotted)._name == text


def events(capture: Path) -> Counter[tuple[Ends, str]]:
    found: Counter[tuple[Ends, str]] = Counter()
    for ends, _, stream in directions(capture):
        try:
            if certificate.matches(Cursor(stream)):
                chain = parse(stream, True)
                found[ends, certificate.fingerprint(chain)] += 1
                # Real chains keep well within what reading them may cost.
                ders = tls_server.parse_certificate(Cursor(stream), True).certificates
                assert sum(map(certificate._cost, ders)) < certificate.BUDGET * 0.75
        except (NeedMore, Malformed):
            continue
    return found
