from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    """
    #define VERMILION_NONE UINT32_C(0xFFFFFFFF)
    """
    const uint32_t NONE "VERMILION_NONE"

cdef class Index:
    """A hash table of numbers in a knowledge file."""

    cdef const uint64_t[::1] _hashes
    cdef const uint32_t[::1] _values
    cdef uint64_t _mask

    cdef inline uint32_t find(self, uint64_t key) noexcept:
        """The value under a hash; NONE when there is none."""
        cdef uint64_t at = key & self._mask
        while self._values[at] != NONE:
            if self._hashes[at] == key:
                return self._values[at]
            at = (at + 1) & self._mask
        return NONE

cdef int check_offsets(object name, const uint32_t[::1] offsets, Py_ssize_t limit) except -1
cdef int check_below(object name, const uint32_t[::1] values, Py_ssize_t limit, bint optional=*) except -1
