cdef class Stream:
    cdef readonly long long base
    cdef readonly bint anchored
    cdef readonly Py_ssize_t length
    cdef readonly Py_ssize_t held
    cdef Py_ssize_t _limit
    cdef bint _has_end
    cdef Py_ssize_t _end
    cdef int _rebases
    cdef list _chunks
    cdef list _starts
    cdef list _times
    cdef list _pending

    cdef int syn(self, long long seq) except -1
    cdef bint add(self, long long seq, bytes payload, long long time, Py_ssize_t missing) except -1
    cdef int fin(self, long long seq) except -1
    cdef bint ended(self)
    cdef bint overflowed(self)
    cdef bint has_gap(self)
    cdef bytes head(self)
    cdef long long time_at(self, Py_ssize_t offset)
    cdef Py_ssize_t segments(self, Py_ssize_t start, Py_ssize_t end)
    cdef int _rebase(self, long long seq) except -1
    cdef int step_over(self, Py_ssize_t count) except -1
    cdef int _append(self, bytes payload, long long time) except -1
    cdef int _hold(self, Py_ssize_t offset, bytes payload, long long time) except -1
    cdef int _drain(self) except -1
