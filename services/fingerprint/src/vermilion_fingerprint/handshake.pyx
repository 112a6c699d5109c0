"""TLS's handshake messages, put together from the record layer.

Records and messages know nothing of one another (RFC 8446 5.1, RFC 5246 6.2.1): a message may lie
in several records, and a record may hold several messages.
"""

from vermilion_fingerprint.cursor cimport Cursor
from vermilion_fingerprint.cursor import Malformed, NeedMore

cdef enum:
    CONTENT_HANDSHAKE = 22
    # RFC 5246 6.2.3: a record may be 2,048 bytes longer than the plaintext it carries.
    MAX_RECORD = (1 << 14) + 2048
    HEADER = 4  # RFC 8446 4: HandshakeType, uint24 length


cdef class Handshake:
    """The handshake messages of one stream of records, one after the other.

    ``head`` reads until the message's header is here, ``body`` until all of it is, ``follow``
    turns to the next. The first two raise NeedMore, and Malformed where a record is none of a
    handshake; what was read before stays, so a message that is cut off can be looked at.
    """

    def __cinit__(self):
        self._fragments = []
        self.declared = -1
        self.type = -1

    cdef bint complete(self):
        return self.declared >= 0 and self.have >= self.declared

    cdef int head(self, Cursor stream) except -1:
        try:
            while self.declared < 0:
                self._record(stream)
        except NeedMore as more:
            self._wait(stream, more.total)
        return 0

    cdef int body(self, Cursor stream) except -1:
        try:
            while not self.complete():
                self._record(stream)
        except NeedMore as more:
            self._wait(stream, more.total)
        return 0

    cdef int _wait(self, Cursor stream, Py_ssize_t total) except -1:
        # At least what the message lacks must still come, whatever records it comes in.
        cdef Py_ssize_t lacks = (HEADER if self.declared < 0 else self.declared) - self.have
        raise NeedMore(max(total, stream.available + max(1, lacks))) from None

    # RFC 8446 5.1. Handshake records have a length above zero.
    cdef int _record(self, Cursor stream) except -1:
        cdef Py_ssize_t length, here
        stream.skip(self._absent, "fragment")
        if stream.u8("ContentType") != CONTENT_HANDSHAKE:
            raise Malformed(stream.position - 1, "ContentType", "not a handshake record")
        if stream.u8("ProtocolVersion") != 3:
            raise Malformed(stream.position - 1, "ProtocolVersion", "not a TLS record")
        stream.skip(1, "ProtocolVersion")
        length = stream.u16("length")
        if length == 0 or length > MAX_RECORD:
            raise Malformed(stream.position - 2, "length", f"a handshake record of {length} bytes")
        if self.have == 0:
            self.begin = stream.position - 5
        here = min(length, stream.available - stream.position)
        self._fragments.append(stream.take(here, "fragment"))
        self.have += here
        self._absent = length - here
        self._taken = stream.position
        if self.declared < 0:
            self._look()
        return 0

    cdef int _look(self) except -1:
        cdef bytes data
        if self.have >= HEADER:
            data = self._joined()
            self.type = data[self._start]
            self.declared = HEADER + (
                (data[self._start + 1] << 16) | (data[self._start + 2] << 8) | data[self._start + 3]
            )
        return 0

    cdef int follow(self) except -1:
        """Turn from a complete message to the one behind it."""
        self.begin = self.end()
        self._start += self.declared
        self.have -= self.declared
        self.declared = self.type = -1
        self._look()
        return 0

    cdef bytes _joined(self):
        if len(self._fragments) != 1:
            self._fragments = [b"".join(self._fragments)]
        return self._fragments[0]

    cdef bytes message(self):
        """The message, header and body, as far as it is here."""
        cdef Py_ssize_t length = self.have
        if self.complete():
            length = self.declared
        return self._joined()[self._start:self._start + length]

    cdef Py_ssize_t end(self):
        """Where the message ends in the stream, or what is here of it."""
        return self._taken - (self.have - self.declared if self.complete() else 0)
