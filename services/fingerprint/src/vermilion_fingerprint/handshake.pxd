from vermilion_fingerprint.cursor cimport Cursor


cdef class Handshake:
    cdef list _fragments
    cdef Py_ssize_t _start              # where the message begins in the fragments
    cdef Py_ssize_t _absent             # bytes of the last record that are not here
    cdef Py_ssize_t _taken              # where the last fragment ends in the stream
    cdef readonly Py_ssize_t begin      # where it, or the record it is first in, begins in the stream
    cdef readonly Py_ssize_t have       # bytes from there on, its successors' included
    cdef readonly Py_ssize_t declared   # its length with its header; -1 before that is here
    cdef readonly int type              # HandshakeType; -1 likewise

    cdef bint complete(self)
    cdef int head(self, Cursor stream) except -1
    cdef int body(self, Cursor stream) except -1
    cdef int follow(self) except -1
    cdef bytes message(self)
    cdef Py_ssize_t end(self)
    cdef int _record(self, Cursor stream) except -1
    cdef int _look(self) except -1
    cdef bytes _joined(self)
    cdef int _wait(self, Cursor stream, Py_ssize_t total) except -1
