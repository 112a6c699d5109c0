"""TLS: the ClientHello, from the record layer to pmercury's fingerprint string.

Sources: RFC 8446 (TLS 1.3) sections 4.1.2, 4.2 and 5.1; RFC 5246 (TLS 1.2) section 7.4.1.2;
RFC 6066 section 3 (server_name); RFC 8701 (GREASE).
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.unicode cimport PyUnicode_DecodeASCII

from vermilion_fingerprint.cursor cimport Cursor
from vermilion_fingerprint.cursor import Malformed, NeedMore

cdef enum:
    CONTENT_HANDSHAKE = 22
    CLIENT_HELLO = 1
    EXT_SERVER_NAME = 0
    EXT_SUPPORTED_GROUPS = 10
    EXT_SUPPORTED_VERSIONS = 43
    HOST_NAME = 0
    # RFC 5246 6.2.3: a record may be 2,048 bytes longer than the plaintext it carries.
    MAX_RECORD = (1 << 14) + 2048

cdef const char* HEX = b"0123456789abcdef"


cdef inline bint is_grease(int code) noexcept:
    """RFC 8701: 0x0a0a, 0x1a1a, ... 0xfafa."""
    return (code & 0x0F0F) == 0x0A0A and (code >> 8) == (code & 0xFF)


cdef inline bint keeps_data(int type) noexcept:
    """Extension types whose body belongs to the fingerprint, as pmercury's databases have it."""
    return type in (
        0x0001, 0x0005, 0x0007, 0x0008, 0x0009, 0x000A, 0x000B, 0x000D, 0x000F, 0x0010, 0x0011,
        0x0013, 0x0014, 0x0018, 0x001B, 0x001C, 0x002B, 0x002D, 0x0032, 0x5500,
    ) or is_grease(type)


cdef inline char* put_byte(char* out, unsigned char value) noexcept:
    out[0] = HEX[value >> 4]
    out[1] = HEX[value & 15]
    return out + 2


cdef inline char* put_u16(char* out, int value) noexcept:
    return put_byte(put_byte(out, (value >> 8) & 0xFF), value & 0xFF)


cdef inline char* put_code(char* out, int code) noexcept:
    """A code point; every GREASE value as 0a0a, since a client draws another each time."""
    return put_u16(out, 0x0A0A if is_grease(code) else code)


cdef char* put_bytes(char* out, const unsigned char* source, Py_ssize_t count) noexcept:
    cdef Py_ssize_t i
    for i in range(count):
        out = put_byte(out, source[i])
    return out


cdef char* put_codes(char* out, const unsigned char* source, Py_ssize_t count) noexcept:
    """A list of u16 code points; an odd last byte goes as it is."""
    cdef Py_ssize_t i = 0
    while i + 1 < count:
        out = put_code(out, (source[i] << 8) | source[i + 1])
        i += 2
    return put_bytes(out, source + i, count - i)


cdef class ClientHello:
    """A ClientHello. ``end``: so many bytes of the stream it took; ``version``: legacy_version.

    ``truncated``: its end was never seen; what is here was complete before that.
    """

    def __cinit__(self):
        self._extensions = NULL

    def __dealloc__(self):
        PyMem_Free(self._extensions)

    cdef int _add(self, int type, Py_ssize_t offset, int length) except -1:
        cdef ExtensionSpan* grown
        if self._count == self._capacity:
            self._capacity = 32 if self._capacity == 0 else self._capacity * 2
            grown = <ExtensionSpan*>PyMem_Realloc(
                self._extensions, self._capacity * sizeof(ExtensionSpan)
            )
            if grown == NULL:
                raise MemoryError
            self._extensions = grown
        self._extensions[self._count] = ExtensionSpan(type, length, offset)
        self._count += 1
        return 0

    # RFC 8446 4.1.2. TLS 1.2 and older may leave the extensions out (RFC 5246 7.4.1.2).
    cdef int _read(self, Cursor hello) except -1:
        cdef Py_ssize_t length
        self._data = hello.data
        self.version = hello.u16("legacy_version")
        if self.version >> 8 != 3:
            raise Malformed(hello.position - 2, "legacy_version", f"0x{self.version:04x} is no TLS")
        hello.skip(32, "random")
        length = hello.u8("legacy_session_id")
        if length > 32:
            raise Malformed(hello.position - 1, "legacy_session_id", f"{length} bytes, 32 at most")
        hello.skip(length, "legacy_session_id")
        length = hello.u16("cipher_suites")
        if length == 0 or length & 1:
            raise Malformed(hello.position - 2, "cipher_suites", f"{length} bytes, not whole suites")
        self._suites_offset = hello.skip(length, "cipher_suites")
        self._suites_length = length
        length = hello.u8("legacy_compression_methods")
        hello.skip(length, "legacy_compression_methods")
        if not hello.at_end():
            self._read_extensions(hello)
        return 0

    # RFC 8446 4.2
    def _read_extensions(self, Cursor hello):
        cdef Cursor extensions = hello.sub(hello.u16("extensions"), "extensions")
        cdef int type
        cdef long length
        while not extensions.at_end():
            type = extensions.u16("extension_type")
            length = extensions.u16("extension_data")
            self._add(type, extensions.skip(length, "extension_data"), length)

    @property
    def cipher_suites(self):
        """The cipher suites offered, in order."""
        cdef bytes raw = self._data[self._suites_offset:self._suites_offset + self._suites_length]
        return [(raw[i] << 8) | raw[i + 1] for i in range(0, len(raw), 2)]

    @property
    def extensions(self):
        """The extensions in order: (type, body)."""
        cdef Py_ssize_t i
        cdef ExtensionSpan span
        out = []
        for i in range(self._count):
            span = self._extensions[i]
            out.append((span.type, self._data[span.offset:span.offset + span.length]))
        return out

    @property
    def server_name(self):
        """The first host_name of the server_name extension; None when there is none.

        A name that is no UTF-8 has its other bytes as ``\\xNN``.
        """
        cdef Py_ssize_t i
        cdef ExtensionSpan span
        for i in range(self._count):
            span = self._extensions[i]
            if span.type == EXT_SERVER_NAME:
                return _server_name(self._data[span.offset:span.offset + span.length])
        return None

    def context(self):
        """What the event tells beside the fingerprint, by the schema's TlsContext."""
        return {"server_name": self.server_name}


# RFC 6066 3. A malformed extension costs its hello the name, not the fingerprint.
def _server_name(bytes body):
    cdef Cursor names
    cdef Cursor whole = Cursor.__new__(Cursor, body, len(body))
    try:
        names = whole.sub(whole.u16("server_name_list"), "server_name_list")
        while not names.at_end():
            kind = names.u8("name_type")
            name = names.take(names.u16("HostName"), "HostName")
            if kind == HOST_NAME:
                return name.decode("utf-8", "backslashreplace") or None
    except Malformed:
        return None
    return None


def matches(Cursor stream not None) -> bool:
    """Whether the stream begins with a record that begins a ClientHello. Raises NeedMore."""
    return (
        stream.u8("ContentType") == CONTENT_HANDSHAKE
        and stream.u8("ProtocolVersion") == 3
        and stream.skip(3, "length") >= 0
        and stream.u8("HandshakeType") == CLIENT_HELLO
    )


cdef class _Handshake:
    """A handshake message being put together from records: header and body, as far as it is here."""

    cdef list fragments
    cdef Py_ssize_t have, declared

    def __cinit__(self):
        self.fragments = []
        self.declared = -1  # not known before its four-byte header is here

    cdef bint complete(self):
        return self.declared >= 0 and self.have >= self.declared

    # RFC 8446 5.1. A message may be split over records of any size above zero.
    cdef int read(self, Cursor stream) except -1:
        cdef Py_ssize_t length, here
        while not self.complete():
            if stream.u8("ContentType") != CONTENT_HANDSHAKE:
                raise Malformed(stream.position - 1, "ContentType", "not a handshake record")
            if stream.u8("ProtocolVersion") != 3:
                raise Malformed(stream.position - 1, "ProtocolVersion", "not a TLS record")
            stream.skip(1, "ProtocolVersion")
            length = stream.u16("length")
            if length == 0 or length > MAX_RECORD:
                raise Malformed(stream.position - 2, "length", f"a handshake record of {length} bytes")
            here = min(length, stream.available - stream.position)
            self._add(stream.take(here, "fragment"))
            if not self.complete():
                stream.skip(length - here, "fragment")
        return 0

    cdef int _add(self, bytes fragment) except -1:
        cdef bytes head
        self.fragments.append(fragment)
        self.have += len(fragment)
        if self.declared < 0 and self.have >= 4:
            head = self.message()
            self.declared = 4 + ((head[1] << 16) | (head[2] << 8) | head[3])
        return 0

    cdef bytes message(self):
        if len(self.fragments) != 1:
            self.fragments = [b"".join(self.fragments)]
        return self.fragments[0]

    cdef Py_ssize_t missing(self):
        """At least so many bytes must still come, whatever records they come in."""
        return max(1, (4 if self.declared < 0 else self.declared) - self.have)


def parse(Cursor stream not None, bint final=False) -> ClientHello:
    """The ClientHello at the start of a stream of records.

    ``final``: nothing will follow. A hello that is cut off, or interrupted by a record of another
    type, is told as far as it goes, ``truncated``, when its cipher suites are complete.
    Raises NeedMore (never when ``final``) and Malformed.
    """
    cdef _Handshake handshake = _Handshake.__new__(_Handshake)
    try:
        handshake.read(stream)
    except NeedMore as more:
        if not final:
            raise NeedMore(max(more.total, stream.available + handshake.missing())) from None
    except Malformed:
        if handshake.have == 0:
            raise
    cdef Cursor message = Cursor.__new__(Cursor, handshake.message())
    cdef ClientHello hello = ClientHello.__new__(ClientHello)
    hello.end = stream.position
    try:
        if message.u8("HandshakeType") != CLIENT_HELLO:
            raise Malformed(0, "HandshakeType", "not a ClientHello")
        hello._read(message.sub(message.u24("length"), "length"))
    except NeedMore:
        if hello._suites_length == 0:
            raise Malformed(stream.position, "ClientHello", "ends before its cipher suites do") from None
        hello.truncated = True
    return hello


def fingerprint(ClientHello hello not None) -> str:
    """pmercury's string: ``(version)(cipher suites)((extension)...)``, in wire order.

    GREASE values of suites, extension types, groups and versions are all written 0a0a.
    """
    cdef Py_ssize_t i, size = 12 + 2 * hello._suites_length
    cdef ExtensionSpan* ext
    cdef const unsigned char* data = hello._data
    cdef char* start
    cdef char* out
    for i in range(hello._count):
        size += 6
        if keeps_data(hello._extensions[i].type):
            size += 4 + 2 * hello._extensions[i].length
    start = out = <char*>PyMem_Malloc(size)
    if start == NULL:
        raise MemoryError
    try:
        out[0] = b"("
        out = put_u16(out + 1, hello.version)
        out[0] = b")"
        out[1] = b"("
        out = put_codes(out + 2, data + hello._suites_offset, hello._suites_length)
        out[0] = b")"
        out[1] = b"("
        out += 2
        for i in range(hello._count):
            ext = &hello._extensions[i]
            out[0] = b"("
            out = put_code(out + 1, ext.type)
            if keeps_data(ext.type):
                out = put_u16(out, ext.length)
                out = put_body(out, ext.type, data + ext.offset, ext.length)
            out[0] = b")"
            out += 1
        out[0] = b")"
        out += 1
        return PyUnicode_DecodeASCII(start, out - start, NULL)
    finally:
        PyMem_Free(start)


cdef char* put_body(char* out, int type, const unsigned char* body, Py_ssize_t length) noexcept:
    # RFC 8446 4.2.7 and 4.2.1: a list of code points after its length (two bytes, one byte).
    cdef Py_ssize_t head = 2 if type == EXT_SUPPORTED_GROUPS else 1
    if type not in (EXT_SUPPORTED_GROUPS, EXT_SUPPORTED_VERSIONS) or length < head:
        return put_bytes(out, body, length)
    out = put_bytes(out, body, head)
    return put_codes(out, body + head, length - head)
