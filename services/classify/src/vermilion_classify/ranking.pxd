from libc.stdint cimport int8_t, uint8_t, uint32_t, uint64_t

from vermilion_classify.destination cimport Destination


cdef class Ranking:
    """The processes of every fingerprint, and what speaks for each."""

    cdef readonly Py_ssize_t entries
    cdef const uint32_t[::1] rows_at, _gains_at, _gain_row
    cdef const uint64_t[::1] _gain_key
    cdef const double[::1] _base, _gain
    cdef const uint8_t[::1] model
    cdef const int8_t[::1] malware
    cdef const uint32_t[::1] process, family, sha256, category
    cdef const uint32_t[::1] os_at, os
    cdef const float[::1] os_share
    cdef const uint32_t[::1] attributes_at, attributes
    cdef double* scores      # of the entry last weighed, one a row, adding up to 1, or all 0
    cdef readonly Py_ssize_t most_rows

    cdef int weigh(self, uint32_t entry, Destination destination) except -1
    cdef int add(self, uint64_t key, uint32_t entry, uint32_t first) noexcept
