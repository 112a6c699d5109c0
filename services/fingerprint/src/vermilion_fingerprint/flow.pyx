"""A flow that is not done: its two directions, and what has been recognised in each."""

from hashlib import blake2b

from vermilion_fingerprint.payloads cimport address, told
from vermilion_fingerprint.streams cimport Stream

from vermilion_fingerprint.protocols import CLIENT, SERVER
from vermilion_pipeline.flowid import community_id

cdef enum:
    # A stream whose SYN was not seen may begin earlier than its first segment to arrive; so long
    # its head may turn out to be another one.
    UNSETTLED_BYTES = 4096
    UNSETTLED_TRIES = 256
    # Bytes that may be looked at again: a direction has so many to begin with, and more with each of
    # its segments. A message in thousands of tiny records, which asks for little each time, must
    # not cost its square; any other is told with its last segment.
    FIRST_CREDIT = 1 << 20
    SEGMENT_CREDIT = 4096


cdef class Direction:
    """One direction of a flow.

    Its stream begins where the next message does: what is told of is stepped over.
    """

    def __cinit__(self, Py_ssize_t limit, bytes source, bytes target, tuple candidates):
        self.stream = Stream(limit)
        self.candidates = candidates
        self.credit = FIRST_CREDIT
        self.src_ip, self.src_port = source[:len(source) - 2], int.from_bytes(source[len(source) - 2:], "big")
        self.dst_ip, self.dst_port = target[:len(target) - 2], int.from_bytes(target[len(target) - 2:], "big")

    cdef int more(self) noexcept:
        """One segment more has come."""
        self.credit = min(self.credit + SEGMENT_CREDIT, FIRST_CREDIT)
        return 0

    cdef int wait(self, Py_ssize_t needed) except -1:
        """Try again when so many bytes are here; they will all be looked at again."""
        self.tries += 1
        self.needed = needed
        self.credit -= self.stream.length
        return 0

    cdef bint settled(self):
        """Whether the stream's first byte is certain."""
        return (
            self.stream.anchored
            or self.stream.length >= UNSETTLED_BYTES
            or self.tries >= UNSETTLED_TRIES
        )


cdef class Flow:
    """Both directions, by the order of their end points, and when it was seen."""

    cdef Py_ssize_t held(self):
        """Bytes in memory of what is unfinished."""
        return self.low.stream.held + self.high.stream.held

    cdef str side(self, Direction direction):
        """Who sends in this direction; by the ports, the client's being the higher, without a SYN."""
        cdef Direction other = self.high if direction is self.low else self.low
        if direction.opened or other.accepted:
            return CLIENT
        if other.opened or direction.accepted:
            return SERVER
        return CLIENT if direction.src_port > direction.dst_port else SERVER

    cdef dict event(self, Direction direction, str name, int ordinal, long long seq, long long time):
        """An event of a message in this direction, without what the message says."""
        sensor, run, vlans, vni, tunnels, transport = self.path
        ends = (direction.src_ip, direction.dst_ip, direction.src_port, direction.dst_port, transport)
        # The sequence number too: a capture may have no times.
        identity = repr((sensor, run, vlans, vni, tunnels, ends, name, ordinal, seq, time))
        return {
            "event_id": blake2b(identity.encode(), digest_size=16).hexdigest(),
            "sensor": sensor,
            "run": run,
            "replayed": self.replayed,
            "event_start": time,
            "community_id": community_id(*ends),
            "vlans": list(vlans),
            "vni": vni,
            "tunnels": told(direction.tunnels),
            "src_ip": address(direction.src_ip),
            "dst_ip": address(direction.dst_ip),
            "src_port": direction.src_port,
            "dst_port": direction.dst_port,
            "protocol": transport,
            "type": name,
            "fingerprints": {},
            "reassembled": False,
            "truncated": False,
            "syn": direction.syn,
        }
