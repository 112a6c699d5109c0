"""The ClientHello parser: what it reads, and what it makes of bytes that are none."""

import pytest
from fingerprint.hellos import extension, hello, recorded, records, u16s, vector
from hypothesis import given
from hypothesis import strategies as st

from vermilion_fingerprint import tls
from vermilion_fingerprint.cursor import Cursor, Malformed, NeedMore

GREASE = [(high << 12) | (high << 4) | 0x0A0A for high in range(16)]


def fingerprint(stream: bytes) -> str:
    return tls.fingerprint(tls.parse(Cursor(stream)))


def test_the_seed_form() -> None:
    extensions = (
        extension(0, vector(b"\0" + vector(b"a.example", 2), 2)) + extension(23) + extension(11, b"\1\0")
    )
    parsed = tls.parse(Cursor(records(hello(u16s(0x1301, 0xC02F), extensions))))
    assert tls.fingerprint(parsed) == "(0303)(1301c02f)((0000)(0017)(000b00020100))"
    assert parsed.server_name == "a.example"
    assert parsed.cipher_suites == [0x1301, 0xC02F]
    assert [kind for kind, _ in parsed.extensions] == [0, 23, 11]
    assert not parsed.truncated


@pytest.mark.parametrize("extensions", [None, b""])
def test_no_extensions(extensions: bytes | None) -> None:
    assert fingerprint(records(hello(extensions=extensions))) == "(0303)(c02f)()"


@pytest.mark.parametrize("value", GREASE)
def test_every_grease_value_in_every_list_is_written_0a0a(value: int) -> None:
    extensions = (
        extension(value, b"\0")
        + extension(10, vector(u16s(value, 29, value), 2))
        + extension(43, vector(u16s(value, 0x0304, value), 1))
    )
    assert fingerprint(records(hello(u16s(value, 0x1301, value), extensions))) == (
        "(0303)(0a0a13010a0a)((0a0a000100)(000a000800060a0a001d0a0a)(002b0007060a0a03040a0a))"
    )


@pytest.mark.parametrize("code", [0x0A1A, 0x1A0A, 0x0B0B, 0x0A0B, 0x2A3A])
def test_what_only_looks_like_grease_stays(code: int) -> None:
    assert fingerprint(records(hello(u16s(code)))) == f"(0303)({code:04x})()"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 100])
def test_split_over_records(size: int) -> None:
    stream = recorded()[0]
    message = stream[5:]
    assert fingerprint(records(message, size)) == fingerprint(stream)


@pytest.mark.parametrize("number", range(len(recorded())))
def test_every_truncation_of_every_recorded_hello(number: int) -> None:
    """Nothing but the parser's own outcomes; NEED_MORE is exact enough to wait for."""
    stream = recorded()[number]
    whole = fingerprint(stream)
    for end in range(len(stream)):
        with pytest.raises(NeedMore) as more:
            tls.parse(Cursor(stream[:end]))
        assert end < more.value.total <= len(stream)
        try:
            cut = tls.parse(Cursor(stream[:end]), final=True)
        except Malformed:
            continue
        assert cut.truncated
        assert whole.startswith(tls.fingerprint(cut)[:-1])


@given(st.data())
def test_corrupted_hellos_raise_only_the_parsers_own(data: st.DataObject) -> None:
    stream = bytearray(data.draw(st.sampled_from(recorded())))
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    for final in (False, True):
        try:
            parsed = tls.parse(Cursor(bytes(stream)), final)
        except Malformed:
            continue
        except NeedMore:
            assert not final
            continue
        assert tls.fingerprint(parsed).startswith("(03")
        assert parsed.server_name is None or isinstance(parsed.server_name, str)


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes(stream: bytes, final: bool) -> None:
    for attempt in (lambda: tls.matches(Cursor(stream)), lambda: tls.parse(Cursor(stream), final)):
        try:
            attempt()
        except (Malformed, NeedMore) as outcome:
            assert str(outcome)


def test_every_length_field_corrupted() -> None:
    """Each byte of a hello set to each of a few values: no field reads beyond its declared end."""
    stream = bytearray(recorded()[0])
    for at in range(len(stream)):
        old = stream[at]
        for value in (0, 1, 0x7F, 0x80, 0xFF):
            stream[at] = value
            try:
                parsed = tls.parse(Cursor(bytes(stream)), True)
            except Malformed as bad:
                assert bad.field
            else:
                assert sum(len(body) for _, body in parsed.extensions) < len(stream)
        stream[at] = old


def test_extension_cannot_read_its_neighbour() -> None:
    """An extension that declares more than the list holds is malformed, not filled from behind."""
    extensions = u16s(0) + u16s(9) + b"\0"
    message = hello(extensions=extensions)
    with pytest.raises(Malformed) as bad:
        tls.parse(Cursor(records(message + b"\xff" * 50)))
    assert bad.value.field == "extension_data"


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"", None),
        (vector(b"", 2), None),
        (vector(b"\0" + vector(b"", 2), 2), None),
        (vector(b"\1" + vector(b"other", 2) + b"\0" + vector(b"host", 2), 2), "host"),
        (vector(b"\0" + vector(b"None", 2), 2), "None"),
        (vector(b"\0" + vector(b"\xff.x", 2), 2), "\\xff.x"),
        (vector(b"\0\0\x20short", 2), None),
    ],
)
def test_server_name(body: bytes, name: str | None) -> None:
    parsed = tls.parse(Cursor(records(hello(extensions=extension(0, body)))))
    assert parsed.server_name == name
    assert tls.fingerprint(parsed) == "(0303)(c02f)((0000))"


def test_interrupted_by_another_record_it_is_told_as_far_as_it_goes() -> None:
    message = hello(extensions=extension(23) + extension(35))
    stream = records(message[:-4]) + b"\x15\x03\x01\x00\x02\x02\x28"
    parsed = tls.parse(Cursor(stream))
    assert parsed.truncated
    assert tls.fingerprint(parsed) == "(0303)(c02f)((0017))"


@pytest.mark.parametrize(
    ("stream", "field"),
    [
        (b"\x16\x03\x01\x00\x00", "length"),
        (b"\x16\x03\x01\xff\xff", "length"),
        (b"\x16\x02\x01", "ProtocolVersion"),
        (b"\x17\x03\x01", "ContentType"),
        (records(hello(version=0x0203)), "legacy_version"),
        (records(hello(suites=b"")), "cipher_suites"),
        (records(hello(suites=b"\x13")), "cipher_suites"),
        (records(hello(session=bytes(33))), "legacy_session_id"),
        (records(b"\x02" + hello()[1:]), "HandshakeType"),
    ],
)
def test_malformed_names_its_field(stream: bytes, field: str) -> None:
    with pytest.raises(Malformed) as bad:
        tls.parse(Cursor(stream))
    assert bad.value.field == field
    assert field in str(bad.value)
    assert str(bad.value.offset) in str(bad.value)
