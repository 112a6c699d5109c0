from libc.stdint cimport int64_t
from vermilion_capture.layers cimport Found, Layer


cdef class Fragments:
    cdef long _given_up[5]
    cdef readonly Py_ssize_t held
    cdef dict _datagrams     # by what their fragments have in common; the oldest first
    cdef Py_ssize_t _most, _room

    cdef bytes add(self, const unsigned char* p, Py_ssize_t end, Found* found, int64_t time, Layer* whole)
    cdef bytes _put_together(self, const unsigned char* p, Found* found, Datagram datagram, Layer* whole)
    cdef int _give_up(self, bytes key, int why) except -1
    cdef int _expire(self, int64_t time) except -1
    cdef int _forget(self, bytes key) except -1


cdef class Datagram:
    cdef int64_t started
    cdef bytes header        # of the first fragment, as of a packet that is whole
    cdef list starts, pieces # in order
    cdef Py_ssize_t arrived, total, held
    cdef bint refused

    cdef int put(self, Py_ssize_t offset, bytes data, bint more) except -1
