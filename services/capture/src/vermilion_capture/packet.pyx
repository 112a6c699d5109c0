"""From a captured frame to its TCP segment or UDP datagram, never past what was captured.

Sources: the tcpdump group's registry of link types and their headers, IEEE 802.1Q and 802.1ad
(stacked tags), RFC 791 (IPv4), RFC 8200 (IPv6 and its extension headers), RFC 9293 (TCP), RFC 768
(UDP). What is in a tunnel is found by ``tunnels``.
"""

from vermilion_capture.layers cimport (
    ACKNOWLEDGMENT_,
    BAD_,
    CUT_,
    EMPTY_,
    ETHERTYPE_ETHERNET,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_OLD_QINQ,
    ETHERTYPE_SERVICE_VLAN,
    ETHERTYPE_VLAN,
    FOUND,
    FRAGMENT_,
    MAX_TAGS,
    OTHER_PROTOCOL_,
    TCP,
    UDP,
    Found,
    Ip,
    Layer,
    begin_frame,
    u16,
    u32,
)
from vermilion_capture.tunnels cimport network_of, over_ip, over_link, over_udp, told

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

cdef enum:
    LINK_NULL = 0
    LINK_ETHERNET = 1
    LINK_RAW_BSD = 12
    LINK_RAW_OPENBSD = 14
    LINK_RAW = 101
    LINK_LOOP = 108
    LINK_LINUX_SLL = 113
    LINK_IPV4 = 228
    LINK_IPV6 = 229
    LINK_LINUX_SLL2 = 276
    MAX_EXTENSION_HEADERS = 16

# What segment() understands; the numbers are those of capture files.
LINK_TYPES = {
    LINK_ETHERNET: "Ethernet",
    LINK_NULL: "BSD loopback",
    LINK_LOOP: "OpenBSD loopback",
    LINK_RAW: "raw IP",
    LINK_RAW_BSD: "raw IP",
    LINK_RAW_OPENBSD: "raw IP",
    LINK_IPV4: "raw IPv4",
    LINK_IPV6: "raw IPv6",
    LINK_LINUX_SLL: "Linux cooked",
    LINK_LINUX_SLL2: "Linux cooked v2",
}

# Why a frame gave no segment; the names are label values of the capture's metrics.
NOT_IP = "not_ip"
OTHER_PROTOCOL = "other_protocol"
FRAGMENT = "ip_fragment"
CUT = "headers_cut"
BAD = "headers_malformed"
EMPTY = "empty_datagram"
TOO_DEEP = "tunnels_too_deep"
REASONS = (None, None, NOT_IP, OTHER_PROTOCOL, FRAGMENT, CUT, BAD, EMPTY, TOO_DEEP)


cdef class Segment:
    """A TCP segment or a UDP datagram, by ``transport`` (6, 17), and its header's fields.

    What only TCP has is 0 and empty of a datagram. ``tunnels`` (tunnels.Around) are around it, outermost
    first, ``vni`` is the innermost network of theirs, ``vlans`` are those of all frames. ``size`` is the payload's length on the wire by the IP header, frame padding not counted;
    ``payload`` is as much of it as was captured.
    """


def segment(bytes frame not None, int link_type=LINK_ETHERNET):
    """The TCP segment or UDP datagram in a frame; a Segment, or the name of why there is none.

    Pure acknowledgments (no payload, none of SYN, FIN, RST) give None: they carry nothing of a
    flow's head. Raises ValueError for a link type that is not among LINK_TYPES.
    """
    cdef const unsigned char* p = frame
    cdef Found found
    cdef int reason
    if not link_known(link_type):
        raise ValueError(f"link type {link_type}")
    begin_frame(&found)
    reason = find(p, len(frame), link_type, &found)
    return built(p, &found) if reason == FOUND else REASONS[reason]


cdef int find(const unsigned char* p, Py_ssize_t end, int link_type, Found* found) noexcept nogil:
    """Finds the segment in ``end`` bytes at ``p``, of a link type that is known.

    ``found`` has begun, and may tell a tag that was taken out of the frame before.
    """
    cdef Layer layer
    layer.at, layer.limit = link_header(link_type), PY_SSIZE_T_MAX
    if end < layer.at or end == 0:
        return CUT_
    layer.ethertype = link_protocol(link_type, p)
    return walk(p, end, &layer, found)


cdef int walk(const unsigned char* p, Py_ssize_t end, Layer* layer, Found* found) noexcept nogil:
    """From a layer inwards to the segment: each turn takes a header, and tags and tunnels are bounded."""
    cdef int reason
    cdef Ip ip
    while True:
        if layer.ethertype == ETHERTYPE_IPV4:
            reason = ipv4(p, end, layer, &ip)
            found.addresses, found.width = layer.at + 12, 4
        elif layer.ethertype == ETHERTYPE_IPV6:
            reason = ipv6(p, end, layer, &ip)
            found.addresses, found.width = layer.at + 8, 16
        elif layer.ethertype in (ETHERTYPE_VLAN, ETHERTYPE_SERVICE_VLAN, ETHERTYPE_OLD_QINQ):
            if end < layer.at + 4:
                return CUT_
            if found.tags == MAX_TAGS or layer.limit < layer.at + 4:
                return BAD_
            found.vlans[found.tags] = u16(p + layer.at) & 0x0FFF
            found.tags += 1
            layer.ethertype = u16(p + layer.at + 2)
            layer.at += 4
            continue
        elif layer.ethertype == ETHERTYPE_ETHERNET:
            if layer.limit < layer.at + 14:
                return BAD_
            if end < layer.at + 14:
                return CUT_
            layer.ethertype = u16(p + layer.at + 12)
            layer.at += 14
            continue
        else:
            reason = over_link(p, end, found, layer)
            if reason == FOUND:
                continue
            return reason
        if reason == FRAGMENT_:
            found.network, found.fragment, found.packet_end = layer.at, ip.fragment, ip.end
        if reason != FOUND:
            return reason
        if ip.protocol == TCP:
            return tcp(p, end, &ip, found)
        if ip.protocol == UDP:
            reason = udp(p, end, &ip, found)
            if reason != FOUND:
                return reason
            reason = over_udp(p, found, layer)
            if reason == OTHER_PROTOCOL_:
                return FOUND
        else:
            reason = over_ip(p, end, &ip, found, layer)
        if reason != FOUND:
            return reason


cdef bint link_known(int link_type) noexcept nogil:
    """Whether ``find`` understands the link type."""
    return link_header(link_type) >= 0


cdef Py_ssize_t link_header(int link_type) noexcept nogil:
    """How long a link type's header is; -1 when the type is not known."""
    if link_type == LINK_ETHERNET:
        return 14
    if link_type == LINK_LINUX_SLL:
        return 16
    if link_type == LINK_LINUX_SLL2:
        return 20
    if link_type in (LINK_NULL, LINK_LOOP):
        return 4
    if link_type in (LINK_RAW, LINK_RAW_BSD, LINK_RAW_OPENBSD, LINK_IPV4, LINK_IPV6):
        return 0
    return -1


cdef int link_protocol(int link_type, const unsigned char* p) noexcept nogil:
    """The EtherType of what follows the header, which is here, as is one byte at least; or 0."""
    if link_type == LINK_ETHERNET:
        return u16(p + 12)
    if link_type == LINK_LINUX_SLL:
        return u16(p + 14)
    if link_type == LINK_LINUX_SLL2:
        return u16(p)
    if link_type in (LINK_NULL, LINK_LOOP):
        return loopback_protocol(p)
    if link_type == LINK_IPV4 or (link_type != LINK_IPV6 and p[0] >> 4 == 4):
        return ETHERTYPE_IPV4
    if link_type == LINK_IPV6 or p[0] >> 4 == 6:
        return ETHERTYPE_IPV6
    return 0


cdef int loopback_protocol(const unsigned char* p) noexcept nogil:
    """An address family of the capturing system, in that system's byte order.

    Families are small: whichever end has the zeros is the upper one. OpenBSD's own header is
    always in network byte order, which is one of the two.
    """
    cdef int family = 0
    if p[0] == 0 and p[1] == 0:
        family = u16(p + 2)
    elif p[2] == 0 and p[3] == 0:
        family = (p[1] << 8) | p[0]
    if family == 2:
        return ETHERTYPE_IPV4
    if family in (24, 28, 30):  # NetBSD and OpenBSD; FreeBSD and DragonFly; macOS
        return ETHERTYPE_IPV6
    return 0


# RFC 791 3.1
cdef int ipv4(const unsigned char* p, Py_ssize_t end, const Layer* layer, Ip* ip) noexcept nogil:
    cdef Py_ssize_t at = layer.at, header, total
    if end < at + 20:
        return CUT_ if layer.limit >= at + 20 else BAD_
    header = (p[at] & 15) * 4
    total = u16(p + at + 2)
    if p[at] >> 4 != 4 or header < 20:
        return BAD_
    # Segmentation offload leaves 0 here for a packet above 64 KiB: then the frame tells the end.
    if total == 0:
        total = min(end, layer.limit) - at
    if total < header or at + total > layer.limit:
        return BAD_
    ip.protocol = p[at + 9]
    ip.end = at + total
    if end < at + header:
        return CUT_
    if u16(p + at + 6) & 0x3FFF:  # more fragments, or an offset
        return FRAGMENT_
    ip.transport = at + header
    ip.ttl = p[at + 8]
    ip.ip_id = u16(p + at + 4)
    return FOUND


# RFC 8200 3 and 4
cdef int ipv6(const unsigned char* p, Py_ssize_t end, const Layer* layer, Ip* ip) noexcept nogil:
    cdef Py_ssize_t at = layer.at, here = at + 40, packet_end, length
    cdef int next_header, walked
    if end < here:
        return CUT_ if layer.limit >= here else BAD_
    if p[at] >> 4 != 6:
        return BAD_
    packet_end = here + u16(p + at + 4)
    if packet_end == here:  # a jumbogram or an offloaded packet: the frame tells the end
        packet_end = min(end, layer.limit)
    if packet_end < here or packet_end > layer.limit:
        return BAD_
    ip.end = packet_end
    next_header = p[at + 6]
    for walked in range(MAX_EXTENSION_HEADERS):
        if next_header in (0, 43, 60, 135):  # hop-by-hop, routing, destination options, mobility
            length = 8
        elif next_header == 44:
            length = 8
        elif next_header == 51:  # authentication header, RFC 4302: counted in 4 bytes
            length = 8
        else:
            ip.protocol = next_header
            ip.transport = here
            ip.ttl = p[at + 7]
            ip.ip_id = u32(p + at) & 0xFFFFF
            return FOUND
        if here + length > packet_end:
            return BAD_
        if here + length > end:
            return CUT_
        if next_header == 44:
            if u16(p + here + 2) & 0xFFF9:  # an offset, or more fragments
                ip.fragment = here
                return FRAGMENT_
        elif next_header == 51:
            length = (p[here + 1] + 2) * 4
        else:
            length = (p[here + 1] + 1) * 8
        next_header = p[here]
        here += length
        if here > packet_end:
            return BAD_
    return BAD_


# RFC 9293 3.1
cdef int tcp(const unsigned char* p, Py_ssize_t end, const Ip* ip, Found* found) noexcept nogil:
    cdef Py_ssize_t here = ip.transport, header, start
    if ip.end < here + 20:
        return BAD_
    if end < here + 20:
        return CUT_
    header = (p[here + 12] >> 4) * 4
    start = here + header
    if header < 20 or start > ip.end:
        return BAD_
    found.flags = p[here + 13]
    if start > end and found.flags & SYN:
        return CUT_  # half of the options would be somebody else's fingerprint
    if not (found.flags & (FIN | SYN | RST)) and start == ip.end:
        return ACKNOWLEDGMENT_
    found.protocol, found.ttl, found.ip_id = TCP, ip.ttl, ip.ip_id
    found.src_port, found.dst_port = u16(p + here), u16(p + here + 2)
    found.seq, found.ack = u32(p + here + 4), u32(p + here + 8)
    found.window = u16(p + here + 14)
    found.transport, found.payload = here, start
    found.options_end = min(start, end)
    found.size = ip.end - start
    found.captured = max(0, min(ip.end, end) - start)
    return FOUND


# RFC 768
cdef int udp(const unsigned char* p, Py_ssize_t end, const Ip* ip, Found* found) noexcept nogil:
    cdef Py_ssize_t here = ip.transport, length
    if ip.end < here + 8:
        return BAD_
    if end < here + 8:
        return CUT_
    length = u16(p + here + 4)
    # RFC 2675 4, and segmentation offload: 0 where the length does not fit.
    if length == 0 and ip.end - here > 0xFFFF:
        length = ip.end - here
    if length < 8 or length > ip.end - here:
        return BAD_
    if length == 8:
        return EMPTY_
    found.protocol, found.ttl, found.ip_id = UDP, ip.ttl, ip.ip_id
    found.src_port, found.dst_port = u16(p + here), u16(p + here + 2)
    found.flags = found.window = 0
    found.seq = found.ack = 0
    found.transport = here
    found.payload = found.options_end = here + 8
    found.size = length - 8
    found.captured = max(0, min(here + length, end) - found.payload)
    return FOUND


cdef Segment built(const unsigned char* p, const Found* found):
    """What ``find`` found at ``p``, as an object of its own."""
    cdef Segment made = Segment.__new__(Segment)
    cdef const unsigned char* address = p + found.addresses
    cdef int i
    made.vlans = tuple([found.vlans[i] for i in range(found.tags)]) if found.tags else ()
    made.tunnels, made.vni = (told(p, found), network_of(found)) if found.tunnel_count else ((), None)
    made.src_ip = address[:found.width]
    made.dst_ip = address[found.width:2 * found.width]
    made.src_port, made.dst_port = found.src_port, found.dst_port
    made.transport, made.ttl, made.ip_id = found.protocol, found.ttl, found.ip_id
    made.flags, made.window = found.flags, found.window
    made.seq, made.ack = found.seq, found.ack
    made.options = p[found.transport + 20:found.options_end] if found.flags & SYN else b""
    made.size = found.size
    made.payload = p[found.payload:found.payload + found.captured]
    return made
