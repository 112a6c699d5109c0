from vermilion_fingerprint.conversation cimport Conversation, Received
from vermilion_fingerprint.cursor cimport Cursor
from vermilion_fingerprint.streams cimport Stream


cdef class QuicHello(Received):
    cdef readonly unsigned int quic_version


cdef class Connection(Conversation):
    cdef object _keys             # that opened the last packet
    cdef bytes _first_id          # the connection id of the first that did
    cdef unsigned int _version
    cdef long long _largest       # packet number
    cdef Stream _crypto
    cdef Py_ssize_t _needed       # bytes of it before another look is worth it
    cdef int _tries, _hellos

    cdef bint _walk(self, Cursor datagram, list initials) except -1
    cdef int _initial(self, unsigned int version, bytes connection_id, bytes packet, Py_ssize_t number_at) except -1
    cdef object _open(self, unsigned int version, bytes connection_id, bytes packet, Py_ssize_t number_at)
    cdef int _frames(self, Cursor frames) except -1
    cdef int _hear(self) except -1
