# Classes of TLS code points.


cdef inline bint is_grease(int code) noexcept:
    """RFC 8701: 0x0a0a, 0x1a1a, ... 0xfafa."""
    return (code & 0x0F0F) == 0x0A0A and (code >> 8) == (code & 0xFF)


cdef inline bint keeps_data(int type) noexcept:
    """Extension types whose body belongs to the fingerprint, as pmercury's databases have it."""
    return type in (
        0x0001, 0x0005, 0x0007, 0x0008, 0x0009, 0x000A, 0x000B, 0x000D, 0x000F, 0x0010, 0x0011,
        0x0013, 0x0014, 0x0018, 0x001B, 0x001C, 0x002B, 0x002D, 0x0032, 0x5500,
    ) or is_grease(type)
