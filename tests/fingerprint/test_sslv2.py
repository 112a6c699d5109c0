"""SSLv2's hello, by RFC 5246 appendix E.2, and what is none."""

from typing import Any

import pytest
from fingerprint.flowrecords import end, events, record
from hypothesis import given
from hypothesis import strategies as st

from vermilion_fingerprint import sslv2
from vermilion_fingerprint.cursor import Cursor, Malformed, NeedMore

SPECS = bytes.fromhex("01008000002f00000a0000ff")


def hello(
    version: int = 0x0301, specs: bytes = SPECS, session: bytes = b"", challenge: bytes = bytes(16)
) -> bytes:
    lengths = b"".join(len(part).to_bytes(2, "big") for part in (specs, session, challenge))
    body = b"\x01" + version.to_bytes(2, "big") + lengths + specs + session + challenge
    return (0x8000 | len(body)).to_bytes(2, "big") + body


@pytest.mark.parametrize("version", [0x0002, 0x0300, 0x0301, 0x0303])
@pytest.mark.parametrize("session", [b"", bytes(16)])
def test_a_hello(version: int, session: bytes) -> None:
    stream = hello(version, session=session, challenge=bytes(32))
    assert sslv2.matches(Cursor(stream))
    found = sslv2.parse(Cursor(stream + b"behind"))
    assert sslv2.fingerprint(found) == f"({version:04x})(01008000002f00000a0000ff)"
    assert (found.begin, found.end, found.truncated) == (0, len(stream), False)


def test_in_words() -> None:
    assert sslv2.parse(Cursor(hello())).readable() == {
        "version": "TLS 1.0",
        "cipher_specs": [
            "010080",
            "TLS_RSA_WITH_AES_128_CBC_SHA",
            "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
            "TLS_EMPTY_RENEGOTIATION_INFO_SCSV",
        ],
    }


WRONG = {
    "no high bit": b"\x00" + hello()[1:],
    "another message": hello()[:2] + b"\x02" + hello()[3:],
    "another version": hello(0x0401),
    "no specs": hello(specs=b""),
    "half a spec": hello(specs=bytes(4)),
    "a session id of 5": hello(session=bytes(5)),
    "a challenge of 15": hello(challenge=bytes(15)),
    "a challenge of 33": hello(challenge=bytes(33)),
    "a length that is not the sum": hello()[:1] + b"\x40" + hello()[2:],
}


@pytest.mark.parametrize("stream", WRONG.values(), ids=WRONG)
def test_what_is_none(stream: bytes) -> None:
    assert not sslv2.matches(Cursor(stream))


def test_every_truncation() -> None:
    whole = hello()
    for length in range(len(whole)):
        with pytest.raises(NeedMore) as more:
            sslv2.parse(Cursor(whole[:length]))
        assert length < more.value.total <= len(whole)
        if length < 11 + len(SPECS):
            with pytest.raises(Malformed):
                sslv2.parse(Cursor(whole[:length]), True)
        else:
            cut = sslv2.parse(Cursor(whole[:length]), True)
            assert (cut.truncated, cut.end) == (True, length)
            assert sslv2.fingerprint(cut) == sslv2.fingerprint(sslv2.parse(Cursor(whole)))


@given(st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    for stream in (data, hello()[:5] + data):
        for final in (False, True):
            try:
                found = sslv2.parse(Cursor(stream), final)
            except (NeedMore, Malformed):
                continue
            assert 11 < found.end <= len(stream)


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_the_event(size: int) -> None:
    stream = hello()
    pieces: list[Any] = [
        record(1000 + at, stream[at : at + size], ordinal=n)
        for n, at in enumerate(range(0, len(stream), size))
    ]
    (event,) = events([*pieces, end()])
    assert event["type"] == "sslv2"
    assert event["fingerprints"] == {"sslv2": "(0301)(01008000002f00000a0000ff)"}
    assert event["reassembled"] is (size < len(stream))
