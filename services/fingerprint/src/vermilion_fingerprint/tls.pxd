from vermilion_fingerprint.cursor cimport Cursor


cdef struct ExtensionSpan:
    int type
    int length
    Py_ssize_t offset


cdef class ClientHello:
    cdef readonly int version
    cdef readonly bint truncated
    cdef readonly Py_ssize_t begin, end
    cdef bytes _data
    cdef Py_ssize_t _random_offset
    cdef Py_ssize_t _suites_offset
    cdef Py_ssize_t _suites_length
    cdef ExtensionSpan* _extensions
    cdef Py_ssize_t _count
    cdef Py_ssize_t _capacity

    cdef int _add(self, int type, Py_ssize_t offset, int length) except -1
    cdef int _read(self, Cursor hello, bint datagrams) except -1


cpdef ClientHello read_hello(bytes message, bint datagrams=*)


# Shared with the other forms of a hello; they write at ``out`` as hexout's do.
cdef char* put_codes(char* out, const unsigned char* source, Py_ssize_t count) noexcept
cdef char* put_body(char* out, int type, const unsigned char* body, Py_ssize_t length) noexcept
