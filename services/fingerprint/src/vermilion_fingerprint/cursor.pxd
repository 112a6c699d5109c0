cdef class Cursor:
    cdef readonly bytes data
    cdef const unsigned char* _bytes
    cdef readonly Py_ssize_t position   # next byte to read
    cdef readonly Py_ssize_t available  # end of the bytes that are here
    cdef readonly Py_ssize_t limit      # end that a length field declared

    cdef int _need(self, Py_ssize_t count, str field) except -1
    cdef long u8(self, str field) except -1
    cdef long u16(self, str field) except -1
    cdef long u24(self, str field) except -1
    cdef long long varint(self, str field) except -1
    cdef bytes take(self, Py_ssize_t count, str field)
    cdef Py_ssize_t skip(self, Py_ssize_t count, str field) except -1
    cdef Cursor sub(self, Py_ssize_t count, str field)
    cdef bint at_end(self)
