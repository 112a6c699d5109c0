from libc.stdint cimport uint16_t, uint32_t, uint64_t

from vermilion_classify.forms cimport MOST_TOKENS, Parsed
from vermilion_classify.index cimport Index

cdef enum:
    NEIGHBOURS = 8


cdef class Nearest:
    """Which fingerprints are most like one that is not known."""

    cdef Index _vocabulary, _grams
    cdef const uint32_t[::1] _tokens_at, _posted_at, _posted
    cdef const uint32_t[::1] _tokens, _day
    cdef Py_ssize_t _entries, _budget
    cdef double _threshold
    cdef uint16_t* _hits         # of each entry: how many of the query's grams it has
    cdef uint32_t* _touched
    cdef uint64_t* _masks        # of each token: where it stands in the query
    cdef uint64_t _query[MOST_TOKENS]
    cdef uint32_t entries[NEIGHBOURS]
    cdef double distances[NEIGHBOURS]

    cdef int search(self, Parsed parsed, uint32_t without, uint32_t before) except -1
    cdef double distance(self, uint32_t entry, Py_ssize_t size) noexcept
    cdef Py_ssize_t _length(self, uint32_t gram) noexcept
    cdef void _set_masks(self, Py_ssize_t size) noexcept
    cdef void _clear_masks(self, Py_ssize_t size) noexcept
