"""One direction of a TCP connection, put in order from its first byte on (RFC 9293 section 3.4).

Bounded: bytes beyond ``limit`` after the first that is not stepped over are not kept, and no more
than ``MAX_PENDING`` pieces wait for a gap to close.
"""

from bisect import bisect_left, bisect_right, insort

cdef Py_ssize_t MAX_PENDING = 4096
# Each move of the base rebuilds what is here; segments in descending order must not cost its square.
cdef int MAX_REBASES = 64
# What a piece costs in memory beside its bytes.
cdef Py_ssize_t PIECE = 100


cdef inline long long distance(long long a, long long b) noexcept:
    """a - b in sequence space: 32 bits, signed."""
    return <int>(<unsigned int>(a - b))


def _offset(piece):
    return piece[0]


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

    cdef int syn(self, long long seq) except -1:
        """The initial sequence number. Data seen before (reordered) keeps its place."""
        if not self.anchored:
            if self.base >= 0:
                self._rebase(seq + 1)
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
            self._finish_at(offset + len(payload))
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
        if self.base >= 0:
            self._finish_at(distance(seq, self.base))
        return 0

    def _finish_at(self, Py_ssize_t offset):
        # The smallest wins: beyond it there is a hole that nothing will fill.
        if offset >= 0 and (not self._has_end or offset < self._end):
            self._has_end = True
            self._end = offset

    cdef bint ended(self):
        """Whether all that can come is here."""
        return self.length >= self._limit or (self._has_end and self.length >= self._end)

    cdef bint overflowed(self):
        """Whether too many pieces wait for a gap to close."""
        return len(self._pending) > MAX_PENDING

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

    cdef Py_ssize_t segments(self, Py_ssize_t start, Py_ssize_t end):
        """How many segments brought the bytes from ``start`` to ``end``."""
        return bisect_left(self._starts, end) - bisect_right(self._starts, start) + 1

    cdef int _rebase(self, long long seq) except -1:
        """Begin at ``seq``, which is lower than the base: all that is here comes later now."""
        cdef Py_ssize_t shift = distance(self.base, seq), i
        pieces = [(offset + shift, data, time) for offset, data, time in self._pending]
        whole = self.head() if self._chunks else b""
        bounds = [*self._starts, self.length]
        for i in range(len(self._starts)):
            pieces.append((bounds[i] + shift, whole[bounds[i]:bounds[i + 1]], self._times[i]))
        self._pending = []
        self.held = 0
        for offset, data, time in sorted(pieces, key=_offset):
            if offset + len(data) > 0:  # what lies before the new base is cut off
                self._pending.append((max(offset, 0), data[max(-offset, 0):], time))
                self.held += len(data) + PIECE
        self._end += shift
        self._chunks = []
        self._starts = []
        self._times = []
        self.length = 0
        self.base = seq & 0xFFFFFFFF
        return 0

    cdef int step_over(self, Py_ssize_t count) except -1:
        """Forget the first ``count`` bytes, though they may not be here: the stream begins behind them."""
        cdef Py_ssize_t at, start
        cdef bytes rest = self.head()[count:]
        cdef list waiting = self._pending
        self.anchored = True
        at = bisect_right(self._starts, count) - 1 if rest else len(self._starts)
        self._starts = [max(start - count, 0) for start in self._starts[at:]]
        self._times = self._times[at:]
        self._chunks = [rest] if rest else []
        self.length = len(rest)
        self.held = len(rest) + PIECE * len(self._starts)
        self._pending = []
        for offset, data, time in waiting:
            if offset - count + <Py_ssize_t>len(data) > 0:
                self._pending.append((max(offset - count, 0), data[max(count - offset, 0):], time))
                self.held += len(self._pending[-1][1]) + PIECE
        self.base = (self.base + count) & 0xFFFFFFFF
        self._end -= count
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
        """Keep a piece that waits for a gap to close; of bytes already held, those that came first."""
        cdef Py_ssize_t at = bisect_right(self._pending, offset, key=_offset), end
        cdef list fresh = []
        if at > 0:
            end = self._pending[at - 1][0] + len(self._pending[at - 1][1])
            if end > offset:
                payload = payload[end - offset:]
                offset = end
        while payload:
            end = self._pending[at][0] if at < len(self._pending) else offset + len(payload)
            if end > offset:
                fresh.append((offset, payload[:end - offset], time))
            if at >= len(self._pending):
                break
            end += len(self._pending[at][1])
            payload = payload[end - offset:]
            offset = end
            at += 1
        for piece in fresh:
            insort(self._pending, piece, key=_offset)
            self.held += len(piece[1]) + PIECE
        return 0

    cdef int _drain(self) except -1:
        cdef Py_ssize_t taken = 0
        for offset, payload, time in self._pending:
            if offset > self.length:
                break
            taken += 1
            self.held -= len(payload) + PIECE
            if offset + len(payload) > self.length:
                self._append(payload[self.length - offset:], time)
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
