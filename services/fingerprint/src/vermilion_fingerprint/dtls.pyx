"""DTLS: the hellos of both sides, out of records in datagrams.

Sources: RFC 6347 (DTLS 1.2, and 1.0 in what is read here) sections 4.1 and 4.2; RFC 9147 (DTLS 1.3)
sections 4, 5.2 and 5.3. A handshake message is numbered, and cut into fragments that say where they
belong (RFC 6347 4.2.3); so nothing else of the handshake need be read. The bodies are TLS's.
"""

from vermilion_fingerprint.conversation cimport Conversation, Received, assembly
from vermilion_fingerprint.cursor cimport Cursor
from vermilion_fingerprint.streams cimport Stream
from vermilion_fingerprint.tls cimport read_hello as read_client_hello
from vermilion_fingerprint.tls_server cimport read_hello as read_server_hello
from vermilion_fingerprint.cursor import Malformed
from vermilion_fingerprint.tls_forms import ja3 as tls_ja3
from vermilion_fingerprint.tls_forms import ja4 as tls_ja4
from vermilion_fingerprint.tls_forms import npf1, npf_in_order
from vermilion_fingerprint.tls_server import fingerprint as server_hello
from vermilion_fingerprint.tls_server import ja3s as tls_ja3s

cdef enum:
    CHANGE_CIPHER_SPEC = 20
    CONTENT_HANDSHAKE = 22
    LAST_CONTENT_TYPE = 26  # RFC 9147: ACK
    MAJOR = 0xFE
    RECORD_HEADER = 13
    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    HANDSHAKE_HEADER = 4    # TLS's, which a message is given: HandshakeType, uint24 length
    # A client sends two hellos, the second for a HelloVerifyRequest or a HelloRetryRequest; one more
    # for both. So many may be unfinished at once, too.
    MAX_HELLOS = 4


def begins(bytes datagram not None) -> bool:
    """Whether a flow may begin with it: a record of a handshake, not encrypted."""
    cdef const unsigned char* data = datagram
    return (
        len(datagram) > RECORD_HEADER
        and data[0] == CONTENT_HANDSHAKE
        and data[1] == MAJOR
        and data[2] >= 0xFC  # RFC 9147 5.3: the last number so far is DTLS 1.3's
        and data[3] == 0
        and data[4] == 0  # epoch
    )


cdef class Unfinished:
    """A handshake message of which fragments are here."""


cdef class Association(Conversation):
    """One direction of a flow, up to where encryption begins."""

    def __cinit__(self, Py_ssize_t limit):
        self._name = "dtls"
        self._unfinished = {}
        self._told = set()

    cdef Py_ssize_t held(self):
        cdef Unfinished message
        cdef Py_ssize_t held = 0
        for message in self._unfinished.values():
            held += message.body.held
        return held

    # RFC 6347 4.1: DTLSPlaintext. RFC 7983: others may speak on the same ports.
    cdef int _read(self, Cursor datagram) except -1:
        cdef long kind, epoch, length
        cdef bint encrypted = False
        while not self.done and not datagram.at_end():
            kind = datagram.u8("ContentType")
            if kind >> 5 == 1:  # RFC 9147 4: DTLSCiphertext's unified header
                encrypted = True
                break
            if not CHANGE_CIPHER_SPEC <= kind <= LAST_CONTENT_TYPE or datagram.u8("ProtocolVersion") != MAJOR:
                break
            datagram.skip(1, "ProtocolVersion")
            epoch = datagram.u16("epoch")
            datagram.skip(6, "sequence_number")
            length = datagram.u16("length")
            if epoch or kind == CHANGE_CIPHER_SPEC:
                encrypted = True
            elif kind == CONTENT_HANDSHAKE:
                self._fragments(datagram.sub(length, "length"))
            datagram.skip(length, "fragment")
        if encrypted and self._told and not self._unfinished:
            self.done = True
        return 0

    # RFC 6347 4.2.2 and 4.2.3; a record may hold several.
    cdef int _fragments(self, Cursor record) except -1:
        cdef long type, length, number, offset
        while not record.at_end():
            type = record.u8("msg_type")
            length = record.u24("length")
            number = record.u16("message_seq")
            offset = record.u24("fragment_offset")
            data = record.take(record.u24("fragment_length"), "fragment")
            if type == CLIENT_HELLO or type == SERVER_HELLO:
                self._fragment(type, length, number, offset, data)
        return 0

    cdef int _fragment(self, long type, long length, long number, long offset, bytes data) except -1:
        cdef Unfinished message = self._unfinished.get(number)
        if number in self._told:
            return 0  # sent again
        if length > self._limit:
            raise Malformed(0, "length", f"a hello of {length} bytes")
        if offset + len(data) > length:
            raise Malformed(0, "fragment_length", f"{len(data)} bytes at {offset}, of {length}")
        if message is None:
            if len(self._unfinished) == MAX_HELLOS:
                raise Malformed(0, "message_seq", f"{MAX_HELLOS} hellos are unfinished")
            message = Unfinished.__new__(Unfinished)
            message.type, message.length, message.number = type, length, number
            message.body = assembly(self._limit)
            self._unfinished[number] = message
        elif (message.type, message.length) != (type, length):
            raise Malformed(0, "length", f"{length} bytes of message {number}, {message.length} before")
        self._keep(message.body, offset, data)
        if message.body.length == length:
            del self._unfinished[number]
            self._told.add(number)
            self._hello(message)
            if len(self._told) == MAX_HELLOS:
                self.done = True
        return 0

    cdef int _hello(self, Unfinished message) except -1:
        cdef bytes head = bytes([message.type]) + message.length.to_bytes(3, "big")
        cdef bytes body = message.body.head()
        cdef bint client = message.type == CLIENT_HELLO
        hello = read_client_hello(head + body, True) if client else read_server_hello(head + body, True)
        return self._tell(
            Received.__new__(Received), "dtls" if client else "dtls_server", hello, message.number,
            message.body, len(body),
        )

    cdef int _last(self) except -1:
        cdef Unfinished message
        for message in self._unfinished.values():
            if message.body.has_gap():
                self.counts.append(("gaps_given_up", "age"))
            if message.body.length:
                try:
                    self._hello(message)
                except Malformed as error:
                    self._bad(error)
        return 0


def fingerprint(Received message not None) -> str:
    """mercury's string: ``dtls/(version)(cipher suites)((extension)...)``, in wire order."""
    return npf_in_order(message.hello, "dtls/")


def npf1_of(Received message not None) -> str:
    """mercury's string ``dtls/1/(version)(cipher suites)[(extension)...]``, extensions sorted."""
    return npf1(message.hello, "dtls/1/")


def ja3(Received message not None) -> str:
    """JA3 of the ClientHello."""
    return tls_ja3(message.hello)


def ja4(Received message not None) -> str:
    """JA4 of a DTLS client."""
    return tls_ja4(message.hello, "d")


def fingerprint_server(Received message not None) -> str:
    """mercury's string: ``dtls_server/(version)(cipher suite)((extension)...)``, in wire order."""
    return "dtls_server/" + server_hello(message.hello)


def ja3s(Received message not None) -> str:
    """JA3S of the ServerHello."""
    return tls_ja3s(message.hello)
