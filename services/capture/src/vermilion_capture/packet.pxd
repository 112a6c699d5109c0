cdef class Segment:
    cdef readonly tuple vlans
    cdef readonly bytes src_ip, dst_ip
    cdef readonly int src_port, dst_port, ttl, ip_id, flags, window
    cdef readonly unsigned int seq, ack
    cdef readonly bytes options
    cdef readonly Py_ssize_t size
    cdef readonly bytes payload
