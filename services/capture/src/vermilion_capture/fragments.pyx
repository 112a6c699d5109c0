"""Fragments of IP packets, put together: RFC 791 section 3.2 and RFC 8200 section 4.5, bounded.

Of a datagram of which fragments overlap nothing is used (RFC 5722; of IPv4 likewise, as Linux does): what
its receiver made of it cannot be known. A fragment that comes twice is dropped. What is not whole after a
minute of packet time is forgotten, and the oldest of all where there are too many or their bytes are.
"""

from bisect import bisect_left

from libc.stdint cimport int64_t
from libc.string cimport memcpy
from vermilion_capture.layers cimport ETHERTYPE_IPV4, ETHERTYPE_IPV6, Found, Layer, u16

cdef enum:
    LIFETIME = 60_000_000    # RFC 8200 4.5, microseconds
    MOST_DATAGRAMS = 4096
    MOST_BYTES = 1 << 24
    PIECE_BYTES = 150        # what a piece costs in memory beside its bytes
    DATAGRAM_BYTES = 500
    LONGEST = 0xFFFF         # of a packet: RFC 791 3.1, RFC 8200 3

# What is to be done with a datagram: why it is given up, or not yet.
cdef enum:
    OVERLAPS
    MALFORMED
    CUT
    TIMED_OUT
    EVICTED
    WAITS
    WHOLE

# Why packets in fragments were given up; the names are label values of the capture's metrics.
_NAMES = ("fragments_overlapping", "fragments_malformed", "fragments_cut", "fragments_timed_out", "fragments_evicted")


cdef class Datagram:
    """One packet's fragments so far."""

    def __cinit__(self, int64_t started):
        self.started = started
        self.starts, self.pieces = [], []
        self.total = -1
        self.held = DATAGRAM_BYTES

    cdef int put(self, Py_ssize_t offset, bytes data, bint more) except -1:
        """Take a piece; what is to be done now."""
        cdef Py_ssize_t end = offset + len(data), at = bisect_left(self.starts, offset)
        cdef Py_ssize_t before = 0
        # RFC 8200 4.5: all but the last are multiples of 8 bytes.
        if not data or (more and len(data) & 7):
            return MALFORMED
        if at < len(self.starts):
            if <Py_ssize_t>self.starts[at] == offset and self.pieces[at] == data:
                return WAITS
            if <Py_ssize_t>self.starts[at] < end:
                return OVERLAPS
        if at:
            before = <Py_ssize_t>self.starts[at - 1] + len(self.pieces[at - 1])
            if before > offset:
                return OVERLAPS
        if more:
            if self.total >= 0 and end >= self.total:
                return MALFORMED
        else:
            if self.total >= 0 or (self.starts and at < len(self.starts)):
                return MALFORMED
            self.total = end
        self.starts.insert(at, offset)
        self.pieces.insert(at, data)
        self.arrived += len(data)
        self.held += len(data) + PIECE_BYTES
        return WHOLE if self.arrived == self.total else WAITS


cdef class Fragments:
    """What is not whole yet. ``datagrams`` and ``room`` bound its number and its bytes; ``held`` are those."""

    def __cinit__(self, Py_ssize_t datagrams=MOST_DATAGRAMS, Py_ssize_t room=MOST_BYTES):
        self._datagrams = {}
        self._most, self._room = datagrams, room

    @property
    def waiting(self):
        """How many datagrams are not whole."""
        return len(self._datagrams)

    @property
    def given_up(self):
        """How many datagrams never will be whole, by why."""
        return {_NAMES[i]: self._given_up[i] for i in range(5) if self._given_up[i]}

    cdef bytes add(self, const unsigned char* p, Py_ssize_t end, Found* found, int64_t time, Layer* whole):
        """Takes the fragment that was found at ``p``; the packet with it, once that is whole, or None.

        The packet lies where ``whole`` says in the bytes returned, and the ends of its tunnels before it,
        where ``found`` then says.
        """
        cdef const unsigned char* packet = p + found.network
        cdef Py_ssize_t begin, offset
        cdef bint more
        cdef int outcome
        cdef Datagram datagram
        cdef bytes key
        if found.width == 4:
            begin = found.network + (packet[0] & 15) * 4
            offset, more = (u16(packet + 6) & 0x1FFF) * 8, packet[6] & 0x20 != 0
            # RFC 791 3.2: addresses, protocol and identification.
            key = packet[12:20] + packet[9:10] + packet[4:6]
        else:
            begin = found.fragment + 8
            offset, more = u16(p + found.fragment + 2) & 0xFFF8, p[found.fragment + 3] & 1
            key = packet[8:40] + p[found.fragment + 4:begin]
        key = around(p, found) + key
        self._expire(time)
        datagram = self._datagrams.get(key)
        if datagram is None:
            datagram = self._datagrams[key] = Datagram(time)
            self.held += datagram.held
        elif datagram.refused:
            return None
        if found.packet_end > end:
            outcome = CUT
        elif offset + found.packet_end - begin > LONGEST:
            outcome = MALFORMED
        else:
            self.held -= datagram.held
            outcome = datagram.put(offset, p[begin:found.packet_end], more)
            self.held += datagram.held
        if offset == 0 and datagram.header is None:
            datagram.header = header_of(p, found)
        if outcome == WHOLE and found.width == 4 and len(datagram.header) + datagram.total > LONGEST:
            outcome = MALFORMED
        if outcome == WHOLE:
            self._forget(key)
            return self._put_together(p, found, datagram, whole)
        if outcome != WAITS:
            # RFC 5722 4: nor is anything used of it that is still to come.
            self.held -= datagram.held - DATAGRAM_BYTES
            datagram.starts, datagram.pieces, datagram.refused = [], [], True
            datagram.held = DATAGRAM_BYTES
            self._given_up[outcome] += 1
        while len(self._datagrams) > self._most or self.held > self._room:
            self._give_up(next(iter(self._datagrams)), EVICTED)
        return None

    cdef int _give_up(self, bytes key, int why) except -1:
        if not (<Datagram>self._datagrams[key]).refused:
            self._given_up[why] += 1
        return self._forget(key)

    cdef int _expire(self, int64_t time) except -1:
        """Forget what has waited too long; a capture whose times jump back waits longer, no more."""
        cdef Datagram datagram
        while self._datagrams:
            key = next(iter(self._datagrams))
            datagram = self._datagrams[key]
            if time - datagram.started <= LIFETIME:
                break
            self._give_up(key, TIMED_OUT)
        return 0

    cdef int _forget(self, bytes key) except -1:
        self.held -= (<Datagram>self._datagrams.pop(key)).held
        return 0

    cdef bytes _put_together(self, const unsigned char* p, Found* found, Datagram datagram, Layer* whole):
        cdef list parts = []
        cdef Py_ssize_t at = 0, size
        cdef int i
        for i in range(found.tunnel_count):
            size = 2 * found.tunnels[i].width
            parts.append(p[found.tunnels[i].addresses:found.tunnels[i].addresses + size])
            found.tunnels[i].addresses = at
            at += size
        cdef bytes packet = datagram.header + b"".join(datagram.pieces)
        cdef bytearray whole_packet = bytearray(packet)
        if found.width == 4:
            whole_packet[2], whole_packet[3] = len(packet) >> 8, len(packet) & 0xFF
        else:
            whole_packet[4], whole_packet[5] = (len(packet) - 40) >> 8, (len(packet) - 40) & 0xFF
        whole.at, whole.limit = at, at + len(packet)
        whole.ethertype = ETHERTYPE_IPV4 if found.width == 4 else ETHERTYPE_IPV6
        return b"".join((*parts, bytes(whole_packet)))


cdef bytes around(const unsigned char* p, const Found* found):
    """What is around a fragment, as bytes that are the same for all of its datagram."""
    cdef list parts = [(<const char*>found.vlans)[:found.tags * sizeof(found.vlans[0])]]
    cdef int i
    for i in range(found.tunnel_count):
        parts.append(b"%d %d " % (found.tunnels[i].kind, found.tunnels[i].id))
        parts.append(p[found.tunnels[i].addresses:found.tunnels[i].addresses + 2 * found.tunnels[i].width])
    return b"%d " % found.tags + b"".join(parts)


cdef bytes header_of(const unsigned char* p, const Found* found):
    """The first fragment's header as of a whole packet; IPv6's extension headers before it say nothing to us."""
    cdef const unsigned char* packet = p + found.network
    cdef bytearray header
    if found.width == 4:
        header = bytearray(packet[:(packet[0] & 15) * 4])
        header[6], header[7] = header[6] & 0xC0, 0
    else:
        header = bytearray(packet[:40])
        header[6] = p[found.fragment]
    return bytes(header)
