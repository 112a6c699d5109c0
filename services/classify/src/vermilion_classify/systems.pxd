from libc.stdint cimport uint8_t, uint32_t

from vermilion_classify.index cimport Index

cdef enum:
    # What speaks for an operating system: the process that was found, and the flow's SYN.
    BY_PROCESS = 0
    BY_SYN = 1
    SOURCES = 2
    MOST_FAMILIES = 16


cdef class Systems:
    """Operating systems, and what is known of them by SYN and by ClientHello."""

    cdef readonly list names
    cdef Py_ssize_t _count, _families
    cdef list _family_names
    cdef uint8_t* _family
    cdef double* _shares             # [source][system]
    cdef double _sums[SOURCES][MOST_FAMILIES]
    cdef bint _told[SOURCES]
    cdef Index _syns, _layouts, _hellos
    cdef const uint32_t[::1] _known_at, _known
    cdef const float[::1] _known_share

    cdef void reset(self) noexcept
    cdef void add(self, int source, uint32_t system, double share) noexcept
    cdef bint add_known(self, int source, uint32_t row) noexcept
    cdef uint32_t of_syn(self, bytes syn, bint* exact) noexcept
    cdef uint32_t of_hello(self, bytes hello) noexcept
    cdef list answer(self, double by_process, double by_syn, bint releases)
