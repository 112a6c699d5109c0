from vermilion_fingerprint.conversation cimport Conversation
from vermilion_fingerprint.flow cimport Direction, Flow


cdef class DatagramDirection(Direction):
    cdef Conversation talk  # what is recognised there
    cdef int datagrams


cdef class DatagramFlow(Flow):
    cdef tuple protocols
    cdef list counts        # (metric, label, ...), to be taken

    cdef list take(self, DatagramDirection direction, bytes payload, Py_ssize_t missing, long long time, Py_ssize_t limit)
    cdef list finish(self, DatagramDirection direction)
    cdef list take_counts(self)
    cdef int _close(self, DatagramDirection direction) except -1


cdef bint may_begin(tuple protocols, bytes payload) except -1
