"""TLS: the ClientHello, from the record layer to pmercury's fingerprint string.

Sources: RFC 8446 (TLS 1.3) sections 4.1.2, 4.2 and 5.1; RFC 5246 (TLS 1.2) section 7.4.1.2;
RFC 6066 section 3 (server_name); RFC 8701 (GREASE). DTLS's, which differs by a cookie: RFC 6347
section 4.2.1 and RFC 9147 section 5.3.
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.unicode cimport PyUnicode_DecodeASCII

from vermilion_fingerprint.cursor cimport Cursor
from vermilion_fingerprint.cursor import Malformed, NeedMore
from vermilion_fingerprint.handshake cimport Handshake
from vermilion_fingerprint.hexout cimport put_bytes, put_u16
from vermilion_fingerprint.tls_codes cimport is_grease, keeps_data
from vermilion_fingerprint.tls_readable import client_hello

cdef enum:
    CONTENT_CHANGE_CIPHER_SPEC = 20
    CONTENT_HANDSHAKE = 22
    CLIENT_HELLO = 1
    EXT_SERVER_NAME = 0
    EXT_SUPPORTED_GROUPS = 10
    EXT_SUPPORTED_VERSIONS = 43
    EXT_ENCRYPTED_CLIENT_HELLO = 0xFE0D
    HOST_NAME = 0

cdef inline char* put_code(char* out, int code) noexcept:
    """A code point; every GREASE value as 0a0a, since a client draws another each time."""
    return put_u16(out, 0x0A0A if is_grease(code) else code)


cdef char* put_codes(char* out, const unsigned char* source, Py_ssize_t count) noexcept:
    """A list of u16 code points; an odd last byte goes as it is."""
    cdef Py_ssize_t i = 0
    while i + 1 < count:
        out = put_code(out, (source[i] << 8) | source[i + 1])
        i += 2
    return put_bytes(out, source + i, count - i)


cdef class ClientHello:
    """A ClientHello, between ``begin`` and ``end`` of the stream; ``version``: legacy_version.

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
    cdef int _read(self, Cursor hello, bint datagrams) except -1:
        cdef Py_ssize_t length
        self._data = hello.data
        self.version = hello.u16("legacy_version")
        # DTLS's versions are the ones' complement of TLS's (RFC 6347 4.1).
        if self.version >> 8 != (0xFE if datagrams else 3):
            raise Malformed(hello.position - 2, "legacy_version", f"0x{self.version:04x} is no TLS")
        self._random_offset = hello.skip(32, "random")
        length = hello.u8("legacy_session_id")
        if length > 32:
            raise Malformed(hello.position - 1, "legacy_session_id", f"{length} bytes, 32 at most")
        hello.skip(length, "legacy_session_id")
        if datagrams:
            hello.skip(hello.u8("cookie"), "cookie")
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
    def random(self):
        """Its 32 random bytes."""
        return self._data[self._random_offset:self._random_offset + 32]

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

    @property
    def encrypted_client_hello(self):
        """Whether it carries another, encrypted one (RFC 9849 5), or GREASE that looks so (6.2).

        Its server_name is then that of the one who relays it.
        """
        cdef Py_ssize_t i
        for i in range(self._count):
            if self._extensions[i].type == EXT_ENCRYPTED_CLIENT_HELLO:
                return True
        return False

    def context(self):
        """What the event tells beside the fingerprint, by the schema's TlsContext."""
        return {"server_name": self.server_name, "encrypted_client_hello": self.encrypted_client_hello}

    def readable(self):
        """Its fields by IANA's names, of the extensions as much as the fingerprint has."""
        shown = [(kind, body if keeps_data(kind) else b"") for kind, body in self.extensions]
        return client_hello(self.version, self.cipher_suites, shown)

    @property
    def followed_by(self):
        """Another hello, the answer to a HelloRetryRequest (RFC 8446 4.1.2)."""
        return () if self.truncated else ("tls",)

    def step_over(self, Cursor stream, bint final=False):
        """The message."""
        return self.end, True


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


# RFC 8446 D.4: a client may send a change_cipher_spec between a hello and the next.
cdef int _skip_before(Cursor stream) except -1:
    cdef Cursor record = stream.sub(6, "TLSPlaintext")
    if record.u8("ContentType") != CONTENT_CHANGE_CIPHER_SPEC or record.u8("ProtocolVersion") != 3:
        return 0
    record.skip(1, "ProtocolVersion")
    if record.u16("length") == 1 and record.u8("change_cipher_spec") == 1:
        stream.skip(6, "TLSPlaintext")
    return 0


def matches(Cursor stream not None) -> bool:
    """Whether the stream begins with a record that begins a ClientHello. Raises NeedMore."""
    _skip_before(stream)
    return (
        stream.u8("ContentType") == CONTENT_HANDSHAKE
        and stream.u8("ProtocolVersion") == 3
        and stream.skip(3, "length") >= 0
        and stream.u8("HandshakeType") == CLIENT_HELLO
    )


def parse(Cursor stream not None, bint final=False) -> ClientHello:
    """The ClientHello at the start of a stream of records.

    ``final``: nothing will follow. A hello that is cut off, or interrupted by a record of another
    type, is told as far as it goes, ``truncated``, when its cipher suites are complete.
    Raises NeedMore (never when ``final``) and Malformed.
    """
    cdef Handshake handshake = Handshake.__new__(Handshake)
    try:
        _skip_before(stream)
        handshake.body(stream)
    except NeedMore:
        if not final:
            raise
    except Malformed:
        if handshake.have == 0:
            raise
    cdef ClientHello hello = read_hello(handshake.message())
    hello.begin = handshake.begin
    hello.end = handshake.end()
    return hello


cpdef ClientHello read_hello(bytes message, bint datagrams=False):
    """A ClientHello, handshake header and body, told as far as it is here; ``datagrams``: DTLS's.

    Raises Malformed.
    """
    cdef Cursor whole = Cursor.__new__(Cursor, message)
    cdef ClientHello hello = ClientHello.__new__(ClientHello)
    hello.end = len(message)
    try:
        if whole.u8("HandshakeType") != CLIENT_HELLO:
            raise Malformed(0, "HandshakeType", "not a ClientHello")
        hello._read(whole.sub(whole.u24("length"), "length"), datagrams)
    except NeedMore:
        if hello._suites_length == 0:
            raise Malformed(whole.position, "ClientHello", "ends before its cipher suites do") from None
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
