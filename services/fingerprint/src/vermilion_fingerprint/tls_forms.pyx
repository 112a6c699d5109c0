"""The other forms of a ClientHello: mercury's sorted string, JA3 and JA4.

Sources: mercury's Network Protocol Fingerprinting, format ``tls/1``, as its program writes it; JA3
as published by its authors; JA4 for TLS clients, FoxIO's technical details (the other JA4+ methods
are not here: their licence is another). RFC 8446 section 4.2, RFC 8701 (GREASE), RFC 7301 (ALPN),
RFC 8422 section 5.1.2, RFC 9000 section 18.
"""

from hashlib import md5, sha256

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdlib cimport qsort
from libc.string cimport memcmp, memcpy

from vermilion_fingerprint.cursor cimport Cursor
from vermilion_fingerprint.hexout cimport put_bytes, put_u16
from vermilion_fingerprint.tls cimport ClientHello, ExtensionSpan, put_body, put_codes
from vermilion_fingerprint.tls_codes cimport is_grease
from vermilion_fingerprint.cursor import Malformed

cdef enum:
    EXT_SERVER_NAME = 0
    EXT_SUPPORTED_GROUPS = 10
    EXT_EC_POINT_FORMATS = 11
    EXT_SIGNATURE_ALGORITHMS = 13
    EXT_ALPN = 16
    EXT_SUPPORTED_VERSIONS = 43
    EXT_QUIC_TRANSPORT_PARAMETERS = 57
    EXT_QUIC_TRANSPORT_PARAMETERS_DRAFT = 0xFFA5
    GREASE = 0x0A0A


cdef const unsigned char* RESERVED_ID = b"\x1b"


# What a form needs of an extension, in a shape that sorts.
cdef struct Sortable:
    int type
    int length
    const unsigned char* body


cdef ExtensionSpan* find(ClientHello hello, int type) noexcept:
    """The first extension of this type; NULL when there is none. RFC 8446 4.2 forbids a second."""
    cdef Py_ssize_t i
    for i in range(hello._count):
        if hello._extensions[i].type == type:
            return &hello._extensions[i]
    return NULL


cdef Cursor listed(ClientHello hello, int type, int head):
    """A cursor over the list in an extension: what its length (``head`` bytes) declares.

    None when there is no such extension. A list that declares more than its extension holds ends
    with the extension: a malformed extension costs its hello nothing but what is not there.
    """
    cdef ExtensionSpan* span = find(hello, type)
    cdef Py_ssize_t declared
    if span == NULL or span.length < head:
        return None
    cdef Cursor body = Cursor.__new__(Cursor, hello._data, span.offset + span.length)
    body.skip(span.offset, "extension_data")
    declared = body.u8("list") if head == 1 else body.u16("list")
    return body.sub(min(declared, body.limit - body.position), "list")


# --- mercury's tls/1 ------------------------------------------------------------------------------

cdef inline bint npf_grease(int type) noexcept:
    # mercury's strings have it so for extensions: 256 values, not the sixteen of RFC 8701.
    return (type & 0x0F0F) == GREASE


cdef inline bint npf_keeps_data(int type) noexcept:
    return type in (
        0x0001, 0x0005, 0x0007, 0x0008, 0x0009, 0x000A, 0x000B, 0x000D, 0x000F, 0x0010, 0x0011,
        0x0018, 0x001B, 0x001C, 0x002B, 0x002D, 0x0032, 0x5500,
    )


cdef inline bint npf_parameters(int type) noexcept:
    return type in (EXT_QUIC_TRANSPORT_PARAMETERS, EXT_QUIC_TRANSPORT_PARAMETERS_DRAFT)


cdef int compare(const void* one, const void* two) noexcept nogil:
    """By type, then length, then bytes."""
    cdef const Sortable* a = <const Sortable*>one
    cdef const Sortable* b = <const Sortable*>two
    if a.type != b.type:
        return a.type - b.type
    if a.length != b.length:
        return a.length - b.length
    return memcmp(a.body, b.body, a.length)


def npf1(ClientHello hello not None, str prefix="tls/1/") -> str:
    """mercury's string ``tls/1/(version)(cipher suites)[(extension)...]``, extensions sorted.

    A browser that permutes its extensions has one string. ``prefix``: mercury's ``dtls/1/`` and
    ``quic/(version)`` go on in the same way. mercury drops a string of more than 8,192 characters;
    this does not.
    """
    return npf(hello, prefix, True)


def npf_in_order(ClientHello hello not None, str prefix) -> str:
    """mercury's string ``(version)(cipher suites)((extension)...)``, extensions as they were sent."""
    return npf(hello, prefix, False)


cdef str npf(ClientHello hello, str prefix, bint sort):
    cdef bytes head = prefix.encode("ascii")
    cdef const unsigned char* data = hello._data
    cdef Py_ssize_t i, size = len(head) + 12 + 2 * hello._suites_length
    cdef Sortable* sorted_ = <Sortable*>PyMem_Malloc((hello._count + 1) * sizeof(Sortable))
    cdef char* start = NULL
    cdef char* out
    if sorted_ == NULL:
        raise MemoryError
    try:
        for i in range(hello._count):
            sorted_[i].type = hello._extensions[i].type
            sorted_[i].length = hello._extensions[i].length
            sorted_[i].body = data + hello._extensions[i].offset
            if npf_grease(sorted_[i].type):
                sorted_[i].type = GREASE
            # The longest: transport parameters, "(xx)" for two bytes.
            size += 14 + 2 * sorted_[i].length
        if sort:
            qsort(sorted_, hello._count, sizeof(Sortable), compare)
        start = out = <char*>PyMem_Malloc(size)
        if start == NULL:
            raise MemoryError
        memcpy(out, <const char*>head, len(head))
        out += len(head)
        out[0] = b"("
        out = put_u16(out + 1, hello.version)
        out[0] = b")"
        out[1] = b"("
        out = put_codes(out + 2, data + hello._suites_offset, hello._suites_length)
        out[0] = b")"
        out[1] = b"[" if sort else b"("
        out += 2
        for i in range(hello._count):
            out = put_extension(out, &sorted_[i], hello._data)
        out[0] = b"]" if sort else b")"
        return PyUnicode_DecodeASCII(start, out + 1 - start, NULL)
    finally:
        PyMem_Free(sorted_)
        PyMem_Free(start)


cdef char* put_extension(char* out, Sortable* ext, bytes data) except NULL:
    out[0] = b"("
    if npf_parameters(ext.type):
        out[1] = b"("
        out = put_u16(out + 2, ext.type)
        out[0] = b")"
        out[1] = b"["
        out = put_parameters(out + 2, data, <const char*>ext.body - <const char*>data, ext.length)
        out[0] = b"]"
        out += 1
    else:
        out = put_u16(out + 1, ext.type)
        if npf_keeps_data(ext.type):
            out = put_u16(out, ext.length)
            out = put_body(out, ext.type, ext.body, ext.length)
    out[0] = b")"
    return out + 1


cdef struct Parameter:
    long long id
    const unsigned char* encoded
    Py_ssize_t length


cdef int by_id(const void* one, const void* two) noexcept nogil:
    cdef const Parameter* a = <const Parameter*>one
    cdef const Parameter* b = <const Parameter*>two
    if a.id != b.id:
        return -1 if a.id < b.id else 1
    return <int>(a.length - b.length)


# RFC 9000 18: Transport Parameter ID (i), Transport Parameter Length (i), value.
cdef char* put_parameters(char* out, bytes data, Py_ssize_t offset, Py_ssize_t length) except NULL:
    """The ids as they are encoded, ``(hex)`` each, by number; a reserved one (18.1) as 1b."""
    cdef Cursor body = Cursor.__new__(Cursor, data, offset + length)
    cdef const unsigned char* raw = data
    cdef Py_ssize_t i, count = 0
    cdef Parameter* found = <Parameter*>PyMem_Malloc((length // 2 + 1) * sizeof(Parameter))
    if found == NULL:
        raise MemoryError
    try:
        body.skip(offset, "extension_data")
        while not body.at_end():
            found[count].encoded = raw + body.position
            found[count].id = body.varint("Transport Parameter ID")
            found[count].length = body.position - (found[count].encoded - raw)
            body.skip(body.varint("Transport Parameter Length"), "value")
            if found[count].id % 31 == 27:
                found[count] = Parameter(27, RESERVED_ID, 1)
            count += 1
    except Malformed:
        pass  # What is here before the cut is told.
    try:
        qsort(found, count, sizeof(Parameter), by_id)
        for i in range(count):
            out[0] = b"("
            out = put_bytes(out + 1, found[i].encoded, found[i].length)
            out[0] = b")"
            out += 1
        return out
    finally:
        PyMem_Free(found)


# --- JA3 ------------------------------------------------------------------------------------------

cdef char* put_number(char* out, int value) noexcept:
    """In decimal, up to five digits."""
    cdef int unit = 1
    while unit * 10 <= value:
        unit *= 10
    while unit:
        out[0] = <char>(48 + value // unit % 10)  # 48: ASCII 0
        out += 1
        unit //= 10
    return out


cdef inline char* end_list(char* out, char* begin) noexcept:
    """A comma in place of the list's last dash."""
    if out != begin:
        out -= 1
    out[0] = b","
    return out + 1


cdef inline char* put_dashed(char* out, int code) noexcept:
    if is_grease(code):
        return out
    out = put_number(out, code)
    out[0] = b"-"
    return out + 1


def ja3_string(ClientHello hello not None) -> str:
    """``version,suites,extensions,groups,point formats``: decimal, GREASE left out everywhere."""
    cdef const unsigned char* suites = <const unsigned char*>hello._data + hello._suites_offset
    cdef Cursor groups = listed(hello, EXT_SUPPORTED_GROUPS, 2)
    cdef Cursor formats = listed(hello, EXT_EC_POINT_FORMATS, 1)
    cdef Py_ssize_t i, size = 16 + 3 * hello._suites_length + 6 * hello._count
    cdef char* begin
    cdef char* out
    if groups is not None:
        size += 3 * (groups.limit - groups.position)
    if formats is not None:
        size += 4 * (formats.limit - formats.position)
    cdef char* start = <char*>PyMem_Malloc(size)
    if start == NULL:
        raise MemoryError
    try:
        out = put_number(start, hello.version)
        out[0] = b","
        begin = out = out + 1
        for i in range(0, hello._suites_length, 2):
            out = put_dashed(out, (suites[i] << 8) | suites[i + 1])
        begin = out = end_list(out, begin)
        for i in range(hello._count):
            out = put_dashed(out, hello._extensions[i].type)
        begin = out = end_list(out, begin)
        if groups is not None:
            while groups.limit - groups.position >= 2:
                out = put_dashed(out, groups.u16("named_group_list"))
        begin = out = end_list(out, begin)
        if formats is not None:
            while not formats.at_end():
                out = put_dashed(out, formats.u8("ec_point_format_list"))
        out = end_list(out, begin)
        return PyUnicode_DecodeASCII(start, out - 1 - start, NULL)
    finally:
        PyMem_Free(start)


def ja3(ClientHello hello not None) -> str:
    """JA3: the MD5 of :func:`ja3_string`, in hex."""
    return md5(ja3_string(hello).encode("ascii"), usedforsecurity=False).hexdigest()


# --- JA4 ------------------------------------------------------------------------------------------

# "TLS and DTLS Version" of the technical details; what is not here is 00.
cdef dict JA4_VERSIONS = {
    0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2",
    0xFEFF: "d1", 0xFEFD: "d2", 0xFEFC: "d3",
}


cdef int ja4_version(ClientHello hello):
    """The newest of supported_versions; legacy_version when that has none.

    DTLS's numbers count down (RFC 6347 4.1).
    """
    cdef Cursor versions = listed(hello, EXT_SUPPORTED_VERSIONS, 1)
    cdef bint down = hello.version >> 8 == 0xFE
    cdef int version, newest = -1
    if versions is not None:
        while versions.limit - versions.position >= 2:
            version = versions.u16("versions")
            if not is_grease(version) and (newest < 0 or (version < newest if down else version > newest)):
                newest = version
    return hello.version if newest < 0 else newest


# RFC 7301 3.1: ProtocolName protocol_name_list<2..2^16-1>, each opaque<1..2^8-1>.
cdef str ja4_alpn(ClientHello hello):
    """First and last character of the first protocol; of its hex when one is not alphanumeric."""
    cdef Cursor names = listed(hello, EXT_ALPN, 2)
    if names is None or names.at_end():
        return "00"
    cdef Py_ssize_t length = names.u8("ProtocolName")
    cdef bytes name = names.take(min(length, names.limit - names.position), "ProtocolName")
    if not name:
        return "00"
    cdef bytes ends = name[:1] + name[len(name) - 1:]
    if ends.isalnum():
        return ends.decode("ascii")
    digits = ends.hex()
    return digits[0] + digits[3]


cdef int ascending(const void* one, const void* two) noexcept nogil:
    return (<const int*>one)[0] - (<const int*>two)[0]


cdef bytes commas(const int* codes, Py_ssize_t count):
    """Codes in hex, comma between."""
    cdef Py_ssize_t i
    if count == 0:
        return b""
    cdef bytes text = PyBytes_FromStringAndSize(NULL, 5 * count - 1)
    cdef char* out = text
    for i in range(count):
        if i:
            out[0] = b","
            out += 1
        out = put_u16(out, codes[i])
    return text


cdef tuple ja4_parts(ClientHello hello, str transport):
    """The first part, and the raw second and third."""
    if transport not in ("t", "q", "d"):
        raise ValueError(f"transport is t, q or d, not {transport!r}")
    cdef const unsigned char* suites = <const unsigned char*>hello._data + hello._suites_offset
    cdef Cursor algorithms = listed(hello, EXT_SIGNATURE_ALGORITHMS, 2)
    cdef Py_ssize_t i, count = 0, suite_count, extension_count = 0
    cdef Py_ssize_t room = max(hello._suites_length // 2, hello._count, 1)
    cdef bint domain = False
    cdef int code
    if algorithms is not None:
        room = max(room, (algorithms.limit - algorithms.position) // 2)
    cdef int* codes = <int*>PyMem_Malloc(room * sizeof(int))
    if codes == NULL:
        raise MemoryError
    try:
        for i in range(0, hello._suites_length, 2):
            code = (suites[i] << 8) | suites[i + 1]
            if not is_grease(code):
                codes[count] = code
                count += 1
        qsort(codes, count, sizeof(int), ascending)
        suite_text = commas(codes, count)
        suite_count, count = count, 0
        for i in range(hello._count):
            code = hello._extensions[i].type
            if is_grease(code):
                continue
            extension_count += 1
            if code == EXT_SERVER_NAME:
                domain = True
            elif code != EXT_ALPN:
                codes[count] = code
                count += 1
        qsort(codes, count, sizeof(int), ascending)
        extension_text = commas(codes, count)
        count = 0
        if algorithms is not None:
            while algorithms.limit - algorithms.position >= 2:
                code = algorithms.u16("supported_signature_algorithms")
                if not is_grease(code):
                    codes[count] = code
                    count += 1
        if count:
            extension_text += b"_" + commas(codes, count)
    finally:
        PyMem_Free(codes)
    version = JA4_VERSIONS.get(ja4_version(hello), "00")
    name = "d" if domain else "i"
    counts = "%02d%02d" % (min(suite_count, 99), min(extension_count, 99))
    return transport + version + name + counts + ja4_alpn(hello), suite_text, extension_text


cdef str hash12(bytes text):
    return sha256(text).hexdigest()[:12] if text else "000000000000"


def ja4(ClientHello hello not None, str transport="t") -> str:
    """JA4 of a TLS client. ``transport``: t (TCP), q (QUIC) or d (DTLS); ValueError for another."""
    head, suites, extensions = ja4_parts(hello, transport)
    return f"{head}_{hash12(suites)}_{hash12(extensions)}"


def ja4_raw(ClientHello hello not None, str transport="t") -> str:
    """JA4_r: what :func:`ja4` hashes, in clear."""
    head, suites, extensions = ja4_parts(hello, transport)
    return f"{head}_{suites.decode('ascii')}_{extensions.decode('ascii')}"
