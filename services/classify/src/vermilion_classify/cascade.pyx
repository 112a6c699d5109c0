# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""The cascade: how a fingerprint is found among those that are known.

From what is surest: the very fingerprint (``exact``), the same with extensions in another order
(``sorted``), the same but for what comes and goes with a session (``stable``), the most like ones
(``approximate``), none.
"""

from libc.math cimport exp
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from vermilion_classify.container import ContainerError
from vermilion_classify.forms cimport Parsed, sorted_form, stable_form, wire_form
from vermilion_classify.forms import FormError
from vermilion_classify.hashing cimport SEED_STRING, hash_bytes
from vermilion_classify.index cimport NONE, Index, check_below, check_offsets
from vermilion_classify.nearest cimport NEIGHBOURS, Nearest

# A neighbour this much further away than the nearest counts e times less.
cdef double REACH = 0.05


cdef inline double closeness(double further) noexcept:
    return exp(-further / REACH)


cdef inline uint64_t hash_text(bytes text) noexcept:
    return hash_bytes(<const unsigned char*>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), SEED_STRING)


cdef class Cascade:
    """The sections of a container that find fingerprints. Raises ContainerError.

    ``search`` leaves what it found in the attributes: how (``kind``), how far away (``distance``), and
    the entries with their weights. ``parsed`` is the fingerprint taken apart, unless it was found as
    it is.
    """

    def __init__(self, container, Py_ssize_t entries, double threshold):
        origin = container.origin
        self._key_at, self._keys = container["key_at"], container["keys"]
        check_offsets(f"{origin}: section key_at", self._key_at, self._keys.shape[0])
        self._nearest = Nearest(container, threshold)
        self._exact, self._wire = Index(container, "exact", entries), Index(container, "wire", entries)
        self._sorted, self._stable = Index(container, "sorted", entries), Index(container, "stable", entries)
        self._unlabelled = Index(container, "unlabelled", 1)
        self._sorted_next, self._stable_next = container["sorted_next"], container["stable_next"]
        check_below(f"{origin}: section sorted_next", self._sorted_next, entries, True)
        check_below(f"{origin}: section stable_next", self._stable_next, entries, True)
        for name, size in (("key_at", entries + 1), ("sorted_next", entries), ("stable_next", entries)):
            if len(container[name]) != size:
                raise ContainerError(f"{origin}: section {name}: {size} items are expected")

    cdef bytes key(self, uint32_t entry):
        """An entry's fingerprint, as it was compiled."""
        return bytes(self._keys[self._key_at[entry] : self._key_at[entry + 1]])

    cdef bint unlabelled(self, bytes text) noexcept:
        """Whether a fingerprint is one that was seen, and of which no more is known."""
        return self._unlabelled.find(hash_text(text)) != NONE

    cdef uint32_t exactly(self, bytes text) except? 0xFFFFFFFE:
        cdef uint32_t entry = self._exact.find(hash_text(text))
        cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
        if entry != NONE and (
            self._key_at[entry + 1] - self._key_at[entry] != size
            or (size and memcmp(&self._keys[self._key_at[entry]], PyBytes_AS_STRING(text), size))
        ):
            return NONE
        return entry

    cdef int _take(self, int kind, uint32_t entry, double distance) except -1:
        """Found: this entry alone."""
        self.kind, self.distance = kind, distance
        self.count = 1
        self.found[0], self.weight[0] = entry, 1.0
        return 1

    cdef bint _same_form(self, uint32_t entry, int kind, bytes form) except -1:
        """Whether an entry's key has this form: hashes may be alike that are of two forms."""
        cdef Parsed parsed = Parsed(self.key(entry))
        return (sorted_form(parsed) if kind == SORTED else stable_form(parsed)) == form

    cdef bint _chained(self, int kind, bytes form, uint32_t without, uint32_t before) except -1:
        """Found: the entries with one form, up to as many as count."""
        cdef Index index = self._sorted if kind == SORTED else self._stable
        cdef const uint32_t[::1] following = self._sorted_next if kind == SORTED else self._stable_next
        cdef uint32_t entry = index.find(hash_text(form))
        cdef int steps = 0
        if entry == NONE or not self._same_form(entry, kind, form):
            return False
        self.count = 0
        while entry != NONE and self.count < NEIGHBOURS and steps <= NEIGHBOURS:
            if entry != without and self._nearest._day[entry] < before:
                self.found[self.count] = entry
                self.weight[self.count] = 1.0
                self.count += 1
            entry = following[entry]
            steps += 1
        self.kind, self.distance = kind, 0.0
        return self.count > 0

    cdef int search(self, bytes text, uint32_t without, uint32_t before) except -1:
        """Fill _kind, _found, _weight, _count, _distance; _parsed, unless the match is exact."""
        cdef uint32_t entry = self.exactly(text)
        cdef bytes form
        cdef int i
        self.parsed = None
        if entry != NONE and entry != without:
            return self._take(EXACT, entry, 0.0)
        self.kind, self.count, self.distance = NO_MATCH, 0, 1.0
        try:
            self.parsed = Parsed(text)
        except FormError:
            return 0
        form = wire_form(self.parsed)
        entry = self._wire.find(hash_text(form))
        if entry != NONE and entry != without and self.key(entry) == form:
            return self._take(EXACT, entry, 0.0)
        if self._chained(SORTED, sorted_form(self.parsed), without, before):
            return self.count
        if self._chained(STABLE, stable_form(self.parsed), without, before):
            return self.count
        self.kind, self.count, self.distance = NO_MATCH, 0, 1.0
        self.count = self._nearest.search(self.parsed, without, before)
        if self.count:
            self.kind = APPROXIMATE
            self.distance = self._nearest.distances[0]
            for i in range(self.count):
                self.found[i] = self._nearest.entries[i]
                self.weight[i] = closeness(self._nearest.distances[i] - self.distance)
        return self.count
