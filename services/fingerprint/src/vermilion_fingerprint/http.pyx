"""HTTP/1.x: requests and responses, from the start line to the fingerprint strings.

Sources: RFC 9112 (HTTP/1.1 syntax) sections 2 to 7; RFC 9110 (HTTP semantics) sections 5 and 9.

A message is told when its header section is here; its body is only skipped, to where the next
message on the stream may begin. What cannot be valid but is sent all the same (a field line
without a colon, a blank in the request-target) belongs to the fingerprint: it is how a client
betrays itself. The start line alone decides whether bytes are HTTP.
"""

from libc.string cimport memchr

from vermilion_fingerprint.cursor cimport Cursor
from vermilion_fingerprint import http_fields as known
from vermilion_fingerprint.cursor import Malformed, NeedMore
from vermilion_fingerprint.http_forms import hex_groups, mercury_fields, pmercury_fields, text, word_groups
from vermilion_fingerprint.http_lines import split_request_line, split_status_line

cdef enum:
    HTAB = 0x09
    LF = 0x0A
    CR = 0x0D
    SP = 0x20
    DEL = 0x7F
    MAX_HEAD = 1 << 16       # start line and header section
    MAX_LINES = 1000
    STATUS_HEAD = 13         # "HTTP/1.1 200" and a byte
    MAX_METHOD = 64          # the longest registered with IANA has 17 characters
    MAX_EMPTY_LINES = 4      # RFC 9112 2.2: a server should ignore at least one before a request
    MAX_CHUNK_LINE = 4096
    NOT_CHUNKED = 0
    AT_HEAD = 1
    AT_FIRST = 2
    BEHIND_DATA = 3
    MAX_DIGITS = 15          # of a body's or a chunk's length: what 64 bits surely hold

cdef bytes OWS = b" \t"


# RFC 9110 5.6.2
cdef inline bint is_tchar(unsigned char c) noexcept:
    return (
        c in b"!#$%&'*+-.^_`|~" or c'0' <= c <= c'9' or c'A' <= c <= c'Z' or c'a' <= c <= c'z'
    )


cdef bytes peek(Cursor stream, Py_ssize_t start, Py_ssize_t count):
    """The bytes at ``start``, ``count`` of them or fewer."""
    return stream.data[start:min(start + count, stream.available)]


cdef Py_ssize_t line_feed(Cursor stream, Py_ssize_t start) noexcept:
    """Where the line that begins at ``start`` has its LF; -1 when that is not here."""
    cdef const unsigned char* found = NULL
    if 0 <= start < stream.available:
        found = <const unsigned char*>memchr(stream._bytes + start, LF, stream.available - start)
    return -1 if found == NULL else found - stream._bytes


# RFC 9112 2.2: a line ends in CRLF; a recipient may take a lone LF for it, as most servers do.
cdef bytes line_between(Cursor stream, Py_ssize_t start, Py_ssize_t feed):
    if feed > start and stream._bytes[feed - 1] == CR:
        feed -= 1
    return stream.data[start:feed]


# RFC 9112 2.1: field lines, then an empty one.
cdef Py_ssize_t empty_line(Cursor stream, Py_ssize_t start, Py_ssize_t section, Py_ssize_t* feed) except -1:
    """Where the line begins that ends the ``section``, and its LF.

    While that is not here, where the unfinished line begins, and -1. Raises Malformed for more than
    MAX_LINES, or more than MAX_HEAD bytes from ``start``.
    """
    cdef Py_ssize_t line = section, count = 0
    while True:
        feed[0] = line_feed(stream, line)
        if (stream.available if feed[0] < 0 else feed[0] + 1) - start > MAX_HEAD:
            raise Malformed(line, "field-line", f"no end within {MAX_HEAD} bytes")
        if feed[0] < 0 or feed[0] == line or (feed[0] == line + 1 and stream._bytes[line] == CR):
            return line
        count += 1
        if count > MAX_LINES:
            raise Malformed(line, "field-line", f"more than {MAX_LINES} lines")
        line = feed[0] + 1


cdef list lines_of(bytes section):
    """The lines of a section, each with its end, without their ends."""
    lines = section.split(b"\n")
    lines.pop()  # what follows the last LF: nothing
    return [line.removesuffix(b"\r") for line in lines]


cdef int more(Cursor stream, Py_ssize_t count, str field) except -1:
    """Ask for ``count`` bytes after those that are here."""
    return stream._need(stream.available - stream.position + count, field)


cdef class Message:
    """What requests and responses have in common.

    ``end``: where the header section ended. ``lines``: the field lines, without their ends.
    ``truncated``: the end of the header section was never seen; ``lines`` are those that were
    complete before.
    """

    cdef readonly Py_ssize_t begin, end
    cdef readonly bint truncated
    cdef readonly bytes version
    cdef readonly list lines
    cdef list _found        # the fields, once they have been asked for
    cdef Py_ssize_t _next   # behind the body; -1: nothing more on the stream is HTTP
    cdef int _chunks        # where in a chunked body step_over() stands

    def __cinit__(self):
        self._next = -1

    # RFC 9112 2.1 and 5
    cdef int _read(self, Cursor stream, Py_ssize_t start, bint final) except -1:
        cdef Py_ssize_t section = stream.position, feed, rest
        cdef Py_ssize_t line = empty_line(stream, start, section, &feed)
        if feed >= 0:
            self.lines = lines_of(stream.data[section:line])
            self.end = feed + 1
            return 0
        rest = stream.available - line
        if not final:
            # What is still to come has a line's LF and the empty line's, or the latter alone.
            more(stream, 1 if rest == 0 or peek(stream, line, 2) == b"\r" else 2, "field-line")
        self.truncated = True
        self.end = stream.available
        self.lines = lines_of(stream.data[section:line])
        if rest > 1 and stream._bytes[stream.available - 1] == CR:
            # RFC 9112 2.2: no CR but before LF, so this line is complete.
            self.lines.append(stream.data[line:stream.available - 1])
        return 0

    @property
    def fields(self):
        """The fields in order: (name in lower case, value). Lines without a colon are none."""
        if self._found is not None:
            return self._found
        found = []
        parts = []
        for line in self.lines:
            if line[:1] in (b" ", b"\t"):
                parts.append(line.strip(OWS))  # RFC 9112 5.2: a line folded reads as a blank
                continue
            name, colon, value = line.partition(b":")
            parts = [value.strip(OWS)]
            if colon:
                found.append((name.lower(), parts))
        self._found = [(name, b" ".join(parts)) for name, parts in found]
        return self._found

    cdef list _values(self, tuple names):
        """What each field of these names says, all of its lines together."""
        values = {name: [] for name in names}
        for name, value in self.fields:
            if name in values:
                values[name].append(value)
        return list(values.values())

    # RFC 9112 6.3, from its third rule on; ``bounded``: no length given means no body.
    cdef int _find_body(self, bint bounded) except -1:
        coding, length = self._values((b"transfer-encoding", b"content-length"))
        if coding:
            # 6.1: an HTTP/1.0 message with a transfer coding has faulty framing.
            _, _, last = coding.pop().rpartition(b",")
            if last.strip(OWS).lower() == b"chunked" and self.version != b"HTTP/1.0":
                self._chunks = AT_HEAD
        elif length:
            members = {member.strip(OWS) for member in b",".join(length).split(b",")}
            member = members.pop()
            if not members and member.isdigit() and len(member) <= MAX_DIGITS:
                self._next = self.end + <Py_ssize_t>int(member)
        elif bounded:
            self._next = self.end
        return 0

    def step_over(self, Cursor stream not None, bint final=False):
        """The message, its body with it though that may not be here; a chunked one as far as it is."""
        if self._chunks == NOT_CHUNKED:
            return self._next, True
        if self._chunks == AT_HEAD:
            self._chunks = AT_FIRST
            return self.end, False
        return self._walk(stream)

    # RFC 9112 7.1: chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF; the last has size 0.
    cdef tuple _walk(self, Cursor stream):
        """Over the chunks that begin here; -1 when they cannot be followed."""
        cdef Py_ssize_t chunk = 0, line, feed, size, available = stream.available
        while True:
            line = chunk
            if self._chunks == BEHIND_DATA:
                if line < available and stream._bytes[line] == CR:
                    line += 1
                if line < available and stream._bytes[line] != LF:
                    return -1, True
                line += 1
            feed = line_feed(stream, line)
            if (available if feed < 0 else feed) - line > MAX_CHUNK_LINE:
                return -1, True
            if feed < 0:
                if chunk:
                    return chunk, False
                raise NeedMore(max(available, line) + 1)
            size = chunk_size(stream, line)
            if size < 0:
                return -1, True
            if size == 0:
                try:
                    return trailer_end(stream, feed + 1), True
                except NeedMore:
                    if chunk:  # what comes before is passed, once
                        return chunk, False
                    raise
            self._chunks = BEHIND_DATA
            chunk = feed + 1 + size
            if chunk >= available:
                return chunk, False


# RFC 9112 7.1: chunk-size = 1*HEXDIG; 7.1.1: an extension follows a semicolon, blanks before it.
cdef Py_ssize_t chunk_size(Cursor stream, Py_ssize_t start) noexcept:
    """The number with which the line begins, whose LF is here; -1 when it is none."""
    cdef Py_ssize_t size = 0, i = start
    cdef unsigned char c = stream._bytes[i]
    while i - start <= MAX_DIGITS:
        if c'0' <= c <= c'9':
            size = size * 16 + c - c'0'
        elif c'a' <= (c | 0x20) <= c'f':
            size = size * 16 + (c | 0x20) - c'a' + 10
        else:
            return size if i > start and c in b" \t;\r\n" else -1
        i += 1  # the LF is no digit: nothing beyond it is read
        c = stream._bytes[i]
    return -1


# RFC 9112 7.1.2
cdef Py_ssize_t trailer_end(Cursor stream, Py_ssize_t start) except -2:
    cdef Py_ssize_t feed
    try:
        empty_line(stream, start, start, &feed)
    except Malformed:
        return -1
    if feed < 0:
        raise NeedMore(stream.available + 1)
    return feed + 1


cdef class Request(Message):
    """A request: ``method``, ``target``, ``version`` of its request-line, and its fields."""

    cdef readonly bytes method, target

    @property
    def followed_by(self):
        """Another request (RFC 9112 9.3); behind CONNECT whatever the tunnel carries (RFC 9110 9.3.6)."""
        if self.method == b"CONNECT" and not self.truncated:
            return ("tls", "http", "ssh")
        return ("http",) if self._next >= 0 or self._chunks else ()

    def context(self):
        """What the event tells beside the fingerprint, by the schema's HttpContext.

        Of a field that is given more than once the last counts, but for those that are lists
        (RFC 9110 5.3).
        """
        agent, host, forwarded, via = self._values((b"user-agent", b"host", b"x-forwarded-for", b"via"))
        return {
            "user_agent": text(agent.pop()) if agent else None,
            "host": text(host.pop()) if host else None,
            "x_forwarded_for": text(b", ".join(forwarded)) if forwarded else None,
            "via": text(b", ".join(via)) if via else None,
            "uri": text(self.target),
        }

    def readable(self):
        """The fingerprint in words, one object a group."""
        start = [{"method": text(self.method)}, {"version": text(self.version)}]
        return start + word_groups(self._fields())

    cdef list _fields(self):
        return pmercury_fields(self.lines, known.REQUEST_WITH_VALUE, known.REQUEST_WITH_VALUE_IF_LOWER)


cdef class Response(Message):
    """A response: ``version``, ``status``, ``reason`` of its status-line, and its fields."""

    cdef readonly bytes status, reason

    @property
    def followed_by(self):
        """Another response; behind one that tells of no body perhaps what a tunnel carries.

        RFC 9110 9.3.6: the answer to CONNECT, which one direction does not know of.
        """
        if self._next >= 0 or self._chunks:
            return ("http_server",)
        told = (b"content-type", b"content-length", b"transfer-encoding")
        if self.truncated or self.status[:1] != b"2" or any(self._values(told)):
            return ()
        return ("tls_server", "http_server", "ssh")

    def step_over(self, Cursor stream not None, bint final=False):
        """The response and its body; the latter not when another status-line stands in its place.

        RFC 9112 6.3, first rule: a response to HEAD has no body, whatever its fields say, and one
        direction does not tell what was asked.
        """
        cdef Cursor body = Cursor.__new__(Cursor, stream.data)
        if self._chunks == AT_HEAD or (self._chunks == NOT_CHUNKED and self._next > self.end):
            body.skip(self.end, "message-body")
            if may_begin_response(body):
                if body.available - body.position >= STATUS_HEAD:
                    return self.end, True
                if not final:
                    more(body, 1, "message-body")
        if self._chunks == NOT_CHUNKED and self._next < 0:
            return self.end, True
        return Message.step_over(self, stream, final)

    def context(self):
        """What the event tells beside the fingerprint, by the schema's HttpServerContext."""
        via, = self._values((b"via",))
        return {"via": text(b", ".join(via)) if via else None}

    def readable(self):
        """The fingerprint in words, one object a group."""
        start = (("version", self.version), ("code", self.status), ("response", self.reason))
        return [{name: text(value)} for name, value in start] + word_groups(self._fields())

    cdef list _fields(self):
        return pmercury_fields(self.lines, known.RESPONSE_WITH_VALUE, frozenset())


cdef bint may_begin_request(Cursor stream) noexcept:
    """Whether the bytes at the position can begin a request-line, as far as they go."""
    cdef Py_ssize_t start = stream.position, i = start, end = stream.available
    while i < end and is_tchar(stream._bytes[i]):
        i += 1
    if i - start > MAX_METHOD:
        return False
    if i < end and (i == start or stream._bytes[i] != SP):
        return False
    while i < end and (stream._bytes[i] >= SP or stream._bytes[i] == HTAB) and stream._bytes[i] != DEL:
        i += 1
    return i == end or stream._bytes[i] == LF or (
        stream._bytes[i] == CR and (i + 1 == end or stream._bytes[i + 1] == LF)
    )


cdef Py_ssize_t skip_empty_lines(Cursor stream, bint final) except -1:
    """Step over empty lines; where the position is then."""
    cdef int i
    for i in range(MAX_EMPTY_LINES):
        head = peek(stream, stream.position, 2)
        if head == b"\r" and not final:
            more(stream, 1, "CRLF")
        if head[:1] == b"\n":
            stream.skip(1, "CRLF")
        elif head == b"\r\n":
            stream.skip(2, "CRLF")
    return stream.position


cdef bytes start_line(Cursor stream, bint final, str field):
    """The line at the position, over which the stream steps. Raises NeedMore, Malformed."""
    cdef Py_ssize_t start = stream.position, feed = line_feed(stream, start)
    cdef Py_ssize_t end = stream.available if feed < 0 else feed
    if end - start > MAX_HEAD:
        raise Malformed(start, field, f"no end within {MAX_HEAD} bytes")
    if feed < 0:
        if not final:
            more(stream, 1, field)
        if end == start or stream._bytes[end - 1] != CR:
            raise Malformed(end, field, "cut off")
        end -= 1  # no CR but before LF: the line is complete
    stream.skip((stream.available if feed < 0 else feed + 1) - start, field)
    return line_between(stream, start, end)


cdef bint may_begin_response(Cursor stream):
    """Whether the bytes at the position can begin a status-line, as far as they go."""
    head = peek(stream, stream.position, STATUS_HEAD)
    rest = head[8:] if head[7:8].isdigit() else head[7:]
    return b"HTTP/1.".startswith(head[:7]) and rest[:1] in (b"", b" ") and (
        not rest[1:4].strip(b"0123456789") and rest[4:5] in (b"", b" ", b"\r", b"\n")
    )


def matches_request(Cursor stream not None) -> bool:
    """Whether the stream begins with a request-line. Raises NeedMore."""
    skip_empty_lines(stream, False)
    try:
        return may_begin_request(stream) and (
            split_request_line(start_line(stream, False, "request-line")) is not None
        )
    except Malformed:
        return False


def matches_response(Cursor stream not None) -> bool:
    """Whether the stream begins as a status-line does, to after its status-code. Raises NeedMore."""
    cdef bytes head = peek(stream, stream.position, STATUS_HEAD)
    if not may_begin_response(stream):
        return False
    try:  # The version may lack its digit, and all that follows comes a byte earlier then.
        if len(head) < STATUS_HEAD - 1 + head[7:8].isdigit():
            more(stream, 1, "status-line")
    except Malformed:
        return False
    return True


def parse_request(Cursor stream not None, bint final=False) -> Request:
    """The request at the start of the stream.

    ``final``: nothing will follow. A request whose header section is cut off is told with the
    lines that are complete, ``truncated``, when its request-line is.
    Raises NeedMore (never when ``final``) and Malformed.
    """
    cdef Request request = Request.__new__(Request)
    cdef Py_ssize_t start = skip_empty_lines(stream, final)
    if not may_begin_request(stream):
        raise Malformed(start, "request-line", "no method, blank, request-target")
    words = split_request_line(start_line(stream, final, "request-line"))
    if words is None:
        raise Malformed(start, "request-line", "does not end in a request-target and HTTP/1.x")
    request.method, request.target, request.version = words
    request._read(stream, start, final)
    # RFC 9110 9.3.6: a CONNECT has no body, what follows belongs to the tunnel.
    if request.method == b"CONNECT":
        request._next = request.end
    elif not request.truncated:
        request._find_body(True)
    return request


def parse_response(Cursor stream not None, bint final=False) -> Response:
    """The response at the start of the stream; ``final``, NeedMore, Malformed as for a request.

    Whether it answers a HEAD, and has no body whatever its length field says, one direction
    cannot tell (RFC 9112 6.3, first rule).
    """
    cdef Response response = Response.__new__(Response)
    cdef Py_ssize_t start = stream.position
    if not may_begin_response(stream):
        raise Malformed(start, "status-line", "no HTTP/1.x, blank, status-code")
    words = split_status_line(start_line(stream, final, "status-line"))
    if words is None:
        raise Malformed(start, "status-line", "ends before its status-code does")
    response.version, response.status, response.reason = words
    response._read(stream, start, final)
    # RFC 9110 15.2.2: after 101 the stream speaks another protocol.
    if response.truncated or response.status == b"101":
        return response
    if response.status[:1] == b"1" or response.status in (b"204", b"304"):
        response._next = response.end
    else:
        response._find_body(False)
    return response


def fingerprint_request(Request request not None) -> str:
    """pmercury's string: ``(method)(version)(field)...``."""
    return f"({request.method.hex()})({request.version.hex()})" + "".join(hex_groups(request._fields()))


def npf_request(Request request not None) -> str:
    """mercury's string: ``http/(method)(version)((field)...)``, of the fields that it knows."""
    fields = mercury_fields(request.lines, known.NPF_REQUEST_WITH_VALUE, known.NPF_REQUEST_BY_NAME)
    return f"http/({request.method.hex()})({request.version.hex()})" + fields


cdef str status_groups(Response response):
    return f"({response.version.hex()})({response.status.hex()})({response.reason.hex()})"


def fingerprint_response(Response response not None) -> str:
    """pmercury's string: ``(version)(code)(reason)(field)...``."""
    return status_groups(response) + "".join(hex_groups(response._fields()))


def npf_response(Response response not None) -> str:
    """mercury's string: ``http_server/(version)(code)(reason)((field)...)``."""
    fields = mercury_fields(response.lines, known.NPF_RESPONSE_WITH_VALUE, known.NPF_RESPONSE_BY_NAME)
    return "http_server/" + status_groups(response) + fields
