"""The HTTP/1.x parsers: what they read, where the next message begins, and what is none."""

import json
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vermilion_capture.capturefile import CaptureFile
from vermilion_capture.packet import Segment, segment
from vermilion_fingerprint import http
from vermilion_fingerprint.cursor import Cursor, Malformed, NeedMore
from vermilion_fingerprint.streams import in_order

ROOT = Path(__file__).parents[2]
OURS = (
    ROOT / "cli/src/vermilion/recordings/programs.pcap",
    ROOT / "tests/data/http_get_post.pcap",
    ROOT / "tests/data/http_two_requests.pcap",
)
SYN = 2

Ends = tuple[str, int, str, int]


class Side(NamedTuple):
    """One of the module's two protocols."""

    name: str
    matches: Callable[[Cursor], bool]
    parse: Callable[..., Any]
    fingerprint: Callable[[Any], str]


REQUEST = Side("http", http.matches_request, http.parse_request, http.fingerprint_request)
RESPONSE = Side("http_server", http.matches_response, http.parse_response, http.fingerprint_response)
SIDES = (REQUEST, RESPONSE)
both = pytest.mark.parametrize("side", SIDES, ids=lambda side: side.name)


def streams(path: Path) -> dict[Ends, bytes]:
    """Each direction's bytes in order."""
    pieces: dict[Ends, list[tuple[int, bytes]]] = {}
    begins: dict[Ends, int] = {}
    with CaptureFile(path) as capture:
        for frame in capture:
            found = segment(frame.data)
            if isinstance(found, Segment):
                one, two = str(ip_address(found.src_ip)), str(ip_address(found.dst_ip))
                ends = (one, found.src_port, two, found.dst_port)
                if found.flags & SYN:
                    begins[ends] = found.seq
                if found.payload:
                    pieces.setdefault(ends, []).append((found.seq, found.payload))
    return {ends: in_order(each, begins.get(ends), 1 << 20) for ends, each in pieces.items()}


def messages(stream: bytes) -> Iterator[tuple[Side, Any]]:
    """All messages of a stream, of which nothing more will come."""
    at = 0
    while True:
        rest = stream[at:]
        try:
            side = next(side for side in SIDES if side.matches(Cursor(rest)))
        except (NeedMore, StopIteration):
            return
        message = side.parse(Cursor(rest), final=True)
        yield side, message
        assert message.end > 0
        step = behind(message, rest)
        if step < 0:
            return
        assert step >= message.end
        at += step


def behind(message: Any, stream: bytes) -> int:
    """Where the next message may begin; -1 when none can. Raises NeedMore."""
    at, passed = 0, not message.followed_by
    if passed:
        return -1
    while not passed:
        count, passed = message.step_over(Cursor(stream[at:]))
        if count < 0:
            return -1
        at += count
    return at


@lru_cache
def recorded() -> tuple[tuple[Side, bytes], ...]:
    """The first message's head in each HTTP stream of the project's own recordings."""
    found = {}
    for path in OURS:
        for stream in streams(path).values():
            for side, message in messages(stream):
                found[stream[: message.end]] = side
                break
    assert len(found) > 12
    return tuple((side, head) for head, side in found.items())


def request(text: bytes, final: bool = False) -> http.Request:
    return http.parse_request(Cursor(text), final)


def response(text: bytes, final: bool = False) -> http.Response:
    return http.parse_response(Cursor(text), final)


def hexed(*groups: bytes) -> str:
    return "".join(f"({group.hex()})" for group in groups)


def test_recordings_hold_what_was_recorded() -> None:
    found = streams(ROOT / "tests/data/http_two_requests.pcap")
    (one, two) = (list(messages(stream)) for stream in found.values())
    assert [(side.name, message.target) for side, message in one] == [("http", b"/"), ("http", b"/about")]
    assert [(side.name, message.status) for side, message in two] == [("http_server", b"200")] * 2
    assert one[0][1].context() == {
        "user_agent": "curl/7.88.1", "host": "www.example.com", "x_forwarded_for": None, "via": None,
        "uri": "/",
    }  # fmt: skip


def test_request_forms() -> None:
    text = (
        b"GET /a?b HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nACCEPT-Language: en\r\nOrigin: o\r\norigin: o\r\n"
        b"content-type: t\r\nContent-Type: t\r\nX-Own: 1\r\nDNT:1\r\nDPR\r\nCache-Control: no \r\n\r\n"
    )
    # Without ": " the whole line is the name, as pmercury has it.
    assert http.fingerprint_request(request(text)) == hexed(
        b"GET", b"HTTP/1.1", b"Host", b"Accept: */*", b"ACCEPT-Language: en", b"Origin", b"origin: o",
        b"content-type: t", b"Content-Type", b"X-Own", b"DNT:1", b"DPR", b"Cache-Control: no ",
    )  # fmt: skip
    fields = hexed(b"Host", b"Accept: */*", b"ACCEPT-Language", b"DNT:1", b"Cache-Control")
    assert http.npf_request(request(text)) == f"http/{hexed(b'GET', b'HTTP/1.1')}({fields})"


def test_response_forms() -> None:
    text = (
        b"HTTP/1.1 404 Not  Found\r\nServer: s\r\nDate: d\r\nvary: v\r\nP3P: p\r\nX-Powered-By: x\r\n"
        b"ETag: e\r\n\r\n"
    )
    assert http.fingerprint_response(response(text)) == hexed(
        b"HTTP/1.1", b"404", b"Not  Found", b"Server: s", b"Date", b"vary: v", b"P3P", b"X-Powered-By: x",
        b"ETag",
    )  # fmt: skip
    fields = hexed(b"Server: s", b"Date", b"vary", b"P3P: p", b"ETag")
    status = hexed(b"HTTP/1.1", b"404", b"Not  Found")
    assert http.npf_response(response(text)) == f"http_server/{status}({fields})"


def test_no_fields() -> None:
    bare = request(b"GET / HTTP/1.0\r\n\r\n")
    assert http.fingerprint_request(bare) == "(474554)(485454502f312e30)"
    assert http.npf_request(bare) == "http/(474554)(485454502f312e30)()"
    for line in (b"HTTP/1.0 200\r\n\r\n", b"HTTP/1.0 200 \n\n"):
        assert http.fingerprint_response(response(line)) == "(485454502f312e30)(323030)()"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"OPTIONS * HTTP/1.1", (b"OPTIONS", b"*", b"HTTP/1.1")),
        (b"CONNECT h:443 HTTP/1.0", (b"CONNECT", b"h:443", b"HTTP/1.0")),
        (b"M-SEARCH * HTTP/1.1", (b"M-SEARCH", b"*", b"HTTP/1.1")),
        (b"!#$%&'*+-.^_`|~0aZ / HTTP/1.9", (b"!#$%&'*+-.^_`|~0aZ", b"/", b"HTTP/1.9")),
        (b"x" * 64 + b" / HTTP/1.1", (b"x" * 64, b"/", b"HTTP/1.1")),
        (b"GET / HTTP/1.", (b"GET", b"/", b"HTTP/1.")),
        (b"GET /a b HTTP/1.1", (b"GET", b"/a b", b"HTTP/1.1")),
        (b"GET  /  HTTP/1.1 \t", (b"GET", b"/", b"HTTP/1.1")),
        (b"GET /\xc3\xa9\xff HTTP/1.1", (b"GET", b"/\xc3\xa9\xff", b"HTTP/1.1")),
    ],
)
@pytest.mark.parametrize("before", [b"", b"\r\n", b"\n\r\n\n\r\n"])
def test_request_lines(line: bytes, words: tuple[bytes, ...], before: bytes) -> None:
    for ends in (b"\r\n", b"\n"):
        text = before + line + ends
        assert http.matches_request(Cursor(text))
        found = request(text + ends)
        assert (found.method, found.target, found.version) == words
        assert found.end == len(text + ends)


@pytest.mark.parametrize(
    "text",
    [
        b" GET / HTTP/1.1\r\n", b"GET/ HTTP/1.1\r\n", b"OPTIONS HTTP/1.1\r\n", b"GET / HTTP/2.0\r\n",
        b"GET / HTTP/1.11\r\n", b"GET / http/1.1\r\n", b"GET / XHTTP/1.1\r\n",
        b"GET / HTTP/1.x\r\n", b"GET /\r\n", b"\n" * 5 + b"GET / HTTP/1.1\r\n",
        b"GET /\0 HTTP/1.1\r\n", b"GET /\x7f HTTP/1.1\r\n", b"GET /\r HTTP/1.1\r\n", b"G\xc3 / HTTP/1.1\r\n",
        b"x" * 65 + b" / HTTP/1.1\r\n", b"SSH-2.0-x y\r\n", b"\x16\x03\x01",
        b"HTTP/1.1 200 OK\r\n", b"G" * 70, b"GET " + b"/" * 70000, b"PRI * HTTP/2.0\r\n",
    ],
)  # fmt: skip
def test_no_request(text: bytes) -> None:
    assert not http.matches_request(Cursor(text))
    for final in (False, True):
        with pytest.raises(Malformed) as bad:
            request(text, final)
        assert bad.value.field == "request-line"


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/2.0 200 OK\r\n", b"HTTP/1.1 20 OK\r\n", b"HTTP/1.1 2000\r\n", b"HTTP/1.1  200\r\n",
        b"HTTP/1.11 200\r\n", b"http/1.1 200\r\n", b"HTTP/1.1 2x0\r\n", b"ICY 200 OK\r\n",
        b"HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n", b"\n",
    ],
)  # fmt: skip
def test_no_response(text: bytes) -> None:
    assert not http.matches_response(Cursor(text))
    for final in (False, True):
        with pytest.raises(Malformed) as bad:
            response(text, final)
        assert bad.value.field == "status-line"


@pytest.mark.parametrize("number", range(len(recorded())))
def test_every_truncation_and_byte_at_a_time(number: int) -> None:
    """Nothing but the parser's own outcomes; NeedMore is exact; what is cut is a beginning."""
    side, head = recorded()[number]
    whole = side.parse(Cursor(head))
    matched, total, start = False, 0, head.index(b"\n") + 1
    for end in range(len(head)):
        cut = head[:end]
        try:
            assert side.matches(Cursor(cut))
            matched = True
        except NeedMore as more:
            assert not matched
            assert end < more.total <= len(head)
        with pytest.raises(NeedMore) as needed:
            side.parse(Cursor(cut))
        assert end < needed.value.total <= len(head)
        total = max(total, needed.value.total)
        try:
            told = side.parse(Cursor(cut), final=True)
        except Malformed as bad:
            assert end < start
            assert bad.field in {"request-line", "status-line"}
            continue
        assert told.truncated
        assert told.followed_by == ()
        assert told.lines == whole.lines[: len(told.lines)]
        assert len(told.lines) == cut[start:].count(b"\n") + (
            cut[-2:-1] not in b"\n" and cut[-1:] == b"\r"
        ) * (end > start)
        assert side.fingerprint(whole).startswith(side.fingerprint(told))
    assert matched
    assert total == len(head)
    assert not whole.truncated


@given(st.data())
def test_corrupted_heads_raise_only_the_parsers_own(data: st.DataObject) -> None:
    side, head = data.draw(st.sampled_from(recorded()))
    stream = bytearray(head)
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    exercise(bytes(stream), side)


@given(
    st.one_of(
        st.binary(max_size=300),
        st.lists(
            st.sampled_from(
                [
                    b"GET / HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n", b"\r\n", b"\n", b"\r", b"a: b\n",
                    b" fold\r\n", b"5\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n",
                    b"0\r\n", b"hello\r\n", b":", b"\xff", b"Via:",
                ]
            ),
            max_size=12,
        ).map(b"".join),
    )
)  # fmt: skip
def test_any_bytes(stream: bytes) -> None:
    for side in SIDES:
        exercise(stream, side)


def exercise(stream: bytes, side: Side) -> None:
    """Parse whole, at every prefix, and final: the same message, or the parser's own outcomes."""
    results: list[object] = []
    message: Any = None
    needed = 0
    for end in range(len(stream) + 1):
        cursor = Cursor(stream[:end])
        try:
            message = message or side.parse(cursor)
            assert end >= needed
        except NeedMore as more:
            assert more.total > end
            needed = more.total
        except Malformed as bad:
            results.append(bad.field)
            break
    for final in (False, True):
        try:
            whole = side.parse(Cursor(stream), final)
        except (NeedMore, Malformed) as outcome:
            assert message is None
            assert str(outcome)
            assert not (final and isinstance(outcome, NeedMore))
            continue
        assert isinstance(json.dumps([whole.context(), whole.readable(), side.fingerprint(whole)]), str)
        if message:
            assert side.fingerprint(whole) == side.fingerprint(message)
            assert whole.end == message.end
    try:
        matched = side.matches(Cursor(stream))
    except NeedMore:
        matched = True
    assert matched or message is None


def test_request_context() -> None:
    text = (
        b"GET /\xff\xc3\xa9 HTTP/1.1\r\nHost:h\r\nhost: \t last \r\nX-Forwarded-For: a, b\r\n"
        b"User-Agent: one\r\n two\r\nVia: 1.1 x\r\nx-forwarded-for: c\r\nVIA:1.0 y\r\nno colon\r\n\r\n"
    )
    assert request(text).context() == {
        "user_agent": "one two", "host": "last", "x_forwarded_for": "a, b, c",
        "via": "1.1 x, 1.0 y", "uri": "/\\xffé",
    }  # fmt: skip
    # Behaviour reference 9.6: the peer fails at a Host without ": ".
    for field, host in ((b"", None), (b"Host\r\n", None), (b"Host:\r\n", ""), (b"Host: \xff\r\n", "\\xff")):
        assert request(b"GET / HTTP/1.1\r\n" + field + b"\r\n").context()["host"] == host
    assert response(b"HTTP/1.1 200 OK\r\nVia: x\r\nvia: y\r\n\r\n").context() == {"via": "x, y"}
    assert response(b"HTTP/1.1 200 OK\r\n\r\n").context() == {"via": None}


def test_readable() -> None:
    """Behaviour reference 9.12: the peer's labels are shifted and its last field is missing."""
    assert request(b"GET / HTTP/1.1\r\nAccept: a: b\r\nHost: h\r\nodd\xff\r\n\r\n").readable() == [
        {"method": "GET"}, {"version": "HTTP/1.1"}, {"Accept": "a: b"}, {"Host": ""}, {"odd\\xff": ""},
    ]  # fmt: skip
    assert response(b"HTTP/1.1 200 OK\r\nServer: s\r\nDate: d\r\n\r\n").readable() == [
        {"version": "HTTP/1.1"}, {"code": "200"}, {"response": "OK"}, {"Server": "s"}, {"Date": ""},
    ]  # fmt: skip
    assert request(b"GET / HTTP/1.0\r\n\r\n").readable() == [{"method": "GET"}, {"version": "HTTP/1.0"}]


def test_a_cut_line_that_has_its_cr_is_complete() -> None:
    text = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r"
    assert request(text, final=True).lines == [b"Host: h", b"Connection: close"]
    assert request(text[:-1], final=True).lines == [b"Host: h"]
    assert request(b"GET / HTTP/1.1\r", final=True).truncated


@both
def test_bounds(side: Side) -> None:
    start = b"POST / HTTP/1.1\r\n" if side is REQUEST else b"HTTP/1.1 200 OK\r\n"
    assert len(side.parse(Cursor(start + b"a\n" * 1000 + b"\n")).lines) == 1000
    room = (1 << 16) - len(start) - 4
    assert not side.parse(Cursor(start + b"a" * room + b"\r\n\r\n")).truncated
    for text in (b"a\n" * 1001, b"a" * (room + 5), b"a" * room + b"\r\n\r\r\n"):
        for final in (False, True):
            with pytest.raises(Malformed) as bad:
                side.parse(Cursor(start + text), final)
            assert bad.value.field == "field-line"
    with pytest.raises(Malformed):
        side.parse(Cursor(start.rstrip() + b" " * (1 << 16)))
    # Where a declared length ends, nothing more can come.
    for end in range(len(start) + 1):
        with pytest.raises(Malformed):
            side.parse(Cursor(start[:end], end))
        assert side.matches(Cursor(start[:end], end)) in {True, False}


@pytest.mark.parametrize(
    "text",
    [
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 999,
        b"GET / HTTP/1.1\r\n" + b"Accept: " + b"a: b\r\n" * 999 + b"\r\n",
        b"GET / HTTP/1.1\r\nUser-Agent: x\r\n" + (b" " + b"f" * 62 + b"\r\n") * 990 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"Accept: " + b"\xff" * 65000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + (b"Via: " + b"," * 58 + b"\r\n") * 990 + b"\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: " + b"1," * 32000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\n\n\n" * 16000,
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0\n" + b"x" * 60000,
        b"GET " + b" " * 65000 + b"HTTP/1.1\r\n\r\n",
        b"\n" * 65536,
        b"\r" * 65536,
        b"x " * 32768,
    ],
)
def test_a_hostile_payload_costs_at_most_five_milliseconds(text: bytes) -> None:
    assert len(text) <= 1 << 17

    def cost() -> float:
        before = time.process_time()
        try:
            message = request(text, final=True)
            message.context()
            http.fingerprint_request(message)
        except Malformed:
            pass
        return time.process_time() - before

    assert min(cost() for _ in range(5)) < 0.005


def test_an_empty_line_cut_in_its_middle_is_waited_for() -> None:
    """RFC 9112 2.2."""
    for function in (http.matches_request, http.parse_request):
        with pytest.raises(NeedMore):
            function(Cursor(b"\r"))
    with pytest.raises(Malformed):
        http.parse_request(Cursor(b"\r"), True)
    assert http.parse_request(Cursor(b"\r\nGET / HTTP/1.1\r\n\r\n")).method == b"GET"
