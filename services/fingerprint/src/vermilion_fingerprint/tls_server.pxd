from vermilion_fingerprint.cursor cimport Cursor


cdef class ServerHello:
    cdef readonly int version
    cdef readonly bytes random
    cdef readonly int cipher_suite
    cdef readonly int compression_method
    cdef readonly bint retry
    cdef readonly bint truncated
    cdef readonly Py_ssize_t begin, end
    cdef readonly list extensions

    cdef int _read(self, Cursor hello, bint datagrams) except -1


cpdef ServerHello read_hello(bytes message, bint datagrams=*)
