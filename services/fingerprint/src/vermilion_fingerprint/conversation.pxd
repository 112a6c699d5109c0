from vermilion_fingerprint.cursor cimport Cursor
from vermilion_fingerprint.streams cimport Stream


cdef class Received:
    cdef readonly str name
    cdef readonly object hello
    cdef readonly long long time, seq
    cdef readonly bint reassembled

    cdef int _fill(self, str name, hello, long long seq, long long time, bint reassembled) except -1


cdef class Conversation:
    cdef readonly bint done       # nothing more of it can be read, or is worth it
    cdef readonly bint one_sided  # what the other side sends cannot be read
    cdef readonly list counts     # (metric, label, ...), to be taken
    cdef str _name
    cdef Py_ssize_t _limit
    cdef list _times              # packet time of each datagram, by its number
    cdef list _messages

    cdef int _read(self, Cursor datagram) except -1
    cdef int _last(self) except -1
    cdef Py_ssize_t held(self)
    cdef int _bad(self, error) except -1
    cdef int _keep(self, Stream stream, Py_ssize_t offset, bytes data) except -1
    cdef int _tell(self, Received message, str name, hello, long long seq, Stream stream, Py_ssize_t size) except -1


cdef Stream assembly(Py_ssize_t limit)
