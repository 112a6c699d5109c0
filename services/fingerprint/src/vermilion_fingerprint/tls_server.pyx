"""The server's side of TLS: ServerHello, and where its certificates are.

Sources: RFC 8446 (TLS 1.3) sections 4.1.3, 4.1.4 and 4.2; RFC 5246 (TLS 1.2) sections 7.3, 7.4.1.3
and 7.4.2; RFC 6066 sections 3 and 8; RFC 4680 section 2; JA3S as its authors published it.
"""

from hashlib import md5

from vermilion_fingerprint.cursor cimport Cursor
from vermilion_fingerprint.cursor import Malformed, NeedMore
from vermilion_fingerprint.handshake cimport Handshake
from vermilion_fingerprint.tls_codes cimport is_grease, keeps_data
from vermilion_fingerprint.tls_readable import server_hello

cdef enum:
    CONTENT_CHANGE_CIPHER_SPEC = 20
    CONTENT_ALERT = 21
    CONTENT_HANDSHAKE = 22
    ALERT_WARNING = 1
    HELLO_REQUEST = 0
    SERVER_HELLO = 2
    CERTIFICATE = 11
    CERTIFICATE_STATUS = 22
    SUPPLEMENTAL_DATA = 23
    EXT_SUPPORTED_VERSIONS = 43
    # version, random, session_id, cipher_suite, compression_method, extensions: at their longest
    MAX_SERVER_HELLO = 2 + 32 + 33 + 2 + 1 + 2 + 0xFFFF
    MAX_EXTENSIONS = 1000  # IANA has assigned 65
    MAX_CERTIFICATES = 1 << 16  # bytes of the message
    # No server sends so many records before its hello, or messages before its certificates.
    MAX_BEFORE = 4

# RFC 8446 4.1.3: SHA-256 of "HelloRetryRequest".
cdef bytes RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


cdef class ServerHello:
    """A ServerHello, which a HelloRetryRequest is too (``retry``).

    ``begin``: where in the stream its first record begins; ``end``: so many bytes of the stream it
    took, which is within a record when other messages share its last one; ``truncated``: its end was
    never seen, but its cipher suite was.
    """

    def __cinit__(self):
        self.cipher_suite = -1
        self.extensions = []

    # RFC 8446 4.1.3. TLS 1.2 and older may leave the extensions out (RFC 5246 7.4.1.3).
    cdef int _read(self, Cursor hello, bint datagrams) except -1:
        cdef Cursor extensions
        cdef long length
        self.version = hello.u16("legacy_version")
        if self.version >> 8 != (0xFE if datagrams else 3):
            raise Malformed(hello.position - 2, "legacy_version", f"0x{self.version:04x} is no TLS")
        self.random = hello.take(32, "random")
        self.retry = self.random == RETRY_RANDOM
        length = hello.u8("legacy_session_id_echo")
        if length > 32:
            raise Malformed(hello.position - 1, "legacy_session_id_echo", f"{length} bytes, 32 at most")
        hello.skip(length, "legacy_session_id_echo")
        self.cipher_suite = hello.u16("cipher_suite")
        self.compression_method = hello.u8("legacy_compression_method")
        if hello.at_end():
            return 0
        # RFC 8446 4.2
        extensions = hello.sub(hello.u16("extensions"), "extensions")
        while not extensions.at_end():
            kind = extensions.u16("extension_type")
            length = extensions.u16("extension_data")
            if len(self.extensions) == MAX_EXTENSIONS:
                raise Malformed(extensions.position - 4, "extensions", f"more than {MAX_EXTENSIONS}")
            self.extensions.append((kind, extensions.take(length, "extension_data")))
        return 0

    @property
    def tls13(self):
        """Whether it agrees on TLS 1.3: an older version is never in an extension (RFC 8446 4.2.1)."""
        return any([kind == EXT_SUPPORTED_VERSIONS for kind, _ in self.extensions])

    @property
    def selected_version(self):
        """The version that both go on with (RFC 8446 4.2.1)."""
        for kind, body in self.extensions:
            if kind == EXT_SUPPORTED_VERSIONS and len(body) == 2:
                return int.from_bytes(body, "big")
        return self.version

    def context(self):
        """What the event tells beside the fingerprint: nothing."""
        return None

    @property
    def followed_by(self):
        """The ServerHello behind a HelloRetryRequest; certificates, which TLS 1.3 would encrypt."""
        if self.truncated:
            return ()
        if self.retry:
            return ("tls_server",)
        return () if self.tls13 else ("tls_certificate",)

    def step_over(self, Cursor stream, bint final=False):
        """A HelloRetryRequest; nothing of a ServerHello, in whose records the certificates may be too."""
        return (self.end if self.retry else 0), True

    def readable(self):
        """Its fields by IANA's names, of the extensions as much as the fingerprint has."""
        shown = [(kind, body if keeps_data(kind) else b"") for kind, body in self.extensions]
        return server_hello(self.version, self.cipher_suite, shown)


cdef class CertificateMessage:
    """The certificates of a Certificate message (``certificates``, DER), as they were sent.

    ``begin`` and ``end``: where it is in the stream; ``truncated``: its end was never seen.
    """

    cdef readonly list certificates
    cdef readonly bint truncated
    cdef readonly Py_ssize_t begin, end

    def __cinit__(self):
        self.certificates = []

    # RFC 5246 7.4.2: opaque ASN.1Cert<1..2^24-1>; ASN.1Cert certificate_list<0..2^24-1>
    cdef int _read(self, Cursor message) except -1:
        cdef Cursor listed = message.sub(message.u24("certificate_list"), "certificate_list")
        cdef long length
        while not listed.at_end():
            length = listed.u24("ASN.1Cert")
            if length == 0:
                raise Malformed(listed.position - 3, "ASN.1Cert", "empty")
            self.certificates.append(listed.take(length, "ASN.1Cert"))
        if not self.certificates:
            raise Malformed(listed.position, "certificate_list", "empty")
        return 0


# What may come before a ServerHello: a warning (RFC 6066 3: unrecognized_name), and between a
# HelloRetryRequest and the ServerHello a change_cipher_spec (RFC 8446 D.4).
cdef int _skip_before(Cursor stream) except -1:
    cdef int i, kind, level
    cdef Cursor record
    for i in range(MAX_BEFORE):
        record = stream.sub(7, "TLSPlaintext")
        kind = record.u8("ContentType")
        if kind not in (CONTENT_ALERT, CONTENT_CHANGE_CIPHER_SPEC):
            return 0
        if record.u8("ProtocolVersion") != 3:
            return 0
        record.skip(1, "ProtocolVersion")
        if record.u16("length") != (2 if kind == CONTENT_ALERT else 1):
            return 0
        level = record.u8("AlertLevel")
        if level != ALERT_WARNING:  # a change_cipher_spec is one byte of the same value
            return 0
        stream.skip(7 if kind == CONTENT_ALERT else 6, "TLSPlaintext")
    return 0


def matches(Cursor stream not None) -> bool:
    """Whether the stream begins with a record that begins a ServerHello. Raises NeedMore."""
    _skip_before(stream)
    return (
        stream.u8("ContentType") == CONTENT_HANDSHAKE
        and stream.u8("ProtocolVersion") == 3
        and stream.skip(3, "length") >= 0
        and stream.u8("HandshakeType") == SERVER_HELLO
    )


def parse(Cursor stream not None, bint final=False) -> ServerHello:
    """The ServerHello at the start of a stream of records.

    ``final``: nothing will follow. A hello that is cut off, or interrupted by a record of another
    type, is told as far as it goes, ``truncated``, when its cipher suite is there.
    Raises NeedMore (never when ``final``) and Malformed.
    """
    cdef Handshake handshake = Handshake.__new__(Handshake)
    try:
        _skip_before(stream)
        handshake.head(stream)
        if handshake.type == SERVER_HELLO and handshake.declared <= 4 + MAX_SERVER_HELLO:
            handshake.body(stream)
    except NeedMore:
        if not final:
            raise
    except Malformed:
        if handshake.have == 0:
            raise
    cdef ServerHello hello = read_hello(handshake.message())
    hello.begin = handshake.begin
    hello.end = handshake.end()
    return hello


cpdef ServerHello read_hello(bytes message, bint datagrams=False):
    """A ServerHello, handshake header and body, told as far as it is here; ``datagrams``: DTLS's.

    Raises Malformed.
    """
    cdef Cursor whole = Cursor.__new__(Cursor, message)
    cdef ServerHello hello = ServerHello.__new__(ServerHello)
    hello.end = len(message)
    try:
        if whole.u8("HandshakeType") != SERVER_HELLO:
            raise Malformed(0, "HandshakeType", "not a ServerHello")
        length = whole.u24("length")
        if length > MAX_SERVER_HELLO:
            raise Malformed(1, "length", f"a ServerHello of {length} bytes")
        hello._read(whole.sub(length, "length"), datagrams)
    except NeedMore:
        if hello.cipher_suite < 0:
            raise Malformed(whole.position, "ServerHello", "ends before its cipher suite does") from None
        hello.truncated = True
    return hello


def fingerprint(ServerHello hello not None) -> str:
    """pmercury's string ``(version)(cipher suite)((extension)...)``, in wire order."""
    cdef list parts = [f"({hello.version:04x})({hello.cipher_suite:04x})("]
    cdef int kind
    cdef bytes body
    for kind, body in hello.extensions:
        code = 0x0A0A if is_grease(kind) else kind
        if keeps_data(kind):
            parts.append(f"({code:04x}{len(body):04x}{body.hex()})")
        else:
            parts.append(f"({code:04x})")
    parts.append(")")
    return "".join(parts)


def ja3s_string(ServerHello hello not None) -> str:
    """What JA3S hashes: version, cipher suite and extension types in decimal, as they were sent."""
    kinds = "-".join([str(kind) for kind, _ in hello.extensions])
    return f"{hello.version},{hello.cipher_suite},{kinds}"


def ja3s(ServerHello hello not None) -> str:
    """JA3S: the MD5 of :func:`ja3s_string`, in hex."""
    return md5(ja3s_string(hello).encode("ascii"), usedforsecurity=False).hexdigest()


# RFC 5246 7.3: ServerHello, then Certificate. Between them RFC 4680 has SupplementalData; a stream
# whose beginning was not captured may begin with the Certificate.
cdef bint _to_certificate(Handshake handshake, Cursor stream) except -1:
    """Read up to the header of the Certificate message; whether one can come in the clear."""
    cdef int i
    cdef ServerHello hello
    cdef Cursor message
    for i in range(MAX_BEFORE):
        handshake.head(stream)
        if handshake.type == CERTIFICATE:
            if handshake.declared > MAX_CERTIFICATES:
                raise Malformed(stream.position, "length", f"a Certificate of {handshake.declared} bytes")
            return True
        if handshake.type == SERVER_HELLO:
            if i > 0 or handshake.declared > 4 + MAX_SERVER_HELLO:
                return False
            handshake.body(stream)
            hello = ServerHello.__new__(ServerHello)
            message = Cursor.__new__(Cursor, handshake.message(), handshake.declared)
            message.skip(4, "Handshake")
            hello._read(message, False)
            if hello.tls13:
                return False
        elif handshake.type in (HELLO_REQUEST, CERTIFICATE_STATUS, SUPPLEMENTAL_DATA):
            if handshake.declared > MAX_CERTIFICATES:
                return False
            handshake.body(stream)
        else:
            return False
        handshake.follow()
    return False


def matches_certificate(Cursor stream not None) -> bool:
    """Whether a server's stream, from its beginning, has its certificates in the clear.

    Raises NeedMore up to the Certificate message's header: False as early as something else comes.
    """
    cdef Handshake handshake = Handshake.__new__(Handshake)
    try:
        _skip_before(stream)
        return _to_certificate(handshake, stream)
    except Malformed:
        return False


def parse_certificate(Cursor stream not None, bint final=False) -> CertificateMessage:
    """The certificates of a server's stream, which is given from its beginning.

    ``final``: nothing will follow. A message that is cut off, or interrupted by a record of another
    type, is told as far as it goes, ``truncated``, when its first certificate is complete.
    Raises NeedMore (never when ``final``) and Malformed.
    """
    cdef Handshake handshake = Handshake.__new__(Handshake)
    cdef CertificateMessage found = CertificateMessage.__new__(CertificateMessage)
    cdef bint here = False
    try:
        _skip_before(stream)
        here = _to_certificate(handshake, stream)
        if here:
            handshake.body(stream)
    except NeedMore:
        if not final:
            raise
    except Malformed:
        if not here:
            raise
    if not here:
        raise Malformed(stream.position, "Certificate", "none in the clear")
    found.begin = handshake.begin
    found.end = handshake.end()
    cdef Cursor message = Cursor.__new__(Cursor, handshake.message(), handshake.declared)
    message.skip(4, "Handshake")
    try:
        found._read(message)
    except NeedMore:
        if not found.certificates:
            raise Malformed(stream.position, "ASN.1Cert", "the first certificate is cut off") from None
        found.truncated = True
    return found
