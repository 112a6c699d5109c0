# What of a frame has been found so far, and how its numbers are read: for those who find it.

from libc.stdint cimport int64_t

cdef enum:
    TCP = 6
    UDP = 17

cdef enum:
    ETHERTYPE_IPV4 = 0x0800
    ETHERTYPE_IPV6 = 0x86DD
    ETHERTYPE_VLAN = 0x8100
    ETHERTYPE_SERVICE_VLAN = 0x88A8
    ETHERTYPE_OLD_QINQ = 0x9100
    ETHERTYPE_MPLS = 0x8847
    ETHERTYPE_MPLS_UPSTREAM = 0x8848  # RFC 5332: multicast's, once
    ETHERTYPE_PPPOE = 0x8864
    ETHERTYPE_ETHERNET = 0x6558       # a frame with its header: transparent Ethernet bridging

cdef enum:
    MAX_TAGS = 8
    MAX_TUNNELS = 4

# Whether a frame has a segment that is wanted, or why not; packet.REASONS has the names.
cdef enum:
    FOUND = 0
    ACKNOWLEDGMENT_ = 1
    NOT_IP_ = 2
    OTHER_PROTOCOL_ = 3
    FRAGMENT_ = 4
    CUT_ = 5
    BAD_ = 6
    EMPTY_ = 7
    TOO_DEEP_ = 8
    REASON_COUNT = 9

# What is in a tunnel, and where; the names of kinds are tunnels.KINDS.
cdef struct Tunnel:
    int kind
    int width                # bytes of an address; 0 where it has none
    Py_ssize_t addresses     # where the source's lies; the destination's follows
    int64_t id               # -1 where it has none

cdef struct Found:
    int tags
    unsigned short vlans[MAX_TAGS]
    int tunnel_count
    Tunnel tunnels[MAX_TUNNELS]
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
    Py_ssize_t network       # of a fragment: where its packet begins,
    Py_ssize_t fragment      # where IPv6's fragment header lies,
    Py_ssize_t packet_end    # and where the packet ends by its own header

# A packet of IP; of a fragment too.
cdef struct Ip:
    Py_ssize_t transport     # where what it carries begins
    Py_ssize_t end           # where the packet ends by its own header
    Py_ssize_t fragment      # where IPv6's fragment header lies
    int protocol
    int ttl
    int ip_id

# What is looked at next: where it begins, and where it ends by the headers around it.
cdef struct Layer:
    Py_ssize_t at
    Py_ssize_t limit
    int ethertype


cdef inline int u16(const unsigned char* p) noexcept nogil:
    return (p[0] << 8) | p[1]


cdef inline unsigned int u32(const unsigned char* p) noexcept nogil:
    return (<unsigned int>p[0] << 24) | (p[1] << 16) | (p[2] << 8) | p[3]


cdef inline void begin_frame(Found* found) noexcept nogil:
    """Nothing has been found yet."""
    found.tags = found.tunnel_count = 0
