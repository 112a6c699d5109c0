"""What of the packets is published: the heads of flows, but for ports, networks and UDP left out.

A packet that is not published costs no object. What was not wanted is counted by its reason.
"""

from ipaddress import ip_network

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy
from vermilion_capture.fragments cimport Fragments
from vermilion_capture.heads cimport Decision, FlowHeads
from vermilion_capture.items cimport Item, Origin, made
from vermilion_capture.layers cimport FOUND, FRAGMENT_, REASON_COUNT, TCP, UDP, Found, Layer, begin_frame
from vermilion_capture.packet cimport Segment, built, find, link_known, walk
from vermilion_capture.ring cimport Block, Packet

from vermilion_capture.heads import DEPTH
from vermilion_capture.packet import REASONS

cdef enum:
    KEPT = REASON_COUNT
    BEYOND_HEAD
    EXCLUDED_PORT
    EXCLUDED_NETWORK
    EXCLUDED_TRANSPORT
    EXCLUDED_KAFKA
    FILTERED
    DAMAGED_BLOCK
    PACKETS
    COUNTERS

cdef enum:
    SLICE = 64  # whoever is told to stop stops behind it

TRANSPORTS = ("tcp", "udp")
_NAMES = ("", "acknowledgment", *REASONS[2:], "kept", "beyond_head", "excluded_port",
          "excluded_network", "excluded_transport", "excluded_kafka", "filtered", "damaged_block", "packets")  # fmt: skip


cdef struct Network:
    int width
    int port                 # 0: all
    int whole                # bytes that must be equal
    unsigned char mask       # of the byte behind them
    unsigned char address[17]


cdef class Sieve:
    """Decides for each packet; ``heads`` are the flows', ``fragments`` what is not whole yet.

    ``ports`` and ``networks`` (as ``192.0.2.0/24``) are left out, whichever end has them, and what is
    neither of ``transports`` ("tcp", "udp"). So are ``brokers``, an address and a port each: what speaks to Kafka.
    ``merged``: frames longer than the MTU allows, which offloading has put together; ``newest``: the
    newest packet time, microseconds. Raises ValueError for what is no network or transport.
    """

    cdef readonly FlowHeads heads
    cdef readonly Fragments fragments
    cdef bytes _whole        # the last packet put together
    cdef readonly long merged
    cdef readonly int64_t newest
    cdef long _counts[COUNTERS]
    cdef unsigned char _ports[8192]
    cdef bint _by_port, _without_tcp, _without_udp
    cdef Network* _networks
    cdef int _network_count

    def __init__(
        self, Py_ssize_t depth=DEPTH, ports=(), networks=(), transports=TRANSPORTS, brokers=(), Fragments fragments=None
    ):
        self.heads = FlowHeads(depth)
        self.fragments = fragments or Fragments()
        if unknown := set(transports).difference(TRANSPORTS):
            raise ValueError(f"{min(unknown)}: no transport that is read; {' and '.join(TRANSPORTS)} are")
        self._without_tcp, self._without_udp = ("tcp" not in transports), ("udp" not in transports)
        for port in ports:
            self._by_port = True
            self._ports[<unsigned short>port >> 3] |= 1 << (port & 7)
        if len(networks) > 256:
            raise ValueError(f"{len(networks)} networks: at most 256 are taken")
        ends = [(ip_network(each, strict=False), 0) for each in networks]
        ends += [(ip_network(address), port) for address, port in brokers]
        self._networks = <Network*>calloc(len(ends) + 1, sizeof(Network))
        if self._networks == NULL:
            raise MemoryError
        for each, port in ends:
            self._add(each.network_address.packed, each.prefixlen, port)

    def __dealloc__(self):
        free(self._networks)

    cdef _add(self, bytes address, int bits, int port):
        cdef Network* network = &self._networks[self._network_count]
        network.width, network.port, network.whole = len(address), port, bits // 8
        network.mask = (0xFF00 >> (bits & 7)) & 0xFF
        memcpy(network.address, <const char*>address, len(address))
        self._network_count += 1

    @property
    def counts(self):
        """``packets`` seen, ``kept`` for publishing, and each reason for which one was not.

        ``damaged_block``: blocks of a ring of which the rest could not be read; ``fragments_``…: packets in
        fragments that were given up.
        """
        counts = {_NAMES[i]: self._counts[i] for i in range(1, COUNTERS) if self._counts[i]}
        return counts | self.fragments.given_up

    def frame(self, bytes data not None, int link_type, int64_t time, Origin origin not None):
        """What to publish of one frame, or None. Raises ValueError."""
        cdef Found found
        begin_frame(&found)
        if not link_known(link_type):
            raise ValueError(f"link type {link_type}")
        self._counts[PACKETS] += 1
        self.newest = max(self.newest, time)
        return self._take(data, len(data), link_type, time, &found, origin)

    def block(self, Block block not None, Origin origin not None, int64_t due):
        """What to publish of a block, up to a packet of time ``due`` or later, and not much at once: a list."""
        cdef Packet packet
        cdef Found found
        cdef list taken = []
        cdef Py_ssize_t tag
        cdef bint reached = False
        while not reached and len(taken) < SLICE and block.step(&packet):
            self._counts[PACKETS] += 1
            self.newest = max(self.newest, packet.time)
            reached = packet.time >= due
            begin_frame(&found)
            tag = 0
            if packet.tag >= 0:
                found.tags, found.vlans[0], tag = 1, packet.tag & 0x0FFF, 4
            if packet.wire_length > block.longest:
                self.merged += 1
            if block.wanted is not None and not block.wanted(block.framed(&packet), packet.wire_length + tag):
                self._counts[FILTERED] += 1
                continue
            one = self._take(packet.data, packet.captured, block.link_type, packet.time, &found, origin)
            if one is not None:
                taken.append(one)
        if block.done:
            self._counts[DAMAGED_BLOCK] += block.damaged
        return taken

    cdef Item _take(
        self, const unsigned char* p, Py_ssize_t end, int link_type, int64_t time, Found* found, Origin origin
    ):
        cdef Decision decision
        cdef Segment segment
        cdef int reason = find(p, end, link_type, found)
        if reason == FRAGMENT_:
            reason = self._reassemble(p, end, time, found)
            if reason != FRAGMENT_:
                p = self._whole
        if reason == FOUND:
            reason = self._excluded(p, found)
        if reason == FOUND:
            reason = KEPT if self.heads.decide(p, found, time, &decision) else BEYOND_HEAD
        self._counts[reason] += 1
        if reason != KEPT:
            return None
        found.captured = decision.length
        segment = built(p, found)
        return made(
            self.heads.name(decision.slot, segment), origin, segment, time, decision.ordinal, segment.payload,
            decision.missing,
        )

    cdef int _reassemble(self, const unsigned char* p, Py_ssize_t end, int64_t time, Found* found) except -1:
        """What is found in the packet that a fragment makes whole, which ``_whole`` then holds."""
        cdef Layer layer
        cdef bytes packet
        cdef int reason = FRAGMENT_
        while reason == FRAGMENT_:  # a tunnel's packet may have come in fragments, and what is in it, too
            packet = self.fragments.add(p, end, found, time, &layer)
            if packet is None:
                break
            self._whole = packet
            p, end = self._whole, len(packet)
            reason = walk(p, end, &layer, found)
        return reason

    cdef int _excluded(self, const unsigned char* p, const Found* found) noexcept:
        cdef int i
        cdef const Network* network
        if self._without_udp and found.protocol == UDP or self._without_tcp and found.protocol == TCP:
            return EXCLUDED_TRANSPORT
        if self._by_port and (self._port(found.src_port) or self._port(found.dst_port)):
            return EXCLUDED_PORT
        for i in range(self._network_count):
            network = &self._networks[i]
            if network.width == found.width and (
                inside(network, p + found.addresses, found.src_port)
                or inside(network, p + found.addresses + found.width, found.dst_port)
            ):
                return EXCLUDED_KAFKA if network.port else EXCLUDED_NETWORK
        return FOUND

    cdef bint _port(self, int port) noexcept:
        return self._ports[port >> 3] >> (port & 7) & 1


cdef bint inside(const Network* network, const unsigned char* address, int port) noexcept:
    if network.port and network.port != port:
        return False
    if memcmp(network.address, address, network.whole):
        return False
    # A network of all bits has no byte behind them.
    return not network.mask or not (network.address[network.whole] ^ address[network.whole]) & network.mask
