# Writes hex at ``out``, for which the caller has made room, and gives where it ended. The source lies
# within what a Cursor checked.


cdef inline char nibble(unsigned char value) noexcept:
    return value + (48 if value < 10 else 87)  # ASCII 0, a


cdef inline char* put_byte(char* out, unsigned char value) noexcept:
    out[0] = nibble(value >> 4)
    out[1] = nibble(value & 15)
    return out + 2


cdef inline char* put_u16(char* out, int value) noexcept:
    return put_byte(put_byte(out, (value >> 8) & 0xFF), value & 0xFF)


cdef inline char* put_bytes(char* out, const unsigned char* source, Py_ssize_t count) noexcept:
    cdef Py_ssize_t i
    for i in range(count):
        out = put_byte(out, source[i])
    return out
