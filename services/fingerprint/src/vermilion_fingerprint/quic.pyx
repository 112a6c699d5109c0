"""QUIC: the client's hello, out of its Initial packets.

Sources: RFC 9000 sections 12.4 (which frames an Initial packet has), 16, 17.2 and 19; RFC 9001
sections 4 and 5; RFC 9369; RFC 9368. What a server says is not read, so half of a connection is
enough: where its Retry, or its choice of another version, changed the keys, that is found by trying.
"""

from vermilion_fingerprint.conversation cimport Conversation, Received, assembly
from vermilion_fingerprint.cursor cimport Cursor
from vermilion_fingerprint.streams cimport Stream
from vermilion_fingerprint.tls cimport ClientHello, read_hello
from vermilion_fingerprint.cursor import Malformed, NeedMore
from vermilion_fingerprint.quic_keys import (
    HANDSHAKE,
    INITIAL,
    NOT_DECRYPTED,
    RETRY,
    VERSIONS,
    InitialKeys,
)
from vermilion_fingerprint.quic_names import TRANSPORT_PARAMETERS, USER_AGENT
from vermilion_fingerprint.tls_forms import ja3 as tls_ja3
from vermilion_fingerprint.tls_forms import ja4 as tls_ja4
from vermilion_fingerprint.tls_forms import npf1

cdef enum:
    LONG_HEADER = 0x80
    FIXED_BIT = 0x40
    # RFC 9000 17.2 and 7.2
    MAX_CONNECTION_ID = 20
    MIN_FIRST_CONNECTION_ID = 8
    # RFC 9000 19
    PADDING = 0
    PING = 1
    ACK = 2
    ACK_ECN = 3
    CRYPTO = 6
    CONNECTION_CLOSE = 0x1C
    CLIENT_HELLO = 1
    HANDSHAKE_HEADER = 4
    # Keys are derived so often for one direction: each time costs as much as a hello.
    MAX_TRIES = 16
    # RFC 8446 4.1.4: after a hello and a HelloRetryRequest there is one more; a version may be refused.
    MAX_HELLOS = 4
    EXT_TRANSPORT_PARAMETERS = 57
    EXT_TRANSPORT_PARAMETERS_DRAFT = 0xFFA5


cdef inline unsigned int version_of(const unsigned char* data) noexcept:
    return (<unsigned int>data[1] << 24) | (data[2] << 16) | (data[3] << 8) | data[4]


cdef inline bint reserved(unsigned int version) noexcept:
    """RFC 9000 15: sent so that the server names those that it has."""
    return (version & 0x0F0F0F0F) == 0x0A0A0A0A


def begins(bytes datagram not None) -> bool:
    """Whether a flow may begin with it: a long header of a version that has a name."""
    if len(datagram) < 7 or not datagram[0] & LONG_HEADER:
        return False
    cdef unsigned int version = version_of(datagram)
    return version in VERSIONS or version in NOT_DECRYPTED or reserved(version)


cdef class QuicHello(Received):
    """A ClientHello in QUIC; ``quic_version``: the Version field of its packets."""

    def context(self):
        """By the schema's QuicContext."""
        hello = self.hello
        return {
            "server_name": hello.server_name,
            "encrypted_client_hello": hello.encrypted_client_hello,
            "version": VERSIONS[self.quic_version].name,
            "user_agent": user_agent(hello),
        }

    def readable(self):
        """The hello in words, and what QUIC says in it."""
        return {
            "quic_version": VERSIONS[self.quic_version].name,
            **self.hello.readable(),
            "transport_parameters": [
                TRANSPORT_PARAMETERS.get(kind) or f"{kind:x}" for kind, _ in parameters(self.hello)
            ],
        }


# RFC 9000 18: Transport Parameter ID (i), Transport Parameter Length (i), value.
cdef list parameters(ClientHello hello):
    """The transport parameters (RFC 9001 8.2), (id, value), as far as they can be read."""
    cdef Cursor body
    cdef list out = []
    for kind, raw in hello.extensions:
        if kind in (EXT_TRANSPORT_PARAMETERS, EXT_TRANSPORT_PARAMETERS_DRAFT):
            body = Cursor.__new__(Cursor, raw, len(raw))
            try:
                while not body.at_end():
                    number = body.varint("Transport Parameter ID")
                    out.append((number, body.take(body.varint("Transport Parameter Length"), "value")))
            except Malformed:
                break
    return out


cdef object user_agent(ClientHello hello):
    """What Google's QUIC programs call themselves in a transport parameter of theirs; None when they do not."""
    for kind, value in parameters(hello):
        if kind == USER_AGENT:
            return value.decode("utf-8", "backslashreplace") or None
    return None


cdef class Connection(Conversation):
    """One direction of a flow, as far as it is a QUIC client's first packets."""

    def __cinit__(self, Py_ssize_t limit):
        self._name = "quic"
        self._largest = -1
        self._crypto = assembly(limit)
        self._needed = HANDSHAKE_HEADER

    cdef Py_ssize_t held(self):
        return self._crypto.held

    # RFC 9000 12.2: packets may share a datagram.
    cdef int _read(self, Cursor datagram) except -1:
        cdef list initials = []
        cdef bint encrypted = False
        bad = None
        try:
            encrypted = self._walk(datagram, initials)
        except (Malformed, NeedMore) as error:  # what came before it is read
            bad = error
        if encrypted and self._hellos:
            self.done = True  # the server has answered, and not by asking for another hello
            return 0
        for version, connection_id, packet, number_at in initials:
            if not self.done:
                self._initial(version, connection_id, packet, number_at)
        if bad is not None:
            raise bad
        return 0

    cdef bint _walk(self, Cursor datagram, list initials) except -1:
        """Find the Initial packets; whether there is one of the keys that come after."""
        cdef Py_ssize_t start, number_at
        cdef long first, size
        cdef unsigned int version
        while not datagram.at_end():
            start = datagram.position
            first = datagram.u8("Header Form")
            if not first & LONG_HEADER:
                return first & FIXED_BIT != 0  # RFC 9000 17.3; what is neither is padding of the datagram's
            version = (datagram.u16("Version") << 16) | datagram.u16("Version")
            known = VERSIONS.get(version)
            if known is None:
                name = "reserved" if reserved(version) else NOT_DECRYPTED.get(version)
                if name is not None:
                    self.counts.append(("quic_not_decrypted", name, "version"))
                return False
            size = datagram.u8("Destination Connection ID Length")
            if size > MAX_CONNECTION_ID:
                raise Malformed(start, "Destination Connection ID Length", f"{size} bytes, 20 at most")
            connection_id = datagram.take(size, "Destination Connection ID")
            size = datagram.u8("Source Connection ID Length")
            if size > MAX_CONNECTION_ID:
                raise Malformed(start, "Source Connection ID Length", f"{size} bytes, 20 at most")
            datagram.skip(size, "Source Connection ID")
            kind = known.types[(first >> 4) & 3]
            if kind == RETRY:
                return False
            if kind == INITIAL:
                datagram.skip(datagram.varint("Token Length"), "Token")
            size = datagram.varint("Length")
            number_at = datagram.position
            datagram.skip(size, "Packet Payload")
            if kind == INITIAL:
                packet = datagram.data[start:datagram.position]
                initials.append((version, connection_id, packet, number_at - start))
            elif kind == HANDSHAKE:
                return True
        return False

    cdef int _initial(
        self, unsigned int version, bytes connection_id, bytes packet, Py_ssize_t number_at
    ) except -1:
        opened = self._open(version, connection_id, packet, number_at)
        if opened is None:
            return 0
        self.one_sided = True
        if version != self._version:
            # RFC 9000 6.2: the server refused the version before, so the client begins anew.
            self._version = version
            self._largest = -1
            self._crypto = assembly(self._limit)
            self._needed = HANDSHAKE_HEADER
        number, plain = opened
        self._largest = max(self._largest, number)
        try:
            self._frames(Cursor.__new__(Cursor, plain, len(plain)))
        except Malformed as error:
            self._bad(error)
        return self._hear()

    cdef object _open(self, unsigned int version, bytes connection_id, bytes packet, Py_ssize_t number_at):
        """The packet's number and what it carries; None when no keys open it."""
        cdef bytes known_id
        keys = self._keys
        same = keys is not None and keys.version == version
        if same:
            opened = keys.open(packet, number_at, self._largest)
            if opened is not None:
                return opened
        # The client's own choice; a Retry's, which gives new keys (RFC 9001 5.2); the first again, in
        # the version that both agreed on (RFC 9369 4.1).
        for known_id in (connection_id, self._first_id):
            if known_id is None or (same and known_id == keys.connection_id):
                continue
            if self._first_id is None and len(known_id) < MIN_FIRST_CONNECTION_ID:
                continue
            if self._tries == MAX_TRIES:
                self.counts.append(("quic_not_decrypted", VERSIONS[version].name, "tries"))
                self.done = True
                return None
            self._tries += 1
            fresh = InitialKeys(version, known_id)
            opened = fresh.open(packet, number_at, self._largest if version == self._version else -1)
            if opened is not None:
                self._keys = fresh
                if self._first_id is None:
                    self._first_id = known_id
                return opened
        self.counts.append(("quic_not_decrypted", VERSIONS[version].name, "keys"))
        return None

    # RFC 9000 12.4, table 3: these frames may be in an Initial packet. 19.3: ACK; 19.6: CRYPTO.
    cdef int _frames(self, Cursor frames) except -1:
        cdef long kind
        cdef long long count, offset, size
        while not self.done and not frames.at_end():
            kind = frames.u8("Frame Type")
            if kind == PADDING or kind == PING:
                continue
            if kind == ACK or kind == ACK_ECN:
                frames.varint("Largest Acknowledged")
                frames.varint("ACK Delay")
                count = frames.varint("ACK Range Count")
                frames.varint("First ACK Range")
                while count > 0:  # each takes two bytes, so that the packet bounds it
                    frames.varint("Gap")
                    frames.varint("ACK Range Length")
                    count -= 1
                if kind == ACK_ECN:
                    frames.varint("ECT0 Count")
                    frames.varint("ECT1 Count")
                    frames.varint("ECN-CE Count")
            elif kind == CRYPTO:
                offset = frames.varint("Offset")
                size = frames.varint("Length")
                data = frames.take(size, "Crypto Data")
                # RFC 9000 7.5: a receiver may refuse what it would have to buffer.
                if offset + size > self._crypto.base + self._limit:
                    raise Malformed(frames.position, "Offset", f"{offset} is beyond what is kept")
                self._keep(self._crypto, offset, data)
            elif kind == CONNECTION_CLOSE:
                return 0
            else:
                raise Malformed(frames.position - 1, "Frame Type", f"0x{kind:02x} in an Initial packet")
        return 0

    # RFC 9001 4.1.3: handshake messages, without TLS's record layer.
    cdef int _hear(self) except -1:
        """Tell the hellos that are complete."""
        cdef Py_ssize_t size
        cdef bytes head
        while not self.done and self._crypto.length >= self._needed:
            head = self._crypto.head()
            size = HANDSHAKE_HEADER + ((head[1] << 16) | (head[2] << 8) | head[3])
            try:
                if head[0] != CLIENT_HELLO:
                    raise Malformed(0, "HandshakeType", "not a ClientHello")
                if size > self._limit:
                    raise Malformed(1, "length", f"a ClientHello of {size} bytes")
                if len(head) < size:
                    self._needed = size
                    return 0
                self._hello(head[:size])
            except Malformed as error:
                self._bad(error)
                self.done = True
                return 0
            self._crypto.step_over(size)
            self._needed = HANDSHAKE_HEADER
            self._hellos += 1
            self.done = self._hellos == MAX_HELLOS
        return 0

    def _hello(self, bytes message):
        cdef QuicHello told = QuicHello.__new__(QuicHello)
        told.quic_version = self._version
        self._tell(told, "quic", read_hello(message), self._crypto.base, self._crypto, len(message))

    cdef int _last(self) except -1:
        if self._crypto.has_gap():
            self.counts.append(("gaps_given_up", "age"))
        if self._crypto.length:
            try:
                self._hello(self._crypto.head())
            except Malformed as error:
                self._bad(error)
        return 0


def fingerprint(QuicHello message not None) -> str:
    """mercury's string: ``quic/(QUIC version)(version)(cipher suites)[(extension)...]``, sorted."""
    return npf1(message.hello, f"quic/({message.quic_version:08x})")


def ja3(QuicHello message not None) -> str:
    """JA3 of the ClientHello."""
    return tls_ja3(message.hello)


def ja4(QuicHello message not None) -> str:
    """JA4 of a QUIC client."""
    return tls_ja4(message.hello, "q")
