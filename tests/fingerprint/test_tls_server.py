"""The ServerHello parser: what it reads, and what it makes of bytes that are none."""

import gzip
import json
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

import pytest
from fingerprint.hellos import extension, records, u16s, vector
from fingerprint.servers import (
    REFERENCE,
    Ends,
    certificates,
    directions,
    recorded,
    retry_request,
    server_hello,
)
from hypothesis import given
from hypothesis import strategies as st

from vermilion_fingerprint import tls_server
from vermilion_fingerprint.cursor import Cursor, Malformed, NeedMore

WARNING = b"\x15\x03\x03\x00\x02\x01\x70"  # RFC 6066 3: unrecognized_name
CHANGE_CIPHER_SPEC = b"\x14\x03\x03\x00\x01\x01"


def parse(stream: bytes, final: bool = False) -> tls_server.ServerHello:
    return tls_server.parse(Cursor(stream), final)


def fingerprint(stream: bytes) -> str:
    return tls_server.fingerprint(parse(stream))


def test_the_seed_form() -> None:
    extensions = (
        extension(23) + extension(0xFF01, b"\0") + extension(11, b"\1\0") + extension(16, b"\0\3\2h2")
    )
    stream = records(server_hello(0xC02B, extensions, session=bytes(32)))
    hello = parse(stream)
    assert tls_server.fingerprint(hello) == ("(0303)(c02b)((0017)(ff01)(000b00020100)(001000050003026832))")
    assert (hello.version, hello.cipher_suite, hello.end) == (0x0303, 0xC02B, len(stream))
    assert not (hello.truncated or hello.retry or hello.tls13)
    assert hello.readable() == {
        "version": "TLS 1.2",
        "selected_cipher_suite": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "extensions": [
            {"extended_master_secret": ""},
            {"renegotiation_info": ""},
            {"ec_point_formats": {"ec_point_formats_length": 1, "ec_point_formats": ["uncompressed"]}},
            {"application_layer_protocol_negotiation": ["h2"]},
        ],
    }


def test_extensions_are_kept_as_those_of_a_client_hello() -> None:
    extensions = (
        extension(0x3A3A, b"\1") + extension(51, b"\0") + extension(0x5500, b"\2") + extension(23, b"\3")
    )
    assert fingerprint(records(server_hello(0x3A3A, extensions))) == (
        "(0303)(3a3a)((0a0a000101)(0033)(5500000102)(0017))"
    )


@pytest.mark.parametrize("extensions", [None, b""])
def test_no_extensions_are_not_taken_from_the_message_behind(extensions: bytes | None) -> None:
    stream = records(server_hello(extensions=extensions) + certificates(b"\x30" * 50))
    assert fingerprint(stream) == "(0303)(c02f)()"
    assert parse(stream).end == 5 + len(server_hello(extensions=extensions))


def test_compression_is_one_byte_and_no_length() -> None:
    message = bytearray(server_hello(extensions=extension(23)))
    message[4 + 2 + 32 + 1 + 2] = 1
    assert fingerprint(records(bytes(message))) == "(0303)(c02f)((0017))"


@pytest.mark.parametrize(
    ("version", "suite", "kinds", "text", "digest"),
    [
        # The hashes its authors published for Trickbot's and Emotet's servers.
        (0x0301, 0xC014, (0xFF01, 11), "769,49172,65281-11", "623de93db17d313345d7ea481e7443cf"),
        (0x0303, 0x003C, (0xFF01,), "771,60,65281", "80b3a14bccc8598a1f3bbe83e71f735f"),
        # The string they show as an example; the hash beside it takes in a line end.
        (0x0301, 47, (0xFF01, 0, 11, 35, 5, 16), "769,47,65281-0-11-35-5-16", None),
        (0x0301, 47, None, "769,47,", None),
    ],
)
def test_ja3s(version: int, suite: int, kinds: tuple[int, ...] | None, text: str, digest: str | None) -> None:
    extensions = None if kinds is None else b"".join(map(extension, kinds))
    hello = parse(records(server_hello(suite, extensions, version)))
    assert tls_server.ja3s_string(hello) == text
    expected = digest or md5(text.encode(), usedforsecurity=False).hexdigest()
    assert tls_server.ja3s(hello) == expected


def test_a_hello_behind_a_retry_request() -> None:
    """RFC 8446 4.1.4; a change_cipher_spec may lie between them (D.4)."""
    first = records(retry_request())
    stream = first + CHANGE_CIPHER_SPEC + records(server_hello(0x1301, extension(43, b"\3\4")))
    retry = parse(stream)
    assert retry.retry
    assert retry.end == len(first)
    assert tls_server.fingerprint(retry) == "(0303)(1301)((0033)(002b00020304))"
    rest = stream[retry.end :]
    assert tls_server.matches(Cursor(rest))
    assert not parse(rest).retry
    assert parse(rest).end == len(rest)


def test_a_warning_before_the_hello() -> None:
    stream = WARNING + records(server_hello())
    assert tls_server.matches(Cursor(stream))
    assert fingerprint(stream) == "(0303)(c02f)()"
    assert (parse(stream).begin, parse(stream).end) == (len(WARNING), len(stream))
    assert not tls_server.matches(Cursor(b"\x15\x03\x03\x00\x02\x02\x28" + records(server_hello())))
    assert not tls_server.matches(Cursor(WARNING * 5 + records(server_hello())))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 100])
def test_split_over_records(size: int) -> None:
    message = server_hello(0x1301, extension(43, b"\3\4") + extension(51, bytes(36)))
    stream = records(message, size)
    assert fingerprint(stream) == "(0303)(1301)((002b00020304)(0033))"
    assert parse(stream).end == len(stream)


@pytest.mark.parametrize("number", range(len(recorded())))
def test_every_truncation_of_every_recorded_hello(number: int) -> None:
    stream = recorded()[number]
    stream = stream[: parse(stream).end]
    whole = fingerprint(stream)
    for end in range(len(stream)):
        with pytest.raises(NeedMore) as more:
            parse(stream[:end])
        assert end < more.value.total <= len(stream)
        try:
            cut = parse(stream[:end], final=True)
        except Malformed:
            continue
        assert cut.truncated
        assert whole.startswith(tls_server.fingerprint(cut)[:-1])


@pytest.mark.parametrize("number", range(len(recorded())))
def test_byte_at_a_time_equals_whole(number: int) -> None:
    """Told when NeedMore says, a few tries are enough."""
    stream = recorded()[number]
    tries, total = 0, 1
    while True:
        tries += 1
        try:
            hello = parse(stream[:total])
            break
        except NeedMore as more:
            total = more.total
    assert tries < 6
    assert tls_server.fingerprint(hello) == tls_server.fingerprint(parse(stream))
    assert hello.end == parse(stream).end


def test_every_byte_corrupted() -> None:
    source = recorded()[0]
    stream = bytearray(source[: parse(source).end])
    for at in range(len(stream)):
        old = stream[at]
        for value in (0, 1, 0x7F, 0x80, 0xFF):
            stream[at] = value
            try:
                hello = parse(bytes(stream), True)
            except Malformed as bad:
                assert bad.field
            else:
                assert sum(len(body) for _, body in hello.extensions) < len(stream)
                assert json.dumps(hello.readable())
        stream[at] = old


@given(st.data())
def test_corrupted_hellos_raise_only_the_parsers_own(data: st.DataObject) -> None:
    stream = bytearray(data.draw(st.sampled_from(recorded()))[:300])
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    for final in (False, True):
        try:
            hello = parse(bytes(stream), final)
        except Malformed:
            continue
        except NeedMore:
            assert not final
            continue
        assert tls_server.fingerprint(hello).startswith("(03")
        assert json.dumps(hello.readable())


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes(stream: bytes, final: bool) -> None:
    try:
        tls_server.matches(Cursor(stream))
    except NeedMore as more:
        assert more.total > len(stream)
    try:
        parse(stream, final)
    except NeedMore:
        assert not final
    except Malformed as outcome:
        assert str(outcome)


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=8))
def test_any_extensions_are_read_and_readable(items: list[tuple[int, bytes]]) -> None:
    hello = parse(records(server_hello(extensions=b"".join(extension(kind, body) for kind, body in items))))
    assert hello.extensions == items
    assert json.dumps(hello.readable())


@pytest.mark.parametrize(
    ("stream", "field"),
    [
        (b"\x16\x03\x01\x00\x00", "length"),
        (b"\x16\x03\x01\xff\xff", "length"),
        (b"\x16\x02\x01", "ProtocolVersion"),
        (b"\x17\x03\x01", "ContentType"),
        (records(server_hello(version=0x0203)), "legacy_version"),
        (records(server_hello(session=bytes(33))), "legacy_session_id_echo"),
        (records(b"\x01" + server_hello()[1:]), "HandshakeType"),
        (records(b"\x02\xff\xff\xff" + server_hello()[4:]), "length"),
        (records(server_hello(extensions=u16s(0, 9) + b"\0") + b"\xff" * 50), "extension_data"),
        (records(server_hello(extensions=extension(0) * 1001)), "extensions"),
    ],
)
def test_malformed_names_its_field(stream: bytes, field: str) -> None:
    with pytest.raises(Malformed) as bad:
        parse(stream)
    assert bad.value.field == field


def test_interrupted_by_another_record_it_is_told_as_far_as_it_goes() -> None:
    stream = records(server_hello(extensions=extension(23) + extension(35))[:-4])
    hello = parse(stream + b"\x15\x03\x01\x00\x02\x02\x28")
    assert hello.truncated
    assert hello.end == len(stream)
    assert tls_server.fingerprint(hello) == "(0303)(c02f)((0017))"


def test_unknown_code_points_show_as_hex() -> None:
    items = ((0x1234, b""), (43, u16s(0x7F1C)), (11, b"\1\7"), (16, b"\0\3\2\xff2"))
    extensions = b"".join(extension(kind, body) for kind, body in items)
    assert parse(records(server_hello(0xEEEE, extensions, 0x0399))).readable() == {
        "version": "0399",
        "selected_cipher_suite": "eeee",
        "extensions": [
            {"1234": ""},
            {"supported_versions": "TLS 1.3 (draft 28)"},
            {"ec_point_formats": {"ec_point_formats_length": 1, "ec_point_formats": ["07"]}},
            {"application_layer_protocol_negotiation": ["\\xff2"]},
        ],
    }


@pytest.mark.parametrize(
    "stream",
    [
        records(server_hello(extensions=b"".join(extension(kind) for kind in range(16000)))),
        records(server_hello(extensions=extension(16, vector(b"\1a" * 30000, 2)))),
        records(server_hello(extensions=bytes(9000)), 1),
        records(b"\x02\x00\xff\xff" + bytes(10900), 1),
    ],
    ids=["extensions", "protocols", "small records", "unfinished"],
)
def test_hostile_64_kib(stream: bytes) -> None:
    def cost() -> float:
        start = time.thread_time()
        try:
            hello = parse(stream[: 1 << 16], True)
            tls_server.fingerprint(hello)
        except Malformed:
            pass
        return time.thread_time() - start

    assert min(cost() for _ in range(7)) < 0.005


def hellos(stream: bytes) -> Iterator[tls_server.ServerHello]:
    """What the flow table would tell: the hello of a stream, and one behind a retry."""
    try:
        while tls_server.matches(Cursor(stream)):
            hello = parse(stream, True)
            yield hello
            if not hello.retry:
                return
            stream = stream[hello.end :]
    except (NeedMore, Malformed):
        return


def events(capture: Path) -> Counter[tuple[Ends, str]]:
    return Counter(
        (ends, tls_server.fingerprint(hello))
        for ends, _, stream in directions(capture)
        for hello in hellos(stream)
    )


def goldens(folder: str) -> list[Path]:
    return sorted((REFERENCE / "golden" / folder).glob("*.jsonl.gz"))


def lines(golden: Path) -> list[dict[str, object]]:
    with gzip.open(golden, "rt") as text:
        return [json.loads(line) for line in text]


needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the peers' outputs are not here")
