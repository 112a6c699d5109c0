"""A UDP flow that is not done: what is recognised in each of its directions.

There is no stream, and no end. A flow is opened for a datagram that begins like a protocol known
here, or like STUN, behind which DTLS may come (RFC 8827 6.5); any other costs no memory. A direction
is done when its protocol says so, or after ``MAX_DATAGRAMS`` datagrams.
"""

from vermilion_fingerprint.conversation cimport Conversation
from vermilion_fingerprint.flow cimport Direction, Flow

cdef enum:
    # As many as capture keeps of a direction (its heads.pyx). STUN's checks may come before DTLS's hello.
    MAX_DATAGRAMS = 32
    STUN_HEADER = 20
    CONVERSATION_BYTES = 1000

# RFC 8489 5
cdef bytes MAGIC_COOKIE = bytes.fromhex("2112a442")


cdef bint is_stun(bytes payload):
    """RFC 8489 5: two bits of 0, the length of what follows, the magic cookie."""
    cdef const unsigned char* data = payload
    cdef Py_ssize_t size = len(payload)
    return (
        size >= STUN_HEADER
        and data[0] < 0x40
        and ((data[2] << 8) | data[3]) + STUN_HEADER == size
        and payload[4:8] == MAGIC_COOKIE
    )


cdef object beginning(tuple protocols, bytes payload):
    """The protocol that a datagram begins; None when it is none."""
    for protocol in protocols:
        if protocol.begins(payload):
            return protocol
    return None


cdef bint may_begin(tuple protocols, bytes payload) except -1:
    """Whether a flow that begins with this datagram may be of use."""
    return len(protocols) > 0 and (beginning(protocols, payload) is not None or is_stun(payload))


cdef class DatagramDirection(Direction):
    """One direction of a UDP flow."""


cdef class DatagramFlow(Flow):
    """Both directions of a UDP flow."""

    def __cinit__(self):
        self.counts = []

    cdef Py_ssize_t held(self):
        cdef DatagramDirection direction
        cdef Py_ssize_t held = 0
        for direction in (self.low, self.high):
            if direction.talk is not None:
                held += CONVERSATION_BYTES + direction.talk.held()
        return held

    cdef list take(
        self, DatagramDirection direction, bytes payload, Py_ssize_t missing, long long time, Py_ssize_t limit
    ):
        """The messages that a datagram completes."""
        cdef Conversation talk = direction.talk
        if direction.done:
            return []
        direction.datagrams += 1
        if talk is None:
            protocol = beginning(self.protocols, payload)
            if protocol is not None:
                talk = direction.talk = protocol.conversation(limit)
        messages = []
        if talk is not None:
            messages = talk.take(payload, missing, time)
            if talk.one_sided:
                self._close(self.high if direction is self.low else self.low)
            if talk.done:
                self._close(direction)
        if not direction.done and direction.datagrams == MAX_DATAGRAMS:
            if direction.messages == 0 and not messages:
                self.counts.append(("streams_not_recognised",))
            messages = messages + self.finish(direction)
        return messages

    cdef list finish(self, DatagramDirection direction):
        """Nothing more will come in this direction: what is unfinished, as far as it goes."""
        cdef Conversation talk = direction.talk
        if direction.done:
            return []
        messages = talk.finish() if talk is not None else []
        self._close(direction)
        return messages

    cdef list take_counts(self):
        """What was counted since the last time."""
        cdef DatagramDirection direction
        for direction in (self.low, self.high):
            if direction.talk is not None and direction.talk.counts:
                self.counts.extend(direction.talk.counts)
                direction.talk.counts.clear()
        counts, self.counts = self.counts, []
        return counts

    cdef int _close(self, DatagramDirection direction) except -1:
        if direction.talk is not None:
            self.counts.extend(direction.talk.counts)
            direction.talk = None
        direction.done = True
        return 0
