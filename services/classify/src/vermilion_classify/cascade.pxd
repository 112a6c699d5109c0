from libc.stdint cimport uint8_t, uint32_t

from vermilion_classify.forms cimport Parsed
from vermilion_classify.index cimport Index
from vermilion_classify.nearest cimport NEIGHBOURS, Nearest

cdef enum:
    EXACT = 0
    SORTED = 1
    STABLE = 2
    APPROXIMATE = 3
    NO_MATCH = 4


cdef class Cascade:
    """Finds the entries that a fingerprint is, or is like."""

    cdef Index _exact, _wire, _sorted, _stable, _unlabelled
    cdef Nearest _nearest
    cdef const uint32_t[::1] _sorted_next, _stable_next, _key_at
    cdef const uint8_t[::1] _keys
    cdef int kind
    cdef int count
    cdef uint32_t found[NEIGHBOURS]
    cdef double weight[NEIGHBOURS]
    cdef double distance
    cdef Parsed parsed

    cdef bytes key(self, uint32_t entry)
    cdef bint unlabelled(self, bytes text) noexcept
    cdef uint32_t exactly(self, bytes text) except? 0xFFFFFFFE
    cdef int search(self, bytes text, uint32_t without, uint32_t before) except -1
    cdef int _take(self, int kind, uint32_t entry, double distance) except -1
    cdef bint _same_form(self, uint32_t entry, int kind, bytes form) except -1
    cdef bint _chained(self, int kind, bytes form, uint32_t without, uint32_t before) except -1
