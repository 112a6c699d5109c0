"""What one direction of a TLS connection carries: HTTP/1.x or HTTP/2, told by its bytes.

ALPN is not asked: it may be encrypted, missing, or not what is spoken.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, NamedTuple

from vermilion_fingerprint import http
from vermilion_fingerprint.cursor import Cursor, NeedMore
from vermilion_fingerprint.decrypt.http2 import PREFACE, FrameReader, may_be_settings
from vermilion_fingerprint.decrypt.messages import Http1, Http2

# Bytes that may be looked at again, to begin with and for each record more: a header section in
# thousands of tiny records must not cost its square.
_FIRST_CREDIT = 1 << 20
_RECORD_CREDIT = 4096
_PLACE = 120  # what is remembered of a record's place costs in memory


class NotHttp(Exception):
    """What comes is neither HTTP/1.x nor HTTP/2."""


class Place(NamedTuple):
    """Where a record was: when and at which sequence number it began, and in which segments it came."""

    time: int
    seq: int
    first: int
    last: int


class Told(NamedTuple):
    """A message, and where it was; ``type`` is the event's."""

    type: str
    message: Any
    time: int
    seq: int
    reassembled: bool


class _Http1Reader:
    """HTTP/1.x messages one behind the other, their bodies stepped over."""

    def __init__(self, *, server: bool) -> None:
        self._follows = "http_server" if server else "http"
        self._matches = http.matches_response if server else http.matches_request
        self._parse = http.parse_response if server else http.parse_request
        self._data = b""
        self._at = 0
        self._absent = 0  # of what is stepped over
        self._told: Any = None
        self._needed = 0
        self._credit = _FIRST_CREDIT
        self.done = False

    @property
    def cost(self) -> int:
        """Bytes in memory."""
        return len(self._data)

    @property
    def waiting(self) -> int:
        """Bytes of a message that is not complete."""
        return len(self._data)

    def feed(self, data: bytes, final: bool = False) -> Iterator[Http1]:
        """The messages whose header section is here now. Raises Malformed, NotHttp."""
        self._data += data
        self._credit = min(self._credit + _RECORD_CREDIT, _FIRST_CREDIT)
        while not self.done and self._go(final):
            try:
                if self._told is not None:
                    self._step_over(final)
                    continue
                if not self._matches(Cursor(self._data)) and not final:
                    raise NotHttp
                message = self._parse(Cursor(self._data), final)
            except NeedMore as more:
                self._needed = more.total
                self._credit -= len(self._data)
                return
            yield self._placed(message)

    def _go(self, final: bool) -> bool:
        """Whether there is something to look at."""
        passed = min(self._absent, len(self._data))
        self._data, self._at, self._absent = self._data[passed:], self._at + passed, self._absent - passed
        here = len(self._data)
        return here > 0 and (final or (here >= self._needed and self._credit >= here))

    def _step_over(self, final: bool) -> None:
        count, passed = self._told.step_over(Cursor(self._data), final)
        if passed:
            self._told = None
        if count < 0:
            self.done = True
        self._absent, self._needed = max(count, 0), 0

    def _placed(self, message: http.Message) -> Http1:
        self._told, self._needed = message, 0
        self.done = self._follows not in message.followed_by
        shown = Http1(message)
        shown.begin, shown.end = self._at + message.begin, self._at + message.end
        return shown


class Inside:
    """One direction's application data; ``server``: the server sends it.

    ``done``: what follows is nothing that is told of.
    """

    def __init__(self, *, server: bool) -> None:
        self._server = server
        self._head: bytes | None = b""  # until it is known what is spoken
        self._http1: _Http1Reader | None = None
        self._http2: FrameReader | None = None
        self._starts: list[int] = []
        self._places: list[Place] = []
        self._end = 0
        self.done = False

    @property
    def cost(self) -> int:
        """Bytes in memory, about."""
        reader = self._http1 or self._http2
        return (reader.cost if reader else 0) + len(self._head or b"") + _PLACE * len(self._starts)

    def feed(self, data: bytes, place: Place) -> Iterator[Told]:
        """The messages that are complete with this record's data. Raises Malformed, NotHttp."""
        self._starts.append(self._end)
        self._places.append(place)
        self._end += len(data)
        yield from self._read(data, False)
        # Of what is told or passed over the place is not asked for any more.
        kept = self._end - self._waiting()
        gone = max(bisect_right(self._starts, kept) - 1, 0)
        del self._starts[:gone], self._places[:gone]

    def finish(self) -> Iterator[Told]:
        """What is there of a message, when nothing more will come. Raises Malformed, NotHttp."""
        yield from self._read(b"", True)

    def _waiting(self) -> int:
        """Bytes of messages that are not complete."""
        reader = self._http1 or self._http2
        return (reader.waiting if reader else 0) + len(self._head or b"")

    def _read(self, data: bytes, final: bool) -> Iterator[Told]:
        if self._head is not None:
            self._head += data
            if not self._recognise(final):
                return
            data, self._head = self._head, None
        side = "_server" if self._server else ""
        if self._http2 is not None and not final:
            for block in self._http2.feed(data):
                yield self._tell(f"tls_decrypt_h2{side}", block)
        if self._http1 is not None:
            for message in self._http1.feed(data, final):
                yield self._tell(f"tls_decrypt_http{side}", message)
            self.done = self._http1.done

    def _recognise(self, final: bool) -> bool:
        """Whether it is known what is spoken; ``done`` when it is nothing of ours."""
        head = self._head or b""
        if self._server:
            enough, h2 = len(head) >= 9, may_be_settings(head)
        else:
            enough, h2 = len(head) >= len(PREFACE), PREFACE.startswith(head[: len(PREFACE)])
        if h2 and not enough:
            return False
        if h2:
            self._http2 = FrameReader(server=self._server)
            self._head = head if self._server else head[len(PREFACE) :]
            return True
        try:
            matches = http.matches_response if self._server else http.matches_request
            self.done = not matches(Cursor(head))
        except NeedMore:
            if len(head) < 1 << 16 and not final:
                return False
            self.done = not final
        if self.done:
            raise NotHttp
        self._http1 = _Http1Reader(server=self._server)
        return True

    def _tell(self, kind: str, message: Http1 | Http2) -> Told:
        first = self._places[bisect_right(self._starts, message.begin) - 1]
        last = self._places[bisect_right(self._starts, max(message.end - 1, message.begin)) - 1]
        return Told(kind, message, first.time, first.seq, last.last > first.first)
