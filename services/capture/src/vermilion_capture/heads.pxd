from libc.stdint cimport int64_t, uint32_t, uint64_t
from vermilion_capture.layers cimport Found
from vermilion_capture.packet cimport Segment

# What of a flow: what is around it, the two ends in order, the protocol. Compared byte by byte, so unused
# bytes are 0.
cdef struct Key:
    uint64_t path           # tags and tunnels, hashed with a secret; 0: none
    unsigned char ends[36]  # address, port; address, port
    unsigned char width
    unsigned char protocol
    unsigned char padding[2]

# One direction: where its data begins, whether its SYN told so, whether its head is full. Of a UDP
# flow ``base`` counts the head's bytes.
cdef struct Side:
    uint32_t base
    unsigned char seen
    unsigned char anchored
    unsigned char full
    unsigned char datagrams

cdef enum:
    NAME = 30                # bytes of a Community ID: "1:", and a SHA-1 in base64

cdef struct Flow:
    Key key
    int64_t started
    int64_t last
    int64_t ordinal
    uint32_t called          # the SYN's sequence number, as the SYN/ACK acknowledges it
    bint answered            # whether that is known
    Side sides[2]
    char name[NAME]          # its Community ID, once somebody has asked; it begins with 0 before
    uint32_t next            # in its bucket
    uint32_t newer           # in order of use
    uint32_t older

# What to publish of a segment.
cdef struct Decision:
    uint32_t slot            # its flow
    int64_t ordinal
    Py_ssize_t length        # bytes of the payload
    Py_ssize_t missing       # bytes behind them that are not there


cdef class FlowHeads:
    cdef readonly long evicted
    cdef Py_ssize_t _depth
    cdef uint32_t _limit
    cdef uint32_t _count     # slots in use; slot 0 is none
    cdef uint32_t _capacity
    cdef uint32_t _newest
    cdef uint32_t _oldest
    cdef uint64_t _secret[2]
    cdef Flow* _flows
    cdef uint32_t* _buckets
    cdef uint32_t _mask

    cdef int decide(self, const unsigned char* p, const Found* found, int64_t time, Decision* out) except -1
    cdef bytes name(self, uint32_t slot, Segment segment)
    cdef uint32_t _flow(self, const Key* key, uint64_t hashed) noexcept
    cdef uint32_t _new(self, const Key* key, uint64_t hashed) except 0
    cdef void _use(self, uint32_t slot) noexcept
    cdef void _unlink(self, uint32_t slot) noexcept
    cdef int _grow(self) except -1
    cdef uint64_t _path(self, const unsigned char* p, const Found* found) noexcept
    cdef bint _cut_datagram(self, Side* side, const Found* found, Decision* out) noexcept
    cdef bint _cut(self, Side* side, const Found* found, uint32_t first, Decision* out) noexcept
    cdef bint _is_new(self, Flow* flow, bint up, uint32_t first) noexcept
