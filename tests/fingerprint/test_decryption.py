"""TLS of every kind that OpenSSL speaks, decrypted: all that both ends said, each record verified."""

from __future__ import annotations

import random
import ssl
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fingerprint.flowrecords import SECOND, START, end, mark
from fingerprint.tls_talk import NO_ENCRYPT_THEN_MAC, OPENSSL, Said, Talk, contexts, openssl_talks, talk

from vermilion_fingerprint.decrypt.keylog import KeyLog, Label
from vermilion_fingerprint.decryption import Decrypting
from vermilion_fingerprint.flows import FlowTable, Limits
from vermilion_fingerprint.protocols import Recognised
from vermilion_pipeline.records import Payload

V10, V11, V12, V13 = (
    ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3,
)  # fmt: skip
REQUEST = b"GET /page HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: test\r\nCookie: a=b\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: test\r\n\r\nhello"
ASKED: list[Said] = [(True, REQUEST), (False, RESPONSE), (True, REQUEST), (False, RESPONSE)]
HTTP = {"tls_decrypt_http", "tls_decrypt_http_server"}

needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")


class Read:
    """The events of some records, and what was counted."""

    def __init__(self, records: Sequence[Payload], keys: KeyLog, **limits: Any) -> None:
        decrypting = Decrypting(keys, **limits)
        self.table = FlowTable(Limits(), Recognised(), readable=True, decrypting=decrypting)
        for offset, item in enumerate(records):
            if item["kind"] == "SEGMENT":
                self.table.segment(offset, dict(item))
            else:
                self.table.mark(offset, item["sensor"], item["run"], item["time"])
        self.left = self.table.flows
        self.table.end("sensor", "run")
        assert self.table.held == decrypting.held == 0
        self.events = [event for event in self.table.events if event["type"].startswith("tls_decrypt")]
        self.counts = Counter(self.table.take_counts())

    def ended(self) -> dict[str, int]:
        """Why directions were not decrypted to their end."""
        return {what[1]: n for what, n in self.counts.items() if what[0] == "tls_decryption_ended"}

    def told(self) -> list[tuple[str, str]]:
        """Types and fingerprints."""
        return [(event["type"], event["fingerprints"][event["type"]]) for event in self.events]


def read(made: Talk, size: int = 1400, **limits: Any) -> Read:
    return Read(made.segments(size), made.key_log, **limits)


def whole(found: Read, messages: int = 4) -> None:
    """All is told, verified, and nothing is remembered when both ends have closed."""
    assert [event["type"] for event in found.events] == ["tls_decrypt_http", "tls_decrypt_http_server"] * (
        messages // 2
    )
    assert found.ended() == {}
    assert found.left == 0
    for event in found.events:
        headers = {each["name"]: each["value"] for each in event[event["type"]]["headers"]}
        assert headers in (
            {"host": "www.example.com", "user-agent": "test", "cookie": "a=b"},
            {"content-length": "5", "server": "test"},
        )


CIPHERS = [
    *((V12, f"ECDHE-ECDSA-{name}", 0) for name in (
        "AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305", "AES128-CCM", "AES256-CCM8",
    )),
    *((version, f"ECDHE-ECDSA-{name}", options)
      for version, names in ((V12, ("AES128-SHA", "AES128-SHA256", "AES256-SHA384")),
                             (V11, ("AES128-SHA", "AES256-SHA")), (V10, ("AES128-SHA", "AES256-SHA")))
      for name in names for options in (0, NO_ENCRYPT_THEN_MAC)),
    (V13, "DEFAULT", 0),
]  # fmt: skip


@pytest.mark.parametrize(("version", "cipher", "options"), CIPHERS)
def test_every_family_of_ciphers(version: ssl.TLSVersion, cipher: str, options: int) -> None:
    made = talk(version, ASKED, cipher, options=options)
    found = read(made)
    whole(found)
    assert found.counts["tls_connections_decrypted", f"1.{version - V10}"] == 1
    for size in (1, 7, 300):
        again = read(made, size)
        assert again.told() == found.told()
        assert again.ended() == {}


@pytest.mark.parametrize(("version", "cipher", "options"), CIPHERS)
def test_one_wrong_bit_is_found_and_ends_the_direction(
    version: ssl.TLSVersion, cipher: str, options: int
) -> None:
    made = talk(version, ASKED, cipher, options=options)
    # The last record but one of the client's is its second request (the last says that it closes).
    sizes, stream = [], made.stream(True)
    while stream:
        sizes.append(5 + int.from_bytes(stream[3:5], "big"))
        stream = stream[sizes[-1] :]
    for at in (sum(sizes[:-2]) + 5, sum(sizes[:-1]) - 1):
        broken = corrupted(made, at)
        found = read(broken)
        assert Counter(event["type"] for event in found.events) == {
            "tls_decrypt_http": 1, "tls_decrypt_http_server": 2,
        }  # fmt: skip
        assert found.ended() == {"not_verified": 1}


def corrupted(made: Talk, at: int) -> Talk:
    """With a bit turned of the byte at ``at`` of what the client sent."""
    out = Talk(keys=made.keys)
    for client, data in made.sent:
        part = bytearray(data)
        if client:
            if 0 <= at < len(part):
                part[at] ^= 1
            at -= len(part)
        out.sent.append((client, bytes(part)))
    return out


def test_a_resumed_session_has_the_secrets_of_its_own_random() -> None:
    for version in (V12, V13):
        made = contexts(version)
        first = talk(version, ASKED, made=made)
        second = talk(version, ASKED, made=made, session=first.session)
        assert second.resumed
        whole(read(second))


def test_a_hello_retry_request() -> None:
    made = contexts(V13)
    made[1].set_ecdh_curve("secp521r1")  # the client's first key share is of another
    connection = talk(V13, ASKED, made=made)
    assert connection.stream(True).count(b"\x16\x03") >= 2
    whole(read(connection))


GET = b"GET / HTTP/1.0\r\n\r\n"
BOTH = ["tls_decrypt_http", "tls_decrypt_http_server"]


@needs_openssl
@pytest.mark.parametrize(
    "suite", ["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_CCM_SHA256"]
)
def test_the_suites_of_tls13(suite: str) -> None:
    (made,) = openssl_talks([["-ciphersuites", suite]], ["-ciphersuites", suite, "-www"], [GET])
    found = read(made)
    assert [event["type"] for event in found.events] == BOTH
    assert found.ended() == {}


@needs_openssl
def test_key_updates_of_both_ends() -> None:
    # K: the client's keys change, and it asks the server to change its own; k: the client's alone.
    (made,) = openssl_talks([["-tls1_3"]], ["-www"], [b"K\n", b"k\n", GET])
    (without,) = openssl_talks([["-tls1_3"]], ["-www"], [GET])
    found = read(made)
    assert [event["type"] for event in found.events] == BOTH
    assert found.ended() == {}
    # Three records more: two of the client's and the server's answer to the first.
    more = ("tls_records_decrypted",)
    assert found.counts[more] == read(without).counts[more] + 3


@needs_openssl
def test_early_data_is_passed_over(tmp_path: Path) -> None:
    early, session = tmp_path / "early", tmp_path / "session"
    early.write_bytes(b"GET /early HTTP/1.0\r\n\r\n")
    kept, used = ["-sess_out", str(session)], ["-sess_in", str(session), "-early_data", str(early)]
    first, second = openssl_talks([kept, used], ["-early_data"], [GET])
    found = [read(first), read(second)]
    assert [each.counts["tls_early_data_skipped",] > 0 for each in found] == [False, True]
    for each in found:
        assert [event["type"] for event in each.events] == ["tls_decrypt_http"]
        assert each.ended() == {}
