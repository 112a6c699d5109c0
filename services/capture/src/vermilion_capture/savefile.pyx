"""A stretch of a pcap savefile as a block of packets, walked without an object a packet.

Source: the pcap savefile format (pcap-savefile(5); draft-ietf-opsawg-pcap).
"""

from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy
from vermilion_capture.ring cimport Block, Packet

from vermilion_capture.frame import MAX_CAPTURED

cdef enum:
    HEADER = 16

cdef Py_ssize_t LONGEST = MAX_CAPTURED
# Of a file nothing tells what its MTU was.
cdef Py_ssize_t LONGEST_EVER = 1 << 62

cdef extern from *:
    """
    #define vermilion_swapped __builtin_bswap32
    #define vermilion_big_endian (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
    """
    uint32_t vermilion_swapped(uint32_t value) noexcept
    bint vermilion_big_endian


cdef class Stretch(Block):
    """The records that lie wholly in ``buffer`` from ``at`` on; ``at`` is then where the next begins.

    ``big``: the file's numbers are big-endian; ``per_microsecond``: how many of its fractions of a second
    a microsecond has; ``clip``: bytes of a frame that are looked at. A record that claims more than a
    frame can have ends the stretch before it: ``at`` tells where.
    """

    cdef readonly Py_ssize_t at
    cdef bint _swap
    cdef uint32_t _per_microsecond
    cdef Py_ssize_t _clip

    def __init__(
        self, bytes buffer not None, Py_ssize_t at, int link_type, bint big, uint32_t per_microsecond,
        Py_ssize_t clip,
    ):
        if not 0 <= at <= len(buffer) or not per_microsecond:
            raise ValueError(f"offset {at} of {len(buffer)}, {per_microsecond} a microsecond")
        self._owner = buffer
        self._start, self._end, self.at = buffer, len(buffer), at
        self.link_type, self.longest = link_type, LONGEST_EVER
        self._swap, self._per_microsecond, self._clip = big != vermilion_big_endian, per_microsecond, clip

    cdef bint step(self, Packet* packet) noexcept:
        """The next packet, if there is a whole one."""
        cdef uint32_t numbers[4]  # seconds, fraction, captured, wire length
        cdef Py_ssize_t room = self._end - self.at
        cdef int i
        if room < HEADER:
            self.done = True
            return False
        memcpy(numbers, self._start + self.at, HEADER)
        if self._swap:
            for i in range(4):
                numbers[i] = vermilion_swapped(numbers[i])
        if numbers[2] > LONGEST or room - HEADER < <Py_ssize_t>numbers[2]:
            self.done = True
            return False
        packet.data = self._start + self.at + HEADER
        packet.captured, packet.wire_length = min(<Py_ssize_t>numbers[2], self._clip), numbers[3]
        packet.time = <int64_t>numbers[0] * 1_000_000 + numbers[1] // self._per_microsecond
        packet.tag = -1
        self.at += HEADER + numbers[2]
        return True
