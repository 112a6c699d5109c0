from vermilion_capture.layers cimport Found, Layer

cdef enum:
    FIN = 1
    SYN = 2
    RST = 4
    ACK = 16


cdef class Segment:
    cdef readonly tuple vlans, tunnels
    cdef readonly object vni
    cdef readonly bytes src_ip, dst_ip
    cdef readonly int src_port, dst_port, transport, ttl, ip_id, flags, window
    cdef readonly unsigned int seq, ack
    cdef readonly bytes options
    cdef readonly Py_ssize_t size
    cdef readonly bytes payload


cdef bint link_known(int link_type) noexcept nogil
cdef int find(const unsigned char* p, Py_ssize_t end, int link_type, Found* found) noexcept nogil
cdef int walk(const unsigned char* p, Py_ssize_t end, Layer* layer, Found* found) noexcept nogil
cdef Segment built(const unsigned char* p, const Found* found)
