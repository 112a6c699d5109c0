# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Weighted naive Bayes over the processes of one fingerprint.

Every rule in use is a sum: a process's base, and a gain for each class of the destination that it
was seen with. What base and gain are is the rule's (weights.py; docs/inference.md).
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.math cimport exp
from libc.stdint cimport uint32_t, uint64_t

from vermilion_classify.container import ContainerError
from vermilion_classify.destination cimport MODELS, Destination
from vermilion_classify.index cimport check_below, check_offsets


cdef class Ranking:
    """The sections of a container that tell processes. Raises ContainerError."""

    def __cinit__(self):
        self.scores = NULL

    def __dealloc__(self):
        PyMem_Free(self.scores)

    def __init__(self, container, Py_ssize_t texts, Py_ssize_t systems):
        cdef Py_ssize_t rows, i
        self.model = container["entry_model"]
        self.entries = self.model.shape[0]
        self.rows_at, self._gains_at = container["rows_at"], container["gains_at"]
        self.process, self.family = container["process"], container["family"]
        self.sha256, self.category = container["sha256"], container["category"]
        self._base, self.malware = container["base"], container["malware"]
        self._gain_key, self._gain_row = container["gain_key"], container["gain_row"]
        self._gain = container["gain"]
        self.os_at, self.os, self.os_share = container["os_at"], container["os"], container["os_share"]
        self.attributes_at, self.attributes = container["attributes_at"], container["attributes"]
        rows = self.process.shape[0]
        origin = container.origin
        if self.rows_at.shape[0] != self.entries + 1 or self._gains_at.shape[0] != self.entries + 1:
            raise ContainerError(f"{origin}: section rows_at: has not one item for each entry")
        for name in ("family", "sha256", "category", "base", "malware"):
            if len(container[name]) != rows:
                raise ContainerError(f"{origin}: section {name}: has not one item for each process")
        if len(container["gain_row"]) != len(container["gain_key"]) or len(container["gain"]) != len(
            container["gain_key"]
        ):
            raise ContainerError(f"{origin}: section gain: has not one item for each key")
        if self.os_at.shape[0] != rows + 1 or self.attributes_at.shape[0] != rows + 1:
            raise ContainerError(f"{origin}: section os_at: has not one item for each process")
        check_offsets(f"{origin}: section rows_at", self.rows_at, rows)
        check_offsets(f"{origin}: section gains_at", self._gains_at, self._gain_key.shape[0])
        check_offsets(f"{origin}: section os_at", self.os_at, min(self.os.shape[0], self.os_share.shape[0]))
        check_offsets(f"{origin}: section attributes_at", self.attributes_at, self.attributes.shape[0])
        check_below(f"{origin}: section process", self.process, texts)
        check_below(f"{origin}: section family", self.family, texts)
        check_below(f"{origin}: section sha256", self.sha256, texts, True)
        check_below(f"{origin}: section category", self.category, texts, True)
        check_below(f"{origin}: section os", self.os, systems)
        check_below(f"{origin}: section attributes", self.attributes, texts)
        for i in range(self.entries):
            if self.model[i] >= MODELS:
                raise ContainerError(f"{origin}: section entry_model: item {i} is {self.model[i]}")
            if self.rows_at[i] == self.rows_at[i + 1]:
                raise ContainerError(f"{origin}: section rows_at: entry {i} has no process")
            self.most_rows = max(self.most_rows, <Py_ssize_t>(self.rows_at[i + 1] - self.rows_at[i]))
            self._check_gains(origin, i)
        self.scores = <double*>PyMem_Malloc((self.most_rows + 1) * sizeof(double))
        if self.scores == NULL:
            raise MemoryError

    def _check_gains(self, origin, Py_ssize_t entry):
        cdef uint32_t rows = self.rows_at[entry + 1] - self.rows_at[entry]
        cdef Py_ssize_t i
        for i in range(self._gains_at[entry], self._gains_at[entry + 1]):
            if self._gain_row[i] >= rows:
                raise ContainerError(f"{origin}: section gain_row: item {i} is no process of its entry")

    cdef int add(self, uint64_t key, uint32_t entry, uint32_t first) noexcept:
        """Add the gains under one class to the scores."""
        cdef Py_ssize_t low = self._gains_at[entry], high = self._gains_at[entry + 1], end = high, middle
        while low < high:
            middle = (low + high) // 2
            if self._gain_key[middle] < key:
                low = middle + 1
            else:
                high = middle
        while low < end and self._gain_key[low] == key:
            self.scores[self._gain_row[low]] += self._gain[low]
            low += 1
        return 0

    cdef int weigh(self, uint32_t entry, Destination destination) except -1:
        """Fill ``scores`` for an entry's processes. Raises ValueError for no address."""
        cdef uint32_t first = self.rows_at[entry]
        cdef Py_ssize_t rows = self.rows_at[entry + 1] - first, i
        cdef int model = self.model[entry]
        cdef double total = 0.0, shift = 0.0
        destination.prepare(model)
        for i in range(rows):
            self.scores[i] = self._base[first + i]
        for i in range(destination.counts[model]):
            self.add(destination.keys[model][i], entry, first)
        if model:
            # pmercury 0.2 lets what is too small be 0, and then names its first process with 0.0; the
            # others' sums are far smaller than a number can be, and only their differences count.
            shift = self.scores[0]
            for i in range(1, rows):
                shift = max(shift, self.scores[i])
        for i in range(rows):
            self.scores[i] = exp(self.scores[i] - shift)
            total += self.scores[i]
        if total > 0.0:
            for i in range(rows):
                self.scores[i] /= total
        return 0
