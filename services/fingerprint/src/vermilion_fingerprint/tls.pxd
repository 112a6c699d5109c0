from vermilion_fingerprint.cursor cimport Cursor


cdef struct ExtensionSpan:
    int type
    int length
    Py_ssize_t offset


cdef class ClientHello:
    cdef readonly int version
    cdef readonly bint truncated
    cdef readonly Py_ssize_t end
    cdef bytes _data
    cdef Py_ssize_t _suites_offset
    cdef Py_ssize_t _suites_length
    cdef ExtensionSpan* _extensions
    cdef Py_ssize_t _count
    cdef Py_ssize_t _capacity

    cdef int _add(self, int type, Py_ssize_t offset, int length) except -1
    cdef int _read(self, Cursor hello) except -1
