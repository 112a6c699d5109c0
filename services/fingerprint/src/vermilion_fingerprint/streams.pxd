cdef class Piece:
    cdef Py_ssize_t offset, end, start
    cdef list parts

    cdef Py_ssize_t cost(self)
    cdef int cut(self, Py_ssize_t start) except -1


cdef class Stream:
    cdef readonly long long base
    cdef readonly bint anchored
    cdef readonly Py_ssize_t length
    cdef readonly Py_ssize_t held
    cdef Py_ssize_t _limit
    cdef bint _has_end
    cdef Py_ssize_t _origin           # where ``base`` is, as offsets are counted below
    cdef Py_ssize_t _end
    cdef int _rebases
    cdef list _holes                  # (start, end) of bytes that will never come
    cdef list _chunks
    cdef list _starts
    cdef list _times
    cdef list _pending                # what waits for a gap to close, by offset; none lies within another
    cdef Py_ssize_t _waiting, _parts  # what that costs, and of how many segments it is

    cdef Stream behind(self, Py_ssize_t count, Py_ssize_t limit)
    cdef int syn(self, long long seq) except -1
    cdef bint add(self, long long seq, bytes payload, long long time, Py_ssize_t missing) except -1
    cdef int fin(self, long long seq) except -1
    cdef int _hole(self, Py_ssize_t start, Py_ssize_t end) except -1
    cdef bint full(self)
    cdef bint ended(self)
    cdef bint overflowed(self)
    cdef bint has_gap(self)
    cdef bytes head(self)
    cdef long long time_at(self, Py_ssize_t offset)
    cdef list times(self, Py_ssize_t start, Py_ssize_t end)
    cdef Py_ssize_t segments(self, Py_ssize_t start, Py_ssize_t end)
    cdef int _rebase(self, long long seq) except -1
    cdef int _cut_front(self) except -1
    cdef int step_over(self, Py_ssize_t count) except -1
    cdef int _append(self, bytes payload, long long time) except -1
    cdef int _count_waiting(self, Piece piece, int sign) except -1
    cdef int _cut_behind(self, Py_ssize_t at) except -1
    cdef int _hold(self, Py_ssize_t offset, bytes payload, long long time) except -1
    cdef int _drain(self) except -1
