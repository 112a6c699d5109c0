"""Flow heads: the first ``depth`` bytes of each direction, and the segments that open and close it.

Of a UDP flow it is the first ``depth`` bytes in the first ``DATAGRAMS`` datagrams of each direction:
what opens a conversation is there, and a flow of small datagrams does not cost a record each for long.

A flow's records are numbered here, 0 for its first (``ordinal``); the number is how a reader tells
a new flow from the rest of one it has finished with. Memory is bounded by the number of flows: a
table of structures, which grows up to that and then forgets the flow that was longest idle.
"""

from os import urandom
from typing import NamedTuple

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, memset
from vermilion_capture.layers cimport MAX_TUNNELS, UDP, Found, Tunnel, begin_frame
from vermilion_capture.packet cimport ACK, FIN, RST, SYN, Segment
from vermilion_capture.tunnels cimport names_network
from vermilion_capture.tunnels import KINDS
from vermilion_pipeline.flowid import FLOW_IDLE, FLOW_LIFE, community_id

cdef enum:
    DEFAULT_DEPTH = 16 * 1024
    FIRST_CAPACITY = 1024
    # A QUIC client's first flight, its retransmissions and what of 0-RTT follows at once.
    MAX_DATAGRAMS = 32

cdef int64_t IDLE = FLOW_IDLE
cdef int64_t LIFE = FLOW_LIFE

# What of a tunnel, or of the tags, tells a flow from another.
cdef struct Step:
    int64_t id
    int kind
    int width
    unsigned char ends[32]

DEPTH = DEFAULT_DEPTH
DATAGRAMS = MAX_DATAGRAMS


class Kept(NamedTuple):
    """What of a segment to publish."""

    ordinal: int
    payload: bytes
    missing: int


cdef inline int32_t distance(uint32_t a, uint32_t b) noexcept:
    """a - b in sequence space: 32 bits, signed."""
    return <int32_t>(a - b)


cdef class FlowHeads:
    """Decides for each segment whether it belongs to its flow's head.

    ``depth``: bytes per direction, 0 for all (datagrams, too); ``flows``: how many are remembered, the longest
    idle one is forgotten first (``evicted`` counts them).
    """

    def __cinit__(self, Py_ssize_t depth=DEFAULT_DEPTH, uint32_t flows=1_000_000):
        self._depth = depth
        self._limit = max(1, flows)
        # Who sends packets must not be able to choose flows that fall into one bucket.
        cdef bytes secret = urandom(sizeof(self._secret))
        memcpy(self._secret, <const char*>secret, sizeof(self._secret))
        self._secret[1] |= 1
        self._grow()

    def __dealloc__(self):
        free(self._flows)
        free(self._buckets)

    @property
    def remembered(self):
        """How many flows are remembered."""
        return self._count

    def keep(self, Segment segment not None, int64_t time=0):
        """What to publish of a segment seen at ``time``; None when all of it lies beyond the flow's head."""
        cdef Found found
        cdef Decision decision
        cdef bytes addresses = segment.src_ip + segment.dst_ip
        begin_frame(&found)
        for vlan in segment.vlans:
            found.vlans[found.tags] = vlan
            found.tags += 1
        for kind, source, target, id in segment.tunnels:
            found.tunnels[found.tunnel_count] = Tunnel(
                KINDS.index(kind), len(source), len(addresses), -1 if id is None else id
            )
            addresses += source + target
            found.tunnel_count += 1
        found.addresses, found.width = 0, len(segment.src_ip)
        found.protocol = segment.transport
        found.src_port, found.dst_port = segment.src_port, segment.dst_port
        found.flags, found.seq, found.ack = segment.flags, segment.seq, segment.ack
        found.size, found.captured = segment.size, len(segment.payload)
        if not self.decide(addresses, &found, time, &decision):
            return None
        return Kept(decision.ordinal, segment.payload[:decision.length], decision.missing)

    cdef int decide(self, const unsigned char* p, const Found* found, int64_t time, Decision* out) except -1:
        """Whether to publish a segment, and what of it. Raises MemoryError."""
        cdef Key key
        cdef Flow* flow
        cdef Side* side
        cdef uint32_t slot, first = found.seq + <uint32_t>((found.flags & SYN) != 0)
        cdef bint up = key_of(p, found, &key)
        cdef bint opens = found.flags & (SYN | ACK) == SYN
        cdef uint64_t hashed
        key.path = self._path(p, found) if found.tags or found.tunnel_count else 0
        hashed = mixed(self._secret, &key, sizeof(Key))
        slot = self._flow(&key, hashed)
        if not slot:
            slot = self._new(&key, hashed)
            flow = &self._flows[slot]
            begin(flow, time)
        else:
            flow = &self._flows[slot]
            if (
                time - flow.last > IDLE
                or time - flow.started > LIFE
                or (opens and self._is_new(flow, up, first))
            ):
                begin(flow, time)
            self._use(slot)
        flow.last = max(flow.last, time)
        if found.flags & (SYN | ACK) == SYN | ACK:
            flow.called, flow.answered = found.ack, True
        side = &flow.sides[up]
        if found.protocol == UDP:
            if not self._cut_datagram(side, found, out):
                return False
        else:
            if not side.seen:
                side.seen, side.base = True, first
            if not self._cut(side, found, first, out):
                return False
        out.slot, out.ordinal = slot, flow.ordinal
        flow.ordinal += 1
        return True

    cdef bytes name(self, uint32_t slot, Segment segment):
        """The Community ID of the flow in ``slot``, to which ``segment`` belongs."""
        cdef bytes made
        cdef char* kept = self._flows[slot].name
        if not kept[0]:
            made = community_id(
                segment.src_ip, segment.dst_ip, segment.src_port, segment.dst_port, segment.transport
            ).encode()
            if len(made) != NAME:
                raise ValueError(f"a Community ID of {len(made)} bytes")
            memcpy(kept, <const char*>made, NAME)
            return made
        return kept[:NAME]

    cdef bint _cut(self, Side* side, const Found* found, uint32_t first, Decision* out) noexcept:
        """Whether anything is kept; the payload within the head, and how much is missing behind it."""
        cdef Py_ssize_t beyond, offset
        out.length, out.missing = found.captured, found.size - found.captured
        if found.flags & SYN:
            side.base, side.anchored, side.full = first, True, False
        if not self._depth:
            return True
        # Once full it stays so: 2 GiB on, a sequence number looks as if it came before the head.
        if not side.full:
            offset = distance(first, side.base)
            if offset < 0 and not side.anchored and -offset <= self._depth:
                side.base, offset = first, 0
            side.full = offset + found.size >= self._depth
            if offset < self._depth:
                beyond = max(0, min(offset + found.size - self._depth, found.size))
                if beyond > out.missing:
                    out.length, out.missing = found.size - beyond, beyond
                return True
        out.length, out.missing = 0, found.size
        return found.flags & (FIN | RST) != 0

    cdef bint _cut_datagram(self, Side* side, const Found* found, Decision* out) noexcept:
        """As ``_cut``, of a datagram."""
        cdef Py_ssize_t beyond
        out.length, out.missing = found.captured, found.size - found.captured
        if not self._depth:
            return True
        if side.full:
            return False
        beyond = side.base + found.size - self._depth
        if beyond > out.missing:
            out.length, out.missing = found.size - beyond, beyond
        side.base += <uint32_t>(found.size - max(0, beyond))
        side.datagrams += 1
        side.full = beyond >= 0 or side.datagrams == MAX_DATAGRAMS
        return True

    cdef bint _is_new(self, Flow* flow, bint up, uint32_t first) noexcept:
        """Whether a SYN, behind which data begins at ``first``, opens another connection than ``flow``.

        A retransmitted SYN has the same number; one that arrives after its data has a lower, near
        one. Of a side that has said nothing the other's SYN/ACK tells whom it answers.
        """
        cdef Side* side = &flow.sides[up]
        if not side.seen:
            return not flow.answered or flow.called != first
        return not 0 <= distance(side.base, first) < (self._depth or DEFAULT_DEPTH)

    # The table: slots from 1 on, in chains by hash, and in a list by use.

    cdef uint64_t _path(self, const unsigned char* p, const Found* found) noexcept:
        """Of what is around a flow: the tags, and of each tunnel its kind, its two ends in order, its network.

        Hashed, so that a key is as short as a plain flow's: with 64 bits and a secret, two of a million paths
        have the same once in 37 million times.
        """
        cdef Step steps[MAX_TUNNELS + 1]
        cdef const Tunnel* tunnel
        cdef int i, width
        cdef bint up
        memset(steps, 0, (found.tunnel_count + 1) * sizeof(Step))
        steps[0].id = found.tags
        for i in range(found.tags):
            memcpy(steps[0].ends + 2 * i, &found.vlans[i], 2)
        for i in range(found.tunnel_count):
            tunnel = &found.tunnels[i]
            width = tunnel.width
            steps[i + 1].kind, steps[i + 1].width = tunnel.kind + 1, width
            steps[i + 1].id = tunnel.id if names_network(tunnel.kind) else -1
            up = memcmp(p + tunnel.addresses, p + tunnel.addresses + width, width) <= 0
            memcpy(steps[i + 1].ends, p + tunnel.addresses + (0 if up else width), width)
            memcpy(steps[i + 1].ends + width, p + tunnel.addresses + (width if up else 0), width)
        return mixed(self._secret, steps, (found.tunnel_count + 1) * sizeof(Step)) or 1

    cdef uint32_t _flow(self, const Key* key, uint64_t hashed) noexcept:
        cdef uint32_t slot = self._buckets[hashed & self._mask]
        while slot and memcmp(&self._flows[slot].key, key, sizeof(Key)):
            slot = self._flows[slot].next
        return slot

    cdef uint32_t _new(self, const Key* key, uint64_t hashed) except 0:
        cdef uint32_t slot, bucket
        if self._count < self._limit:
            if self._count + 1 >= self._capacity:
                self._grow()
            self._count += 1
            slot = self._count
        else:
            slot = self._oldest
            self._unlink(slot)
            self.evicted += 1
        bucket = hashed & self._mask
        self._flows[slot].key = key[0]
        self._flows[slot].name[0] = 0
        self._flows[slot].next, self._buckets[bucket] = self._buckets[bucket], slot
        self._flows[slot].older, self._flows[slot].newer = self._newest, 0
        if self._newest:
            self._flows[self._newest].newer = slot
        else:
            self._oldest = slot
        self._newest = slot
        return slot

    cdef void _use(self, uint32_t slot) noexcept:
        """It is the newest now."""
        cdef Flow* flow = &self._flows[slot]
        if slot == self._newest:
            return
        if flow.older:
            self._flows[flow.older].newer = flow.newer
        else:
            self._oldest = flow.newer
        self._flows[flow.newer].older = flow.older
        flow.older, flow.newer = self._newest, 0
        self._flows[self._newest].newer = slot
        self._newest = slot

    cdef void _unlink(self, uint32_t slot) noexcept:
        """Forget the oldest."""
        cdef uint32_t* link = &self._buckets[mixed(self._secret, &self._flows[slot].key, sizeof(Key)) & self._mask]
        while link[0] != slot:
            link = &self._flows[link[0]].next
        link[0] = self._flows[slot].next
        self._oldest = self._flows[slot].newer
        if self._oldest:
            self._flows[self._oldest].older = 0
        else:
            self._newest = 0

    cdef int _grow(self) except -1:
        cdef uint32_t capacity = self._capacity * 2 if self._capacity else FIRST_CAPACITY
        cdef uint32_t slot, bucket
        cdef void* flows = realloc(self._flows, capacity * sizeof(Flow))
        if flows == NULL:
            raise MemoryError
        self._flows = <Flow*>flows
        cdef void* buckets = realloc(self._buckets, capacity * sizeof(uint32_t))
        if buckets == NULL:
            raise MemoryError
        self._buckets = <uint32_t*>buckets
        self._capacity, self._mask = capacity, capacity - 1
        memset(self._buckets, 0, capacity * sizeof(uint32_t))
        for slot in range(1, self._count + 1):
            bucket = mixed(self._secret, &self._flows[slot].key, sizeof(Key)) & self._mask
            self._flows[slot].next, self._buckets[bucket] = self._buckets[bucket], slot
        return 0


cdef void begin(Flow* flow, int64_t time) noexcept:
    """It begins now, with nothing said."""
    flow.started = flow.last = time
    flow.ordinal = 0
    flow.answered = False
    memset(flow.sides, 0, sizeof(flow.sides))


cdef bint key_of(const unsigned char* p, const Found* found, Key* key) noexcept:
    """Fills the key, but for the path; whether the sender is the lower end."""
    cdef unsigned char source[18]
    cdef unsigned char target[18]
    cdef int width = found.width, length = width + 2
    cdef bint up
    memcpy(source, p + found.addresses, width)
    memcpy(target, p + found.addresses + width, width)
    source[width], source[width + 1] = found.src_port >> 8, found.src_port & 0xFF
    target[width], target[width + 1] = found.dst_port >> 8, found.dst_port & 0xFF
    up = memcmp(source, target, length) <= 0
    memset(key, 0, sizeof(Key))
    key.width, key.protocol = width, found.protocol
    memcpy(key.ends, &source[0] if up else &target[0], length)
    memcpy(key.ends + length, &target[0] if up else &source[0], length)
    return up


cdef inline uint64_t mixed(const uint64_t* secret, const void* data, size_t size) noexcept:
    """A hash of ``size`` bytes, a multiple of 8, of which nobody can know what others have the same."""
    cdef uint64_t hashed = secret[0]
    cdef uint64_t word
    cdef size_t at
    for at in range(0, size, 8):
        memcpy(&word, <const char*>data + at, 8)
        hashed = (hashed ^ word) * secret[1]
        hashed ^= hashed >> 29
    return hashed ^ hashed >> 32
