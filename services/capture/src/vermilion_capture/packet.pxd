cdef enum:
    FIN = 1
    SYN = 2
    RST = 4
    ACK = 16
    MAX_TAGS = 8

cdef enum:
    TCP = 6
    UDP = 17

# Whether a frame has a segment that is wanted, or why not; REASONS has the names.
cdef enum:
    FOUND = 0
    ACKNOWLEDGMENT_ = 1
    NOT_IP_ = 2
    OTHER_PROTOCOL_ = 3
    FRAGMENT_ = 4
    CUT_ = 5
    BAD_ = 6
    EMPTY_ = 7
    REASON_COUNT = 8

cdef struct Found:
    int tags
    unsigned short vlans[MAX_TAGS]
    int width                # bytes of an address
    Py_ssize_t addresses     # where the source's lies; the destination's follows
    int protocol             # TCP or UDP
    Py_ssize_t transport     # where its header begins
    Py_ssize_t options_end   # where TCP's options end, or what was captured of them
    Py_ssize_t payload       # where the payload begins
    Py_ssize_t captured      # how much of it is here
    Py_ssize_t size          # how much of it there was on the wire
    int src_port
    int dst_port
    int ttl
    int ip_id
    int flags                # from here on of TCP; 0 for UDP
    int window
    unsigned int seq
    unsigned int ack


cdef class Segment:
    cdef readonly tuple vlans
    cdef readonly bytes src_ip, dst_ip
    cdef readonly int src_port, dst_port, transport, ttl, ip_id, flags, window
    cdef readonly unsigned int seq, ack
    cdef readonly bytes options
    cdef readonly Py_ssize_t size
    cdef readonly bytes payload


cdef bint link_known(int link_type) noexcept nogil
cdef int find(const unsigned char* p, Py_ssize_t end, int link_type, Found* found) noexcept nogil
cdef Segment built(const unsigned char* p, const Found* found)
