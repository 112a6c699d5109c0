"""Where an HTTP/1.x message's body ends, and with it where the next message may begin."""

import pytest
from fingerprint.test_http import REQUEST, Side, behind, both, messages, request, response

from vermilion_fingerprint.cursor import Cursor, NeedMore


@pytest.mark.parametrize(
    ("fields", "body", "end"),
    [
        (b"", b"", 0),
        (b"Content-Length: 0\r\n", b"", 0),
        (b"content-LENGTH:5\r\n", b"", 5),
        (b"Content-Length: 5, 5\r\nContent-Length: 5\r\n", b"", 5),
        (b"Content-Length: 5\r\nContent-Length: 6\r\n", b"", None),
        (b"Content-Length: -5\r\n", b"", None),
        (b"Content-Length: +5\r\n", b"", None),
        (b"Content-Length: 5x\r\n", b"", None),
        (b"Content-Length:\r\n", b"", None),
        (b"Content-Length: " + b"9" * 5000 + b"\r\n", b"", None),
        (b"Content-Length: 999999999999999\r\n", b"", 999999999999999),
        (b"Content-Length: 3\r\nTransfer-Encoding: gzip, Chunked\r\n", b"2\r\nab\r\n0\r\n\r\nGET", 12),
        (b"Transfer-Encoding: chunked, gzip\r\n", b"", None),
        (b"Transfer-Encoding: chunked\r\n", b"00\r\na: b\r\nc: d\r\n\r\n", 18),
        (b"Transfer-Encoding: chunked\r\n", b"a;x=y\r\n0123456789\r\n0;z\r\n\r\n", 26),
        (b"Transfer-Encoding: chunked\r\n", b"1 \nx\n0\n\n", 8),
        (b"Transfer-Encoding: chunked\r\n", b"1\r\nxy\r\n0\r\n\r\n", None),
        (b"Transfer-Encoding: chunked\r\n", b"1\r\nx\rx", None),
        (b"Transfer-Encoding: chunked\r\n", b"0x1\r\nx\r\n0\r\n\r\n", None),
        (b"Transfer-Encoding: chunked\r\n", b"\r\n", None),
        (b"Transfer-Encoding: chunked\r\n", b"f" * 16 + b"\r\n", None),
        (b"Transfer-Encoding: chunked\r\n", b"0\r\n" + b"a\n" * 1001, None),
        (b"Transfer-Encoding: chunked\r\n", b"0;" + b"a" * 5000, None),
    ],
)
@both
def test_where_the_body_ends(side: Side, fields: bytes, body: bytes, end: int | None) -> None:
    """RFC 9112 6.3 and 7.1; None: it cannot be known."""
    start = b"POST / HTTP/1.1\r\n" if side is REQUEST else b"HTTP/1.1 200 OK\r\n"
    head = start + fields + b"\r\n"
    body = body or b"x" * min(end or 0, 20)
    message = side.parse(Cursor(head + body))
    # RFC 9112 6.3, eighth rule: a response without a length lasts until the connection closes, unless
    # it is a tunnel's, which may begin at once.
    known = -1 if end is None else len(head) + end
    assert behind(message, head + body) == known
    assert behind(side.parse(Cursor(head)), head + body) == known
    # Byte after byte, what is stepped over being gone:
    message = side.parse(Cursor(head))
    at, passed = 0, not message.followed_by
    for size in range(len(head), len(head + body) + 1):
        try:
            while not passed and at >= 0:
                count, passed = message.step_over(Cursor((head + body)[at:size]))
                at = -1 if count < 0 else at + count
        except NeedMore as more:
            assert more.total > max(size - at, 0)
    assert (at if passed and message.followed_by else -1) == known


@both
def test_chunked_in_http_1_0_is_no_framing(side: Side) -> None:
    """RFC 9112 6.1."""
    start = b"POST / HTTP/1.0\r\n" if side is REQUEST else b"HTTP/1.0 200 OK\r\n"
    assert side.parse(Cursor(start + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")).followed_by == ()


@pytest.mark.parametrize(
    ("status", "body"), [("100", 0), ("199", 0), ("204", 0), ("304", 0), ("200", 9), ("500", 9)]
)
def test_responses_without_a_body(status: str, body: int) -> None:
    head = f"HTTP/1.1 {status} x\r\nContent-Length: 9\r\n\r\n".encode()
    assert behind(response(head), head + bytes(body)) == len(head) + body


def test_after_these_the_stream_is_not_http() -> None:
    """RFC 9110 15.2.2 and 9.3.6."""
    assert response(b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n").followed_by == ()


def test_pipelined_with_bodies_and_a_line_too_many() -> None:
    """RFC 9112 2.2: old clients send a CRLF after a body, which no length counts."""
    stream = (
        b"POST /1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\r\n"
        b"PUT /2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nGET\r\n0\r\n\r\nGET /3 HTTP/1.1\r\n\r\n"
    )
    assert [message.target for _, message in messages(stream)] == [b"/1", b"/2", b"/3"]
    answers = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 204 N\r\n\r\n"
    )
    assert [message.status for _, message in messages(answers)] == [b"100", b"200", b"204"]


@pytest.mark.parametrize("field", [b"Content-Length: 1000\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_response_to_head_has_no_body(field: bytes) -> None:
    """RFC 9112 6.3, first rule: it says how long the body would be."""
    head = b"HTTP/1.1 200 OK\r\n" + field + b"\r\n"
    answers = head * 3 + b"HTTP/1.1 204 No Content\r\n\r\n"
    assert [message.status for _, message in messages(answers)] == [b"200"] * 3 + [b"204"]
    for size in range(len(head), len(head) + 13):
        with pytest.raises(NeedMore):
            behind(response(head), answers[:size])
    body = b"HTTP/2" + bytes(994)
    assert field[:1] == b"T" or behind(response(head), head + body) == len(head + body)


def test_a_chunked_body_cut_anywhere_is_passed() -> None:
    """RFC 9112 7.1: byte after byte, with what is passed gone, as the flow does it."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"5\r\nhello\r\n3;x=y\r\nyou\r\n0\r\nTrailer: t\r\n\r\n"
    for cut in range(len(head), len(head + body) + 1):
        message, at, passed = response(head), 0, False
        for end in (cut, len(head + body)):
            try:
                while not passed:
                    count, passed = message.step_over(Cursor((head + body)[at:end]))
                    assert count >= 0
                    at += count
            except NeedMore:
                assert end == cut
        assert (passed, at) == (True, len(head + body))


def test_what_may_be_in_a_tunnel() -> None:
    """RFC 9110 9.3.6."""
    asked = request(b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n")
    assert asked.followed_by == ("tls", "http", "ssh")
    assert asked.step_over(Cursor(b"")) == (asked.end, True)
    assert "tls_server" in response(b"HTTP/1.1 200 Connection established\r\n\r\n").followed_by
    assert response(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n").followed_by == ()
