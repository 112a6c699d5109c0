"""One direction of a TCP connection, put in order from its first byte on (RFC 9293 section 3.4).

Bounded: bytes beyond ``limit`` after the first that is not stepped over are not kept, and no more
than ``MAX_PENDING`` pieces wait for a gap to close.
"""

from bisect import bisect_left, bisect_right, insort

cdef Py_ssize_t MAX_PENDING = 4096
# Each move of the base rebuilds what is here; segments in descending order must not cost its square.
cdef int MAX_REBASES = 64
# A stream with more of them stops at one that is not remembered, until its age closes it.
cdef Py_ssize_t MAX_HOLES = 64
# What a piece costs in memory beside its bytes.
cdef Py_ssize_t PIECE = 100


cdef inline long long distance(long long a, long long b) noexcept:
    """a - b in sequence space: 32 bits, signed."""
    return <int>(<unsigned int>(a - b))


cdef class Piece:
    """Bytes that wait for a gap to close: what arrived from ``offset`` to ``end``.

    Offsets are counted from where the stream once began (``_origin``), so that stepping over or
    beginning earlier moves none of them.

    ``parts`` are the last of them, (bytes, time) of each segment: its first ones may be a lower
    piece's. Segments that join without overlap are one piece, as they are to Linux.
    """

    def __init__(self, Py_ssize_t offset, bytes data, long long time):
        self.offset = self.start = offset
        self.end = offset + len(data)
        self.parts = [(data, time)]

    cdef Py_ssize_t cost(self):
        return self.end - self.start + PIECE * len(self.parts)

    cdef int cut(self, Py_ssize_t start) except -1:
        """What lies before ``start`` is no longer its own."""
        cdef Py_ssize_t length
        while self.parts and self.start < start:
            data, time = self.parts[0]
            length = len(data)
            if self.start + length > start:
                self.parts[0] = (data[start - self.start:], time)
                self.start = start
            else:
                del self.parts[0]
                self.start += length
        return 0


def _offset(Piece piece):
    return piece.offset


cdef class Stream:
    """A window on one direction: ``length`` bytes in order; ``held`` bytes in memory.

    ``base`` is the sequence number of the first byte; ``anchored`` says that the SYN told it.
    Without a SYN the stream begins at the lowest sequence number seen.
    """

    def __cinit__(self, Py_ssize_t limit):
        self.base = -1
        self._limit = limit
        self._chunks = []
        self._starts = []
        self._times = []
        self._pending = []
        self._holes = []

    cdef Stream behind(self, Py_ssize_t count, Py_ssize_t limit):
        """Another of the same bytes, with a window of its own, that begins behind the first ``count``."""
        cdef Stream other = Stream(limit)
        cdef Piece piece, copied
        other.base, other.anchored, other.length, other.held = self.base, self.anchored, self.length, self.held
        other._has_end, other._end, other._origin = self._has_end, self._end, self._origin
        other._chunks, other._starts, other._times = [self.head()], self._starts[:], self._times[:]
        other._holes = self._holes[:]
        other._waiting, other._parts = self._waiting, self._parts
        for piece in self._pending:
            copied = Piece(piece.offset, b"", 0)
            copied.start, copied.end, copied.parts = piece.start, piece.end, piece.parts[:]
            other._pending.append(copied)
        other.step_over(count)
        return other

    cdef int syn(self, long long seq) except -1:
        """The initial sequence number. Data seen before (reordered) keeps its place."""
        if not self.anchored:
            if self.base >= 0:
                self._rebase(seq + 1)
                # What ended before this SYN was another connection.
                self._has_end = self._has_end and self._end >= self._origin
            self.base = (seq + 1) & 0xFFFFFFFF
            self.anchored = True
            self._drain()
        return 0

    cdef bint add(self, long long seq, bytes payload, long long time, Py_ssize_t missing) except -1:
        """Take a segment's bytes; whether there is more in order than before.

        ``missing``: so many bytes after them were on the wire and will never come.
        """
        cdef Py_ssize_t before = self.length
        cdef long long offset
        if self.base < 0:
            self.base = seq
        offset = distance(seq, self.base)
        if offset < 0 and not self.anchored and -offset <= self._limit and self._rebases < MAX_REBASES:
            self._rebases += 1
            self._rebase(seq)
            before = 0
            offset = 0
        if missing:
            self._hole(offset + len(payload), offset + len(payload) + missing)
        if offset < 0:  # begins before the stream does: a retransmission of what is not kept
            if offset + <long long>len(payload) <= 0:
                return False
            payload = payload[-offset:]
            offset = 0
        if offset >= self._limit:
            return False
        if offset + <long long>len(payload) > self._limit:
            payload = payload[:self._limit - offset]
        if offset > self.length:
            self._hold(offset, payload, time)
        elif offset + <long long>len(payload) > self.length:
            # What arrived first stays: a retransmission with other bytes changes nothing.
            self._append(payload[self.length - offset:], time)
            self._drain()
        return self.length != before

    cdef int fin(self, long long seq) except -1:
        """The sender says that its stream ends before ``seq``."""
        cdef Py_ssize_t offset
        if self.base >= 0:
            offset = distance(seq, self.base)
            if offset >= 0 and (not self._has_end or self._origin + offset < self._end):
                self._has_end = True
                self._end = self._origin + offset
        return 0

    cdef int _hole(self, Py_ssize_t start, Py_ssize_t end) except -1:
        """Bytes that will never come; what is stepped over may have holes."""
        if len(self._holes) < MAX_HOLES:
            insort(self._holes, (self._origin + start, self._origin + end))
        return 0

    cdef bint full(self):
        """Whether the window is full: more is not kept."""
        return self.length >= self._limit

    cdef bint ended(self):
        """Whether all that can come is here."""
        cdef Py_ssize_t here = self._origin + self.length
        while self._holes and <Py_ssize_t>self._holes[0][1] <= here:
            del self._holes[0]  # stepped over, or filled by another copy of the segment
        return (
            self.full()
            or (self._has_end and here >= self._end)
            or (len(self._holes) > 0 and here >= <Py_ssize_t>self._holes[0][0])
        )

    cdef bint overflowed(self):
        """Whether too many pieces wait for a gap to close."""
        return self._parts > MAX_PENDING

    cdef bint has_gap(self):
        """Whether bytes wait behind a gap."""
        return len(self._pending) > 0

    cdef bytes head(self):
        """The bytes in order."""
        if len(self._chunks) > 1:
            self._chunks = [b"".join(self._chunks)]
        return self._chunks[0] if self._chunks else b""

    cdef long long time_at(self, Py_ssize_t offset):
        """Packet time of the segment that brought the byte at ``offset``."""
        return self._times[bisect_right(self._starts, offset) - 1]

    cdef list times(self, Py_ssize_t start, Py_ssize_t end):
        """Packet times of the segments that brought the bytes from ``start`` to ``end``, in stream order."""
        return self._times[bisect_right(self._starts, start) - 1:bisect_left(self._starts, end)]

    cdef Py_ssize_t segments(self, Py_ssize_t start, Py_ssize_t end):
        """How many segments brought the bytes from ``start`` to ``end``."""
        return bisect_left(self._starts, end) - bisect_right(self._starts, start) + 1

    cdef int _rebase(self, long long seq) except -1:
        """Begin at ``seq``, which is lower than the base: all that is here comes later now."""
        cdef Py_ssize_t i
        cdef Piece piece
        whole = self.head()
        bounds = [*self._starts, self.length]
        self.held = self._waiting
        in_order = [
            Piece(self._origin + bounds[i], whole[bounds[i]:bounds[i + 1]], self._times[i])
            for i in range(len(self._starts))
        ]
        for piece in in_order:
            self._count_waiting(piece, 1)
        self._pending[:0] = in_order
        self._chunks = []
        self._starts = []
        self._times = []
        self.length = 0
        self._origin -= distance(self.base, seq)
        self.base = seq & 0xFFFFFFFF
        self._cut_front()
        return 0

    cdef int _cut_front(self) except -1:
        """What waits does not begin before the stream does."""
        cdef Piece piece
        cdef Py_ssize_t gone = 0
        for piece in self._pending:
            if piece.end > self._origin:
                if piece.start < self._origin:
                    self._count_waiting(piece, -1)
                    piece.cut(self._origin)
                    self._count_waiting(piece, 1)
                break
            self._count_waiting(piece, -1)
            gone += 1
        del self._pending[:gone]
        return 0

    cdef int step_over(self, Py_ssize_t count) except -1:
        """Forget the first ``count`` bytes, though they may not be here: the stream begins behind them."""
        cdef Py_ssize_t at, start
        cdef bytes rest = self.head()[count:]
        self.anchored = True
        at = bisect_right(self._starts, count) - 1 if rest else len(self._starts)
        self._starts = [max(start - count, 0) for start in self._starts[at:]]
        self._times = self._times[at:]
        self._chunks = [rest] if rest else []
        self.length = len(rest)
        self.held = len(rest) + PIECE * len(self._starts) + self._waiting
        self.base = (self.base + count) & 0xFFFFFFFF
        self._origin += count
        self._cut_front()
        self._drain()
        return 0

    cdef int _append(self, bytes payload, long long time) except -1:
        self._chunks.append(payload)
        self._starts.append(self.length)
        self._times.append(time)
        self.length += len(payload)
        self.held += len(payload) + PIECE
        return 0

    cdef int _hold(self, Py_ssize_t offset, bytes payload, long long time) except -1:
        """Keep a piece that waits for a gap to close, overlaps resolved as Linux does.

        A piece that lies within another is dropped, whichever came first; of two that overlap in part
        the lower one's bytes count. What has been in order once stays, and what closes the gap counts
        before what waits. A test compares this with the kernel's own answers.
        """
        offset += self._origin
        cdef Py_ssize_t at = bisect_right(self._pending, offset, key=_offset), stop = at
        cdef Piece fresh = Piece(offset, payload, time), left = None, right
        cdef Py_ssize_t end = fresh.end
        if at > 0:
            left = self._pending[at - 1]
            if left.end >= end:
                return 0
            if left.offset == offset:
                at -= 1
                left = self._pending[at - 1] if at > 0 else None
        if left is not None and left.end == offset:
            left.parts.append((payload, time))
            left.end = end
            self._count_waiting(fresh, 1)
            fresh = None
        elif left is not None:
            fresh.cut(left.end)
        while stop < len(self._pending) and (<Piece>self._pending[stop]).end <= end:
            stop += 1
        for right in self._pending[at:stop]:
            self._count_waiting(right, -1)
        if fresh is None:
            del self._pending[at:stop]
        else:
            self._count_waiting(fresh, 1)
            self._pending[at:stop] = [fresh]
            at += 1
        self._cut_behind(at)
        return 0

    cdef int _count_waiting(self, Piece piece, int sign) except -1:
        self._waiting += sign * piece.cost()
        self.held += sign * piece.cost()
        self._parts += sign * <Py_ssize_t>len(piece.parts)
        return 0

    cdef int _cut_behind(self, Py_ssize_t at) except -1:
        """The first bytes of the piece at ``at`` are the one's before it, as far as that reaches."""
        cdef Piece left, right
        if 0 < at < len(self._pending):
            left, right = self._pending[at - 1], self._pending[at]
            self._count_waiting(right, -1)
            right.cut(left.end)
            self._count_waiting(right, 1)
        return 0

    cdef int _drain(self) except -1:
        cdef Piece piece
        cdef Py_ssize_t taken = 0
        for piece in self._pending:
            if piece.start > self._origin + self.length:
                break
            taken += 1
            self._count_waiting(piece, -1)
            piece.cut(self._origin + self.length)
            for data, time in piece.parts:
                self._append(data, time)
        if taken:
            del self._pending[:taken]
        return 0


def in_order(segments, syn=None, limit=1 << 16):
    """The bytes in order of ``segments``, pairs of sequence number and bytes; for tests and tools."""
    cdef Stream stream = Stream(limit)
    if syn is not None:
        stream.syn(syn)
    for seq, payload in segments:
        stream.add(seq, payload, 0, 0)
    return stream.head()
