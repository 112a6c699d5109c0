from libc.stdint cimport uint16_t, uint64_t

cdef enum:
    MOST_TOKENS = 192   # that are aligned

cdef struct Piece:
    const unsigned char* data
    Py_ssize_t size


cdef class Parsed:
    """A TLS fingerprint string taken apart; offsets are into ``text``."""

    cdef readonly bytes text
    cdef const unsigned char* _data
    cdef Py_ssize_t _version, _suites, _suite_count, _count
    cdef Py_ssize_t* _starts      # of each extension's hex digits
    cdef Py_ssize_t* _sizes
    cdef uint16_t* _types

    cdef bytes written(self, bytes prefix, bint sorted_, int keep)
    cdef Piece _piece(self, Py_ssize_t i, int keep) noexcept
    cdef uint16_t suite(self, Py_ssize_t i) noexcept
    cdef Py_ssize_t tokens(self, uint64_t* out, Py_ssize_t room) noexcept
    cdef Py_ssize_t grams(self, uint64_t* out, Py_ssize_t room) noexcept


cdef bytes wire_form(Parsed parsed)
cdef bytes sorted_form(Parsed parsed)
cdef bytes stable_form(Parsed parsed)
