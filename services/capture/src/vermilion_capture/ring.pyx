"""A packet socket's ring: blocks of packets in memory that the kernel shares (TPACKET_V3).

The kernel fills a block and hands it over by its status; who has read it hands it back. Nothing is
copied and no system call is made a packet. Every offset in a block is checked before it is followed.

Source: linux/if_packet.h, and Documentation/networking/packet_mmap.rst of the kernel.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from vermilion_capture.frame import Frame, new_frame

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint32_t vermilion_status(const uint32_t* status) {
        return __atomic_load_n(status, __ATOMIC_ACQUIRE);
    }
    static inline void vermilion_release(uint32_t* status) {
        __atomic_store_n(status, 0 /* TP_STATUS_KERNEL */, __ATOMIC_RELEASE);
    }
    """
    uint32_t vermilion_status(const uint32_t* status) noexcept
    void vermilion_release(uint32_t* status) noexcept

# struct tpacket_block_desc and struct tpacket3_hdr, which are the kernel's ABI.
cdef struct BlockHeader:
    uint32_t version
    uint32_t offset_to_priv
    uint32_t status
    uint32_t packets
    uint32_t first
    uint32_t length
    uint64_t number
    uint32_t times[4]

cdef struct PacketHeader:
    uint32_t next
    uint32_t seconds
    uint32_t nanoseconds
    uint32_t captured
    uint32_t wire_length
    uint32_t status
    uint16_t mac
    uint16_t net
    uint32_t rxhash
    uint32_t vlan_tci
    uint16_t vlan_tpid
    uint16_t padding
    uint32_t more_padding[2]

cdef enum:
    TP_STATUS_USER = 1 << 0
    TP_STATUS_VLAN_VALID = 1 << 4
    TP_STATUS_VLAN_TPID_VALID = 1 << 6
    TPID_CUSTOMER = 0x8100
    ADDRESSES = 12  # the tag stands behind both of Ethernet's addresses

BLOCK_HEADER = sizeof(BlockHeader)
PACKET_HEADER = sizeof(PacketHeader)


cdef class Block:
    """The packets of one block; iterating gives their frames, with the VLAN tags put back.

    It is good until the next one is asked for. ``longest``: bytes of a frame as long as the MTU allows;
    ``done``: the last has been given; ``damaged``: an offset pointed nowhere, and the rest of the block was
    left. ``wanted``: what a frame and its length on the wire are to be asked yet (bpf.Filter.matches), or None.
    """

    def __init__(self, const unsigned char[::1] memory, int link_type, Py_ssize_t longest=1 << 20, wanted=None):
        self._owner = memory
        self._open(&memory[0] if len(memory) else NULL, len(memory), link_type, longest, wanted)

    cdef _open(
        self, const unsigned char* start, Py_ssize_t size, int link_type, Py_ssize_t longest, object wanted
    ):
        cdef const BlockHeader* header = <const BlockHeader*>start
        self._start, self.link_type, self.longest, self.wanted = start, link_type, longest, wanted
        self._left, self._at, self._end = 0, 0, 0
        if size < <Py_ssize_t>sizeof(BlockHeader):
            self.damaged = True
            return
        self._left, self._at = header.packets, header.first
        self._end = min(<Py_ssize_t>header.length, size)

    cdef bint step(self, Packet* packet) noexcept:
        """The next packet, if there is one."""
        cdef PacketHeader header
        cdef Py_ssize_t room = self._end - self._at
        if self._left == 0:
            self.done = True
            return False
        self._left -= 1
        if room < <Py_ssize_t>sizeof(PacketHeader):
            return self._give_up()
        memcpy(&header, self._start + self._at, sizeof(header))
        if <Py_ssize_t>header.mac + <Py_ssize_t>header.captured > room:
            return self._give_up()
        packet.data = self._start + self._at + header.mac
        packet.captured, packet.wire_length = header.captured, header.wire_length
        packet.time = <int64_t>header.seconds * 1_000_000 + header.nanoseconds // 1000
        packet.tag, packet.tag_protocol = -1, TPID_CUSTOMER
        if header.status & TP_STATUS_VLAN_VALID and packet.captured >= ADDRESSES:
            packet.tag = header.vlan_tci & 0xFFFF
            if header.status & TP_STATUS_VLAN_TPID_VALID:
                packet.tag_protocol = header.vlan_tpid
        if self._left:
            if header.next < sizeof(PacketHeader):
                self._give_up()  # it would not go on; this packet is whole
            else:
                self._at += header.next
        return True

    cdef bint _give_up(self) noexcept:
        self._left = 0
        self.damaged = self.done = True
        return False

    cdef bytes framed(self, const Packet* packet):
        """The frame as it was on the wire, with its tag."""
        cdef unsigned char tag[4]
        if packet.tag < 0:
            return packet.data[:packet.captured]
        tag[0], tag[1] = packet.tag_protocol >> 8, packet.tag_protocol & 0xFF
        tag[2], tag[3] = packet.tag >> 8, packet.tag & 0xFF
        return packet.data[:ADDRESSES] + tag[:4] + packet.data[ADDRESSES:packet.captured]

    def __iter__(self):
        cdef Packet packet
        cdef Py_ssize_t tag
        while self.step(&packet):
            tag = 4 if packet.tag >= 0 else 0
            yield new_frame(
                Frame, (packet.time, self.framed(&packet), packet.wire_length + tag, self.link_type)
            )


cdef class Ring:
    """Blocks of shared memory, in the order in which the kernel fills them.

    ``memory``: ``blocks`` blocks of ``block_size`` bytes each, as the socket was told.
    """

    def __init__(self, unsigned char[::1] memory, Py_ssize_t block_size, Py_ssize_t blocks):
        if block_size < <Py_ssize_t>sizeof(BlockHeader) or len(memory) < block_size * blocks:
            raise ValueError(f"{blocks} blocks of {block_size} bytes in {len(memory)}")
        self._memory, self._block_size, self._blocks = memory, block_size, blocks

    def next(self, int link_type, Py_ssize_t longest, wanted=None):
        """The next block, None when the kernel has not handed one over; the one before goes back to it."""
        cdef Block block
        cdef unsigned char* start
        self.release()
        start = &self._memory[self._current * self._block_size]
        if not vermilion_status(&(<BlockHeader*>start).status) & TP_STATUS_USER:
            return None
        self._held = True
        block = Block.__new__(Block)
        block._owner = self
        block._open(start, self._block_size, link_type, longest, wanted)
        return block

    def release(self):
        """Give the block in hand back to the kernel."""
        if self._held:
            vermilion_release(&(<BlockHeader*>&self._memory[self._current * self._block_size]).status)
            self._current = (self._current + 1) % self._blocks
            self._held = False
