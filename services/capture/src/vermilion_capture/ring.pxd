from libc.stdint cimport int64_t, uint32_t

# One packet of a block; ``data`` lies in the block.
cdef struct Packet:
    const unsigned char* data
    Py_ssize_t captured
    Py_ssize_t wire_length
    int64_t time       # microseconds since 1970
    int tag            # the VLAN tag's TCI that the kernel took out; -1: none
    int tag_protocol   # its EtherType


cdef class Block:
    cdef object _owner       # what keeps the memory
    cdef const unsigned char* _start
    cdef Py_ssize_t _end     # of what is in use
    cdef Py_ssize_t _at
    cdef uint32_t _left
    cdef readonly int link_type
    cdef readonly Py_ssize_t longest
    cdef readonly bint damaged
    cdef readonly bint done
    cdef readonly object wanted

    cdef _open(self, const unsigned char* start, Py_ssize_t size, int link_type, Py_ssize_t longest, object wanted)
    cdef bint _give_up(self) noexcept
    cdef bint step(self, Packet* packet) noexcept
    cdef bytes framed(self, const Packet* packet)


cdef class Ring:
    cdef unsigned char[::1] _memory
    cdef Py_ssize_t _block_size
    cdef Py_ssize_t _blocks
    cdef Py_ssize_t _current
    cdef bint _held
