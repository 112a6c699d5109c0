"""TCP: the fingerprints of a SYN or SYN/ACK segment. No stream: the flow table calls these for each.

A segment is one of these whatever its other control bits, so an ECN SYN (RFC 3168 6.1.1: SYN, ECE,
CWR) is one. Source: RFC 9293 sections 3.1 and 3.2.
"""

from cpython.unicode cimport PyUnicode_DecodeASCII

from vermilion_fingerprint.cursor cimport Cursor
from vermilion_fingerprint.hexout cimport put_bytes
from vermilion_fingerprint.cursor import Malformed

cdef enum:
    NO_OPERATION = 1
    MAXIMUM_SEGMENT_SIZE = 2
    WINDOW_SCALE = 3
    # RFC 9293 3.1: Data Offset counts at most 15 words, of which the header takes 5.
    MAX_OPTIONS = 40
    # The longest text that so many bytes of options give: a group of four characters for each.
    MAX_GROUPS = 4 * MAX_OPTIONS

# IANA's TCP Option Kind Numbers.
cdef dict KINDS = {
    0: "end_of_option_list", 1: "no_operation", 2: "maximum_segment_size", 3: "window_scale",
    4: "sack_permitted", 5: "sack", 8: "timestamps", 14: "alternate_checksum_request", 19: "md5_signature",
    27: "quick_start_response", 28: "user_timeout", 29: "tcp_ao", 30: "multipath_tcp", 34: "fast_open_cookie",
    69: "encryption_negotiation",
}
# RFC 9293 3.2 and RFC 7323 2.2: so many bytes of a number.
cdef dict NUMBERS = {MAXIMUM_SEGMENT_SIZE: 2, WINDOW_SCALE: 1}


cdef inline char* put_group(char* out, const unsigned char* source, Py_ssize_t count) noexcept:
    """``(hex)`` of ``count`` bytes."""
    out[0] = b"("
    out = put_bytes(out + 1, source, count)
    out[0] = b")"
    return out + 1


cdef bint skip_value(Cursor options) except -1:
    """Step over an option's length and value; False when the option cannot be."""
    cdef long length
    try:
        length = options.u8("Length")
        if length < 2:
            return False
        options.skip(length - 2, "option data")
    except Malformed:
        return False
    return True


# RFC 9293 3.1. The peers walk on after kind 0, End of Option List: so their databases have it.
cdef str groups(bytes raw):
    """``(kind)`` for each option, the whole option for MSS and window scale.

    An option that cannot be (a length of 0 or 1, or past the end) is told by its kind, and is the last.
    """
    cdef char text[MAX_GROUPS]
    cdef char* out = text
    cdef Cursor options = Cursor.__new__(Cursor, raw[:MAX_OPTIONS], min(len(raw), MAX_OPTIONS))
    cdef Py_ssize_t at
    cdef long kind
    cdef bint whole = True
    while whole and not options.at_end():
        at = options.position
        kind = options.u8("Kind")
        if kind > NO_OPERATION:
            whole = skip_value(options)
        if whole and (kind == MAXIMUM_SEGMENT_SIZE or kind == WINDOW_SCALE):
            out = put_group(out, options._bytes + at, options.position - at)
        else:
            out = put_group(out, options._bytes + at, 1)
    return PyUnicode_DecodeASCII(text, out - text, NULL)


cdef class Syn:
    """A segment that opens a connection; ``acknowledges``: it is the SYN/ACK of the one who is called."""

    cdef readonly int ip_version, ttl, window
    cdef readonly long ip_id
    cdef readonly bytes options
    cdef readonly bint acknowledges

    def __cinit__(self, int ip_version, int ttl, long ip_id, int window, bytes options not None, bint acknowledges):
        self.ip_version = ip_version
        self.ttl = ttl
        self.ip_id = ip_id
        self.window = window
        self.options = options
        self.acknowledges = acknowledges

    def readable(self):
        """The window, and the options by IANA's names; a kind without a name, or a value, as hex."""
        return {"window": self.window, "options": named(self.options)}


def fingerprint(Syn syn not None) -> str:
    """pmercury's string: ``(window)(option)...``, options in wire order."""
    return f"({syn.window & 0xFFFF:04x}){groups(syn.options)}"


def npf(Syn syn not None) -> str:
    """mercury's string: ``tcp/(IP version)(00 or nothing)(ttl)(window)((option)...)``.

    It begins ``tcp_server`` for a SYN/ACK. The second group is ``00`` when the identification (IPv4)
    or flow label (IPv6) is zero; of the time to live or hop limit, which counts down on the way, the
    upper three bits stay.
    """
    prefix = "tcp_server" if syn.acknowledges else "tcp"
    return (
        f"{prefix}/({syn.ip_version << 4:02x})({'' if syn.ip_id else '00'})({syn.ttl & 0xE0:02x})"
        f"({syn.window & 0xFFFF:04x})({groups(syn.options)})"
    )


cdef list named(bytes raw):
    cdef Cursor options = Cursor.__new__(Cursor, raw[:MAX_OPTIONS], min(len(raw), MAX_OPTIONS))
    cdef Py_ssize_t at
    cdef long kind
    cdef bint whole = True
    out = []
    while whole and not options.at_end():
        kind = options.u8("Kind")
        at = options.position + 1
        if kind > NO_OPERATION:
            whole = skip_value(options)
        value = raw[at:options.position] if whole else b""
        number = len(value) == NUMBERS.get(kind)  # of another length it is not what its RFC says
        out.append({KINDS.get(kind, f"{kind:02x}"): int.from_bytes(value, "big") if number else value.hex()})
    return out
