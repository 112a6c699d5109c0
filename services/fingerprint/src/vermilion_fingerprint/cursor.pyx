"""The one class that touches a stranger's bytes, and the outcomes of a parser.

A cursor has two ends. ``limit`` is where a *declared* length ends: reading past it is the
message's fault, ``Malformed``, for ever. ``available`` is where the bytes end that have arrived:
reading past it, within the limit, is ``NeedMore``, and may succeed later. A sub-cursor ends where
its declared length ends, so no parser can read its neighbour's bytes.
"""

cdef Py_ssize_t UNBOUNDED = 1 << 62


class NeedMore(Exception):
    """The bytes so far are the beginning of a message.

    ``total``: so many bytes of the stream, counted from its start, are needed at least before
    trying again can give anything else.
    """

    def __init__(self, Py_ssize_t total):
        super().__init__(total)
        self.total = total

    def __str__(self):
        return f"needs at least {self.total} bytes"


class Malformed(Exception):
    """The bytes cannot be a message of this protocol, whatever follows.

    ``offset``: in the bytes parsed; ``field``: the RFC's name of what could not be read there.
    """

    def __init__(self, Py_ssize_t offset, str field, str reason):
        super().__init__(offset, field, reason)
        self.offset = offset
        self.field = field
        self.reason = reason

    def __str__(self):
        return f"{self.field} at offset {self.offset}: {self.reason}"


cdef class Cursor:
    """Reads big-endian fields of ``data`` (bytes), never past a declared length."""

    def __cinit__(self, bytes data not None, Py_ssize_t limit=-1):
        self.data = data
        self._bytes = data
        self.position = 0
        self.available = len(data)
        self.limit = UNBOUNDED if limit < 0 else limit

    cdef int _need(self, Py_ssize_t count, str field) except -1:
        # Subtractions only: position + count could overflow for a hostile count.
        if count > self.limit - self.position:
            raise Malformed(
                self.position, field, f"{count} bytes declared, {self.limit - self.position} left"
            )
        if count > self.available - self.position:
            raise NeedMore(self.position + count)
        return 0

    cdef long u8(self, str field) except -1:
        self._need(1, field)
        self.position += 1
        return self._bytes[self.position - 1]

    cdef long u16(self, str field) except -1:
        self._need(2, field)
        self.position += 2
        return (self._bytes[self.position - 2] << 8) | self._bytes[self.position - 1]

    cdef long u24(self, str field) except -1:
        self._need(3, field)
        self.position += 3
        return (
            (self._bytes[self.position - 3] << 16)
            | (self._bytes[self.position - 2] << 8)
            | self._bytes[self.position - 1]
        )

    cdef long long varint(self, str field) except -1:
        """A variable-length integer: its first two bits say of how many bytes (RFC 9000 16)."""
        cdef long first = self.u8(field)
        cdef int i, more = (1 << (first >> 6)) - 1
        cdef long long value = first & 0x3F
        self._need(more, field)
        for i in range(more):
            value = (value << 8) | self._bytes[self.position + i]
        self.position += more
        return value

    cdef bytes take(self, Py_ssize_t count, str field):
        """The next ``count`` bytes."""
        self._need(count, field)
        self.position += count
        return self.data[self.position - count:self.position]

    cdef Py_ssize_t skip(self, Py_ssize_t count, str field) except -1:
        """Step over ``count`` bytes; where they began."""
        self._need(count, field)
        self.position += count
        return self.position - count

    cdef Cursor sub(self, Py_ssize_t count, str field):
        """A cursor over the next ``count`` declared bytes, of which some may not be here yet.

        This cursor does not move: skip() past the sub-cursor's end when it has been read.
        """
        if count > self.limit - self.position:
            raise Malformed(
                self.position, field, f"{count} bytes declared, {self.limit - self.position} left"
            )
        cdef Cursor inner = Cursor.__new__(Cursor, self.data)
        inner.position = self.position
        inner.limit = self.position + count
        inner.available = min(self.available, inner.limit)
        return inner

    cdef bint at_end(self):
        """Whether the declared length is used up."""
        return self.position >= self.limit

    def read_u8(self, field: str) -> int:
        """An unsigned byte. Raises NeedMore, Malformed."""
        return self.u8(field)

    def read_u16(self, field: str) -> int:
        """An unsigned 16-bit number. Raises NeedMore, Malformed."""
        return self.u16(field)

    def read_u24(self, field: str) -> int:
        """An unsigned 24-bit number. Raises NeedMore, Malformed."""
        return self.u24(field)

    def read_bytes(self, count: int, field: str) -> bytes:
        """``count`` bytes. Raises NeedMore, Malformed; ValueError for a negative count."""
        if count < 0:
            raise ValueError("count is negative")
        return self.take(count, field)

    def read_sub(self, count: int, field: str) -> Cursor:
        """A cursor over the next ``count`` declared bytes. Raises Malformed; ValueError likewise."""
        if count < 0:
            raise ValueError("count is negative")
        return self.sub(count, field)
