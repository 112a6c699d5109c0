from vermilion_fingerprint.decryption cimport Connection
from vermilion_fingerprint.streams cimport Stream


cdef class Direction:
    cdef bytes src_ip, dst_ip
    cdef int src_port, dst_port
    cdef Stream stream
    cdef list tunnels           # around its last message: where that began, or the datagram that completed it
    cdef tuple candidates       # what may begin there
    cdef object protocol        # what does
    cdef object told            # the message that is still to be stepped over
    cdef Py_ssize_t needed      # so many bytes must be here before it is worth trying again
    cdef Py_ssize_t credit      # bytes that may still be looked at
    cdef int tries, messages, syns, decrypted
    cdef bint opened            # its SYN without ACK was seen: this is the client's direction
    cdef str syn                # that SYN's fingerprint
    cdef bint accepted          # its SYN with ACK was seen: this is the server's
    cdef bint done

    cdef int more(self) noexcept
    cdef int wait(self, Py_ssize_t needed) except -1
    cdef bint settled(self)


cdef class Flow:
    cdef long long first_offset, started, last
    cdef tuple path  # its identity beside its end points (payloads.path_of)
    cdef bint replayed, reset
    cdef Direction low, high
    cdef Connection decrypted   # its TLS connection, where that is decrypted

    cdef Py_ssize_t held(self)
    cdef str side(self, Direction direction)
    cdef dict event(self, Direction direction, str name, int ordinal, long long seq, long long time)
