# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Hash tables of a knowledge file, and the checks that make its arrays safe to follow.

Open addressing with linear probing: 64-bit hashes and, beside them, 32-bit values, in a table at
most half full. Contents are checked once, when a file is opened, so that look-ups need not.
"""

from array import array

from libc.stdint cimport uint32_t, uint64_t

from vermilion_classify.container import ContainerError
from vermilion_classify.hashing cimport hash_bytes, hash_number


def hash_of(bytes text not None, int seed):
    """The 64-bit hash under which ``text`` is filed; ``seed`` says as what (hashing.pxd)."""
    return hash_bytes(text, len(text), seed)


def hash_of_number(uint64_t number, int seed):
    """The 64-bit hash under which a number is filed."""
    return hash_number(number, seed)


def table_of(pairs):
    """(hashes, values), the arrays of a table of (hash, value) pairs; of equal hashes the first counts."""
    items = list(pairs)
    cdef uint64_t size = 8, at, key
    while size < 2 * <uint64_t>len(items) + 2:
        size *= 2
    hashes = array("Q", bytes(8 * size))
    values = array("I", [<uint32_t>NONE]) * size
    cdef uint64_t[::1] h = hashes
    cdef uint32_t[::1] v = values
    for key, value in items:
        at = key & (size - 1)
        while v[at] != NONE and h[at] != key:
            at = (at + 1) & (size - 1)
        if v[at] == NONE:
            h[at] = key
            v[at] = value
    return hashes, values


cdef class Index:
    """The table in sections ``name_hash`` and ``name_value`` of a container.

    ``limit``: its values are below. Raises ContainerError.
    """

    def __init__(self, container, str name, Py_ssize_t limit):
        self._hashes = container[f"{name}_hash"]
        self._values = container[f"{name}_value"]
        cdef Py_ssize_t size = self._hashes.shape[0]
        if size < 2 or size & (size - 1) or self._values.shape[0] != size:
            raise ContainerError(f"{container.origin}: section {name}_hash: {size} is no table's size")
        self._mask = size - 1
        check_below(f"{container.origin}: section {name}_value", self._values, limit, True)
        cdef Py_ssize_t i, free = 0
        for i in range(size):
            free += self._values[i] == NONE
        if free == 0:
            raise ContainerError(f"{container.origin}: section {name}_value: a full table has no end")


cdef int check_offsets(object name, const uint32_t[::1] offsets, Py_ssize_t limit) except -1:
    """Offsets that never go back, from 0 to at most ``limit``."""
    cdef Py_ssize_t i
    if offsets.shape[0] < 1 or offsets[0] != 0:
        raise ContainerError(f"{name}: does not begin at 0")
    for i in range(1, offsets.shape[0]):
        if offsets[i] < offsets[i - 1]:
            raise ContainerError(f"{name}: item {i} goes back")
    if offsets[offsets.shape[0] - 1] > limit:
        raise ContainerError(f"{name}: ends beyond {limit}")
    return 0


cdef int check_below(object name, const uint32_t[::1] values, Py_ssize_t limit, bint optional=False) except -1:
    """Numbers below ``limit``, or, if ``optional``, NONE."""
    cdef Py_ssize_t i
    for i in range(values.shape[0]):
        if values[i] >= limit and not (optional and values[i] == NONE):
            raise ContainerError(f"{name}: item {i} is {values[i]}, not below {limit}")
    return 0
