from libc.stdint cimport uint16_t, uint32_t, uint64_t

from vermilion_classify.index cimport Index

cdef enum:
    MODELS = 3
    FEATURES = 5


cdef class Tables:
    """What puts a destination into classes: AS tables, public suffixes, ports."""

    cdef const uint32_t[::1] _then_start, _then_number, _now4_start, _now4_number, _now6_number
    cdef const uint64_t[::1] _now6_start
    cdef Index _suffixes
    cdef dict _ports
    cdef uint64_t _other_port
    cdef uint32_t* _then_first      # of each /16: how many starts are before it
    cdef uint32_t* _now4_first

    cdef uint32_t system(self, str address, bint now) except? 0xFFFFFFFF
    cdef uint64_t domain(self, bytes name) noexcept


cdef class Destination:
    """One event's destination, in the classes that databases count."""

    cdef Tables _tables
    cdef str _address
    cdef bytes _name
    cdef int _port
    cdef bint _ready[MODELS]
    cdef int counts[MODELS]
    cdef uint64_t keys[MODELS][FEATURES]

    cdef int prepare(self, int model) except -1
