# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Into which classes a destination falls: autonomous system, domain, host name, address, port.

As the databases were counted, so that their numbers mean what they meant (docs/inference.md).
A class is a hash; a database's counts lie under the same one.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc

from vermilion_classify.hashing cimport (
    SEED_ADDRESS, SEED_DOMAIN, SEED_NAME, SEED_PORT, SEED_PORT_CLASS, SEED_SUFFIX, SEED_SYSTEM,
    hash_bytes, hash_number,
)
from vermilion_classify.container import ContainerError
from vermilion_classify.index cimport NONE, Index

cdef extern from "arpa/inet.h" nogil:
    int inet_pton(int family, const char* text, void* out)
    uint32_t ntohl(uint32_t number)
    int AF_INET, AF_INET6

cdef enum:
    LONGEST_SUFFIX = 6

PORTS = {
    443: "https", 448: "database", 465: "email", 563: "nntp", 585: "email", 614: "shell",
    636: "ldap", 989: "ftp", 990: "ftp", 991: "nas", 992: "telnet", 993: "email", 994: "irc",
    995: "email", 1443: "alt-https", 2376: "docker", 8001: "tor", 8443: "alt-https", 9000: "tor",
    9001: "tor", 9002: "tor", 9101: "tor",
}
"""The kind of application usual at a TCP port; any other is ``unknown``."""


cdef uint32_t* firsts(const uint32_t[::1] starts) except NULL:
    """How many of the ascending ``starts`` are before each /16, and of all: what a search begins with."""
    cdef uint32_t* first = <uint32_t*>PyMem_Malloc(65537 * sizeof(uint32_t))
    cdef Py_ssize_t i = 0
    cdef uint32_t block
    if first == NULL:
        raise MemoryError
    for block in range(65536):
        while i < starts.shape[0] and starts[i] >> 16 < block:
            i += 1
        first[block] = <uint32_t>i
    first[65536] = <uint32_t>starts.shape[0]
    return first


cdef uint32_t position(const uint32_t[::1] starts, const uint32_t* first, uint32_t value) noexcept nogil:
    """How many of the ascending ``starts`` are at most ``value``."""
    cdef Py_ssize_t low = first[value >> 16], high = first[(value >> 16) + 1], middle
    while low < high:
        middle = (low + high) // 2
        if starts[middle] <= value:
            low = middle + 1
        else:
            high = middle
    return <uint32_t>low


cdef class Tables:
    """The tables of a container. Raises ContainerError."""

    def __cinit__(self):
        self._then_first = self._now4_first = NULL

    def __dealloc__(self):
        PyMem_Free(self._then_first)
        PyMem_Free(self._now4_first)

    def __init__(self, container):
        self._then_start, self._then_number = container["as_then_start"], container["as_then_number"]
        self._now4_start, self._now4_number = container["as_now4_start"], container["as_now4_number"]
        self._now6_start, self._now6_number = container["as_now6_start"], container["as_now6_number"]
        if not (
            self._then_start.shape[0] == self._then_number.shape[0]
            and self._now4_start.shape[0] == self._now4_number.shape[0]
            and self._now6_start.shape[0] == self._now6_number.shape[0]
        ):
            raise ContainerError(f"{container.origin}: an AS table has starts without numbers")
        self._then_first, self._now4_first = firsts(self._then_start), firsts(self._now4_start)
        self._suffixes = Index(container, "suffix", 1)
        self._ports = {
            port: hash_bytes(name.encode(), len(name), SEED_PORT_CLASS) for port, name in PORTS.items()
        }
        self._other_port = hash_bytes(b"unknown", 7, SEED_PORT_CLASS)

    cdef uint32_t system(self, str address, bint now) except? 0xFFFFFFFF:
        """The AS that announces an address, 0 when none is known. Raises ValueError for no address.

        The table of then has IPv4 alone.
        """
        cdef uint8_t packed[16]
        cdef bytes text = address.encode()
        cdef const char* chars = text
        cdef uint32_t value, at
        cdef uint64_t high = 0
        cdef Py_ssize_t low, top, middle
        if inet_pton(AF_INET, chars, packed) == 1:
            value = <uint32_t>packed[0] << 24 | packed[1] << 16 | packed[2] << 8 | packed[3]
            if now:
                at = position(self._now4_start, self._now4_first, value)
                return self._now4_number[at - 1] if at else 0
            at = position(self._then_start, self._then_first, value)
            return self._then_number[at - 1] if at else 0
        if inet_pton(AF_INET6, chars, packed) != 1:
            raise ValueError(f"{address!r} is no IP address")
        if not now:
            return 0
        for at in range(8):
            high = high << 8 | packed[at]
        low, top = 0, self._now6_start.shape[0]
        while low < top:
            middle = (low + top) // 2
            if self._now6_start[middle] <= high:
                low = middle + 1
            else:
                top = middle
        return self._now6_number[low - 1] if low else 0

    cdef uint64_t domain(self, bytes name) noexcept:
        """The class of a host's registered domain: the public suffix and the label before.

        The suffix is the longest of two to six labels that the list has, else the last label; the
        databases know no wildcard rules, no exceptions, and case.
        """
        cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(name)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(name), i
        cdef Py_ssize_t begins[LONGEST_SUFFIX + 1]  # of the last one, two, ... labels
        cdef int labels = 0, suffix = 1, count
        for i in range(size - 1, -1, -1):
            if data[i] == 46:
                begins[labels] = i + 1
                labels += 1
                if labels > LONGEST_SUFFIX:
                    break
        if labels <= LONGEST_SUFFIX:
            begins[labels] = 0
            labels += 1
        for count in range(2, min(<int>LONGEST_SUFFIX, labels) + 1):
            i = begins[count - 1]
            if self._suffixes.find(hash_bytes(data + i, size - i, SEED_SUFFIX)) != NONE:
                suffix = count
        i = begins[min(suffix, labels - 1)]
        return hash_bytes(data + i, size - i, SEED_DOMAIN)


cdef class Destination:
    """``server_name`` may be None. Nothing is looked up before a model asks for it."""

    def __cinit__(self, Tables tables, str address, object server_name, int port):
        self._tables = tables
        self._address = address
        # The databases have the word None for no name.
        self._name = b"None" if server_name is None else server_name.encode("utf-8", "surrogatepass")
        self._port = port

    cdef int prepare(self, int model) except -1:
        """Fill ``keys[model]``. Raises ValueError for no address."""
        cdef uint64_t* keys = self.keys[model]
        cdef const unsigned char* name
        cdef Py_ssize_t size, i
        cdef int dots = 0
        if self._ready[model]:
            return 0
        keys[0] = hash_number(self._tables.system(self._address, model != 0), SEED_SYSTEM)
        name = <const unsigned char*>PyBytes_AS_STRING(self._name)
        size = PyBytes_GET_SIZE(self._name)
        cdef bint named = not (size == 4 and memcmp(name, <const char*>b"None", 4) == 0)
        if model < 2:
            keys[1] = self._tables.domain(self._name) if named else hash_bytes(name, size, SEED_DOMAIN)
            keys[2] = self._tables._ports.get(self._port, self._tables._other_port)
            self.counts[model] = 3
        else:  # mercury's: the last two labels, the whole name, the address, the port's number
            i = size
            while i > 0 and dots < 2:
                i -= 1
                dots += name[i] == 46
            i += dots == 2
            keys[1] = hash_bytes(name + i, size - i, SEED_DOMAIN)
            keys[2] = hash_bytes(name, size, SEED_NAME)
            address = self._address.encode()
            keys[3] = hash_bytes(address, len(address), SEED_ADDRESS)
            keys[4] = hash_number(self._port, SEED_PORT)
            self.counts[model] = 5
        self._ready[model] = True
        return 0


def of_classes(Tables tables not None, uint32_t system, domain, port):
    """A destination of which only the classes are known, as databases tell them.

    ``domain`` and ``port`` (the kind of application) may be None.
    """
    cdef Destination destination = Destination(tables, "", None, 0)
    cdef bytes name = b"None" if domain is None else domain.encode("utf-8", "surrogatepass")
    cdef bytes kind = b"unknown" if port is None else port.encode("utf-8", "surrogatepass")
    for model in range(MODELS):
        destination.keys[model][0] = hash_number(system, SEED_SYSTEM)
        destination.keys[model][1] = hash_bytes(name, len(name), SEED_DOMAIN)
        destination.keys[model][2] = hash_bytes(kind, len(kind), SEED_PORT_CLASS)
        destination.counts[model] = 3
        destination._ready[model] = True
    return destination
