"""Tunnels: headers that carry another packet or frame, one at a time, never past what was captured.

Sources: RFC 2784 and 2890 (GRE), RFC 7348 (VXLAN), RFC 8926 (Geneve), RFC 2003 and 4213 (IP in IP), 3GPP
TS 29.281 (GTP-U), RFC 3032, 4023, 4385 and 4448 (MPLS and what is in it), RFC 2516 and 1332 (PPPoE, PPP),
draft-foschiano-erspan-03 (ERSPAN).
"""

from typing import NamedTuple

from libc.stdint cimport int64_t
from vermilion_capture.layers cimport (
    BAD_,
    CUT_,
    ETHERTYPE_ETHERNET,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_MPLS,
    ETHERTYPE_MPLS_UPSTREAM,
    ETHERTYPE_OLD_QINQ,
    ETHERTYPE_PPPOE,
    ETHERTYPE_SERVICE_VLAN,
    ETHERTYPE_VLAN,
    FOUND,
    MAX_TUNNELS,
    NOT_IP_,
    OTHER_PROTOCOL_,
    TOO_DEEP_,
    Found,
    Ip,
    Layer,
    Tunnel,
    u16,
    u32,
)

cdef enum:
    ETHERTYPE_ERSPAN = 0x88BE
    PROTOCOL_IPV4 = 4
    PROTOCOL_IPV6 = 41
    PROTOCOL_GRE = 47
    PORT_VXLAN = 4789
    PORT_VXLAN_LINUX = 8472
    PORT_GENEVE = 6081
    PORT_GTP_U = 2152
    PPP_IPV4 = 0x0021
    PPP_IPV6 = 0x0057
    MAX_LABELS = 16
    MAX_GTP_EXTENSIONS = 16

# By Kind; the names are those of the records.
KINDS = ("gre", "vxlan", "geneve", "ipip", "gtp-u", "mpls", "pppoe", "erspan")


class Around(NamedTuple):
    """A tunnel around a flow; addresses are empty where it has none."""

    kind: str
    src_ip: bytes
    dst_ip: bytes
    id: int | None
    """VNI, GRE key, TEID, top label, PPPoE or ERSPAN session."""


cdef int entered(Found* found, int kind, bint over_ip, int64_t id) noexcept nogil:
    """Notes a tunnel around what comes next. The bound: a frame must not cost by its depth."""
    cdef Tunnel* tunnel
    if found.tunnel_count == MAX_TUNNELS:
        return TOO_DEEP_
    tunnel = &found.tunnels[found.tunnel_count]
    tunnel.kind, tunnel.id = kind, id
    tunnel.width, tunnel.addresses = found.width if over_ip else 0, found.addresses
    found.tunnel_count += 1
    return FOUND


# Without an IP header: labels, and sessions of access lines.

cdef int over_link(const unsigned char* p, Py_ssize_t end, Found* found, Layer* layer) noexcept nogil:
    """Steps over the header at ``layer``, by its EtherType."""
    if layer.ethertype == ETHERTYPE_MPLS or layer.ethertype == ETHERTYPE_MPLS_UPSTREAM:
        return mpls(p, end, found, layer)
    if layer.ethertype == ETHERTYPE_PPPOE:
        return pppoe(p, end, found, layer)
    return NOT_IP_


# RFC 3032 2.1
cdef int mpls(const unsigned char* p, Py_ssize_t end, Found* found, Layer* layer) noexcept nogil:
    cdef Py_ssize_t at = layer.at
    cdef unsigned int entry, top = 0
    cdef int labels, version
    for labels in range(MAX_LABELS):
        if at + 4 > layer.limit:
            return BAD_
        if at + 4 > end:
            return CUT_
        entry = u32(p + at)
        at += 4
        if labels == 0:
            top = entry >> 12
        if entry & 0x100:  # the bottom of the stack
            break
    else:
        return BAD_
    if at >= layer.limit:
        return BAD_
    if at >= end:
        return CUT_
    # Nothing says what follows; routers guess alike (RFC 4928 2): IP by its version, and what does not
    # begin so is Ethernet, behind a control word that begins with 0 (RFC 4385 3) or without one.
    version = p[at] >> 4
    if version == 4:
        layer.ethertype = ETHERTYPE_IPV4
    elif version == 6:
        layer.ethertype = ETHERTYPE_IPV6
    elif version == 0 and like_ethernet(p, at + 4, end, layer.limit):
        layer.ethertype = ETHERTYPE_ETHERNET
        at += 4
    elif like_ethernet(p, at, end, layer.limit):
        layer.ethertype = ETHERTYPE_ETHERNET
    else:
        return NOT_IP_
    layer.at = at
    return entered(found, MPLS, False, top)


cdef bint like_ethernet(const unsigned char* p, Py_ssize_t at, Py_ssize_t end, Py_ssize_t limit) noexcept nogil:
    """Whether a frame begins here of which we could read more."""
    if at + 14 > end or at + 14 > limit:
        return False
    return u16(p + at + 12) in (
        ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN, ETHERTYPE_SERVICE_VLAN, ETHERTYPE_OLD_QINQ,
        ETHERTYPE_MPLS, ETHERTYPE_PPPOE,
    )


# RFC 2516 4, 5 and 7
cdef int pppoe(const unsigned char* p, Py_ssize_t end, Found* found, Layer* layer) noexcept nogil:
    cdef Py_ssize_t at = layer.at, limit
    cdef int protocol
    if at + 8 > layer.limit:
        return BAD_
    if at + 8 > end:
        return CUT_
    limit = at + 6 + u16(p + at + 4)
    if p[at] != 0x11 or p[at + 1] != 0 or limit < at + 8 or limit > layer.limit:
        return BAD_
    protocol = u16(p + at + 6)
    if protocol == PPP_IPV4:
        layer.ethertype = ETHERTYPE_IPV4
    elif protocol == PPP_IPV6:
        layer.ethertype = ETHERTYPE_IPV6
    else:
        return NOT_IP_
    layer.at, layer.limit = at + 8, limit
    return entered(found, PPPOE, False, u16(p + at + 2))


# In IP.

cdef int over_ip(const unsigned char* p, Py_ssize_t end, const Ip* ip, Found* found, Layer* inner) noexcept nogil:
    """Enters what a packet carries, when that is a tunnel; else OTHER_PROTOCOL_."""
    inner.at, inner.limit = ip.transport, ip.end
    if ip.protocol == PROTOCOL_GRE:
        return gre(p, end, found, inner)
    if ip.protocol == PROTOCOL_IPV4:
        inner.ethertype = ETHERTYPE_IPV4
    elif ip.protocol == PROTOCOL_IPV6:
        inner.ethertype = ETHERTYPE_IPV6
    else:
        return OTHER_PROTOCOL_
    return entered(found, IPIP, True, -1)


# RFC 2784 2, RFC 2890 2
cdef int gre(const unsigned char* p, Py_ssize_t end, Found* found, Layer* inner) noexcept nogil:
    cdef Py_ssize_t at = inner.at + 4
    cdef int64_t id = -1
    cdef int flags, kind = GRE
    if at > inner.limit:
        return BAD_
    if at > end:
        return CUT_
    flags = u16(p + inner.at)
    # Version 1 is PPTP's (RFC 2637), routing was RFC 1701's: both are another protocol.
    if flags & 0x4C07:
        return OTHER_PROTOCOL_
    inner.ethertype = u16(p + inner.at + 2)
    if flags & 0x8000:  # a checksum, and reserved bits
        at += 4
    if flags & 0x2000:
        if at + 4 <= end and at + 4 <= inner.limit:
            id = u32(p + at)
        at += 4
    if flags & 0x1000:  # a sequence number
        at += 4
    if inner.ethertype == ETHERTYPE_ERSPAN:
        # Type II has a sequence number and a header, type I neither.
        kind, id = ERSPAN, -1
        inner.ethertype = ETHERTYPE_ETHERNET
        if flags & 0x1000:
            if at + 4 <= end and at + 4 <= inner.limit:
                id = u32(p + at) & 0x3FF
            at += 8
    if at > inner.limit:
        return BAD_
    if at > end:
        return CUT_
    inner.at = at
    return entered(found, kind, True, id)


# In UDP. The port alone says little: what has not the form of a tunnel is a datagram as any.

cdef int over_udp(const unsigned char* p, Found* found, Layer* inner) noexcept nogil:
    """Enters what a datagram carries, when that is a tunnel; else OTHER_PROTOCOL_."""
    inner.at, inner.limit = found.payload, found.payload + found.size
    if found.captured < 8:
        return OTHER_PROTOCOL_
    if found.dst_port == PORT_VXLAN or found.dst_port == PORT_VXLAN_LINUX:
        return vxlan(p, found, inner)
    if found.dst_port == PORT_GENEVE:
        return geneve(p, found, inner)
    if found.dst_port == PORT_GTP_U:
        return gtp_u(p, found, inner)
    return OTHER_PROTOCOL_


# RFC 7348 5. Reserved bits are 0 when sent; a group policy (draft-smith-vxlan-group-policy-05), marked by
# the first of the flags, takes two bytes of them.
cdef int vxlan(const unsigned char* p, Found* found, Layer* inner) noexcept nogil:
    cdef const unsigned char* header = p + inner.at
    if header[0] & 0x7F != 0x08 or header[7] or inner.at + 8 + 14 > inner.limit:
        return OTHER_PROTOCOL_
    if not header[0] & 0x80 and (header[1] or header[2] or header[3]):
        return OTHER_PROTOCOL_
    inner.at, inner.ethertype = inner.at + 8, ETHERTYPE_ETHERNET
    return entered(found, VXLAN, True, u32(header + 4) >> 8)


# RFC 8926 3.4
cdef int geneve(const unsigned char* p, Found* found, Layer* inner) noexcept nogil:
    cdef const unsigned char* header = p + inner.at
    cdef Py_ssize_t length = 8 + (header[0] & 0x3F) * 4
    if header[0] >> 6 or header[1] & 0x3F or header[7] or inner.at + length > inner.limit:
        return OTHER_PROTOCOL_
    inner.ethertype = u16(header + 2)
    if inner.ethertype < 0x0600:  # below are lengths, not types
        return OTHER_PROTOCOL_
    inner.at += length
    return entered(found, GENEVE, True, u32(header + 4) >> 8)


# 3GPP TS 29.281 5.1 and 5.2: a G-PDU carries a user's packet, other messages are about the tunnel.
cdef int gtp_u(const unsigned char* p, Found* found, Layer* inner) noexcept nogil:
    cdef const unsigned char* header = p + inner.at
    cdef Py_ssize_t at = inner.at + 8, captured_end = found.payload + found.captured, limit
    cdef int extension, walked
    # Version 1, protocol type 1, the spare bit 0.
    if header[0] & 0xF8 != 0x30 or header[1] != 0xFF:
        return OTHER_PROTOCOL_
    limit = at + u16(header + 2)
    if limit > inner.limit:
        return OTHER_PROTOCOL_
    if header[0] & 7:  # any of them brings all three: sequence number, N-PDU number, extension
        at += 4
        if at > limit or at > captured_end:
            return OTHER_PROTOCOL_
        extension = p[at - 1] if header[0] & 4 else 0
        for walked in range(MAX_GTP_EXTENSIONS):
            if extension == 0:
                break
            if at + 4 > limit or at + 4 > captured_end or p[at] == 0:
                return OTHER_PROTOCOL_
            at += p[at] * 4  # counted in 4 bytes; the last of them names the next
            if at > limit or at > captured_end:
                return OTHER_PROTOCOL_
            extension = p[at - 1]
        else:
            return OTHER_PROTOCOL_
    if at >= limit or at >= captured_end:
        return OTHER_PROTOCOL_
    if p[at] >> 4 == 4:
        inner.ethertype = ETHERTYPE_IPV4
    elif p[at] >> 4 == 6:
        inner.ethertype = ETHERTYPE_IPV6
    else:
        return OTHER_PROTOCOL_
    inner.at, inner.limit = at, limit
    return entered(found, GTP_U, True, u32(header + 4))


# What is told of them.

cdef bint names_network(int kind) noexcept nogil:
    """Whether its id is of both directions, and tells apart flows of the same addresses."""
    return kind == VXLAN or kind == GENEVE or kind == GRE or kind == PPPOE


cdef tuple told(const unsigned char* p, const Found* found):
    """The tunnels, outermost first."""
    cdef list out = []
    cdef const Tunnel* tunnel
    cdef int i
    for i in range(found.tunnel_count):
        tunnel = &found.tunnels[i]
        source = p[tunnel.addresses:tunnel.addresses + tunnel.width]
        target = p[tunnel.addresses + tunnel.width:tunnel.addresses + 2 * tunnel.width]
        out.append(Around(KINDS[tunnel.kind], source, target, None if tunnel.id < 0 else tunnel.id))
    return tuple(out)


cdef object network_of(const Found* found):
    """The innermost VNI, or None."""
    cdef int i
    for i in range(found.tunnel_count - 1, -1, -1):
        if found.tunnels[i].kind == VXLAN or found.tunnels[i].kind == GENEVE:
            return found.tunnels[i].id
    return None
