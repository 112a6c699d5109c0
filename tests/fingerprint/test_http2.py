"""HTTP/2's header blocks, however they are framed; what is hostile ends, and costs little."""

from __future__ import annotations

from time import process_time
from typing import Any

import pytest
from fingerprint.h2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    HEADERS,
    HELLO,
    HELLO_SERVER,
    PADDED,
    PRIORITISED,
    Speaker,
    frame,
    request,
    response,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from vermilion_fingerprint.cursor import Malformed
from vermilion_fingerprint.decrypt.http2 import FrameReader, may_be_settings
from vermilion_fingerprint.decrypt.messages import Http2, fingerprint_h2


def blocks(data: bytes, size: int = 0, *, server: bool = False) -> list[Http2]:
    """What is told of it, fed in parts of so many bytes."""
    reader = FrameReader(server=server)
    parts = [data[i : i + size] for i in range(0, len(data), size)] if size else [data]
    return [block for part in parts for block in reader.feed(part)]


def told(found: list[Http2]) -> list[tuple[int, int | None, list[tuple[str, str]]]]:
    return [(b.stream, b.promised, [(n.decode(), v.decode()) for n, v in b.fields]) for b in found]


def conversation() -> tuple[bytes, list[Any]]:
    """A server's frames of every kind, and what is to be told of them."""
    speaker = Speaker()
    speaker.encoder.header_table_size = 65536
    long = response(("x-long", "y" * 300), ("set-cookie", "a=b"))
    data = HELLO_SERVER + speaker.headers(1, response()) + frame(DATA, 0, 1, bytes(70_000)) + ACK
    data += speaker.continued(3, long) + frame(99, 0xFF, 7, b"unknown")
    data += speaker.pushed(3, 2, request("/pushed")) + speaker.headers(2147483647, response())
    data += speaker.headers(3, [("trailer", "x")])
    return data, [
        (1, None, response()), (3, None, long), (3, 2, request("/pushed")),
        (2147483647, None, response()), (3, None, [("trailer", "x")]),
    ]  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 2, 9, 1000])
def test_every_frame_in_any_parts(size: int) -> None:
    data, expected = conversation()
    assert told(blocks(data, size, server=True)) == expected


def test_positions_are_those_in_the_direction() -> None:
    data, _ = conversation()
    for block in blocks(data, 5, server=True):
        assert data[block.begin + 3] in (HEADERS, 5)
    first = Speaker().headers(1, request("/"))
    (only,) = blocks(HELLO[24:] + first)
    assert (only.begin, only.end) == (len(HELLO), len(HELLO) + len(first))


@settings(max_examples=60)
@given(st.data())
def test_every_truncation_is_the_beginning_of_the_whole(draw: st.DataObject) -> None:
    data, expected = conversation()
    cut = draw.draw(st.integers(0, len(data)))
    assert told(blocks(data[:cut], server=True)) == expected[: len(blocks(data[:cut], server=True))]


def test_the_fingerprint_and_its_words() -> None:
    (block,) = blocks(HELLO[24:] + Speaker().headers(1, request("/x", ("cookie", "a"), ("cookie", "b"))))
    assert fingerprint_h2(block).startswith("(" + b":method: GET".hex() + ")(" + b":scheme: https".hex())
    assert block.readable()[-2:] == [{"cookie": "a"}, {"cookie": "b"}]
    context = block.context()
    assert (context["method"], context["host"], context["uri"], context["stream"]) == (
        "GET", "www.example.com", "/x", 1,
    )  # fmt: skip
    assert context["headers"][-1] == {"name": "cookie", "value": "b"}


MALFORMED = {
    "stream_identifier": [
        frame(HEADERS, END_HEADERS, 0, b"\x82"),
        frame(CONTINUATION, END_HEADERS, 1, b"\x82"),
        frame(HEADERS, 0, 1, b"\x82") + frame(CONTINUATION, END_HEADERS, 3, b"\x82"),
    ],
    "type": [
        frame(HEADERS, 0, 1, b"\x82") + frame(DATA, 0, 1),
        frame(HEADERS, 0, 1, b"\x82") + 100 * frame(CONTINUATION, 0, 1),
    ],
    "pad_length": [
        frame(HEADERS, END_HEADERS | PADDED, 1, b""),
        frame(HEADERS, END_HEADERS | PADDED, 1, b"\x05abcd"),
        frame(HEADERS, END_HEADERS | PADDED | PRIORITISED, 1, b"\x00abcd"),
    ],
    "length": [
        frame(HEADERS, END_HEADERS, 1, bytes((1 << 16) + 1))[:9],
        frame(HEADERS, 0, 1, bytes(1 << 15)) + 3 * frame(CONTINUATION, 0, 1, bytes(1 << 15)),
    ],
    "field_block": [
        frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
        frame(HEADERS, END_HEADERS, 1, b"\x3f\xff\xff\xff\x7f"),
        frame(HEADERS, END_HEADERS, 1, b"\x80"),
    ],
}


@pytest.mark.parametrize(
    ("field", "data"), [(name, data) for name, all_ in MALFORMED.items() for data in all_]
)
def test_what_cannot_be(field: str, data: bytes) -> None:
    with pytest.raises(Malformed) as raised:
        blocks(data, server=True)
    assert raised.value.field == field


def test_a_bomb_is_not_unpacked() -> None:
    # An entry of 4 KB, and thousands of references to it, a byte each (RFC 7541 section 7.3).
    bomb = b"\x40\x01a\x7f\xa1\x1e" + 4000 * b"x" + 20_000 * b"\xbe"
    begun = process_time()
    with pytest.raises(Malformed, match="Oversized"):
        blocks(frame(HEADERS, END_HEADERS, 1, bomb), server=True)
    assert process_time() - begun < 5


def test_nothing_grows_with_the_connection() -> None:
    reader = FrameReader(server=True)
    speaker = Speaker()
    highest = 0
    for number in range(2000):
        fields = response(("x-number", f"{number}{'z' * 40}"))
        assert len(list(reader.feed(speaker.headers(number + 1, fields)))) == 1
        list(reader.feed(frame(DATA, 0, 1, bytes(16000))))
        highest = max(highest, reader.cost)
    assert highest <= 4 * 4096


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (HELLO_SERVER, True), (ACK, True), (HELLO_SERVER[:4], True), (b"", True),
        (b"HTTP/1.1 ", False), (frame(SETTINGS := 4, 0, 1), False), (frame(SETTINGS, 0, 0, bytes(5)), False),
        (b"\0\0\0\0\0\0\0\0\0", False),
    ],
)  # fmt: skip
def test_what_a_servers_first_frame_looks_like(data: bytes, expected: bool) -> None:
    assert may_be_settings(data) is expected


@given(st.binary(max_size=300), st.integers(0, 300))
@settings(max_examples=200)
def test_any_bytes(data: bytes, cut: int) -> None:
    def outcome(parts: list[bytes]) -> tuple[list[Any], str]:
        reader, out = FrameReader(server=True), []
        try:
            for part in parts:
                out += told(list(reader.feed(part)))
        except (Malformed, UnicodeDecodeError) as bad:
            return out, type(bad).__name__
        return out, ""

    assert outcome([data[:cut], data[cut:]]) == outcome([data])
