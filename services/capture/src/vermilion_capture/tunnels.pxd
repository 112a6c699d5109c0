from vermilion_capture.layers cimport Found, Ip, Layer

cdef enum Kind:
    GRE
    VXLAN
    GENEVE
    IPIP
    GTP_U
    MPLS
    PPPOE
    ERSPAN
    KIND_COUNT


cdef int over_link(const unsigned char* p, Py_ssize_t end, Found* found, Layer* layer) noexcept nogil
cdef int over_ip(const unsigned char* p, Py_ssize_t end, const Ip* ip, Found* found, Layer* inner) noexcept nogil
cdef int over_udp(const unsigned char* p, Found* found, Layer* inner) noexcept nogil
cdef bint names_network(int kind) noexcept nogil
cdef tuple told(const unsigned char* p, const Found* found)
cdef object network_of(const Found* found)
