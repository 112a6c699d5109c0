"""One hash for all tables of a knowledge file: eight bytes at a time, seeded by what is hashed."""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef enum:
    # What a key is of; the same text as an AS and as a domain are two keys.
    SEED_STRING = 1
    SEED_SYSTEM = 2
    SEED_DOMAIN = 3
    SEED_PORT_CLASS = 4
    SEED_NAME = 5
    SEED_ADDRESS = 6
    SEED_PORT = 7
    SEED_SUFFIX = 8
    SEED_TOKEN = 9
    SEED_GRAM = 10


cdef inline uint64_t mix(uint64_t x) noexcept nogil:
    # The finaliser of splitmix64: each bit of the input changes half of the output's.
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
    return x ^ (x >> 31)


cdef inline uint64_t hash_bytes(const unsigned char* data, Py_ssize_t size, int seed) noexcept nogil:
    cdef uint64_t state = mix(<uint64_t>0x9E3779B97F4A7C15 * <uint64_t>(seed + 1) + <uint64_t>size)
    cdef uint64_t word
    while size >= 8:
        memcpy(&word, data, 8)
        state = (state ^ word) * <uint64_t>0x9FB21C651E98DF25
        state ^= state >> 32
        data += 8
        size -= 8
    if size:
        word = 0
        memcpy(&word, data, size)
        state = (state ^ word) * <uint64_t>0x9FB21C651E98DF25
    return mix(state)


cdef inline uint64_t hash_number(uint64_t number, int seed) noexcept nogil:
    return mix(number + <uint64_t>0x9E3779B97F4A7C15 * <uint64_t>(seed + 1))
