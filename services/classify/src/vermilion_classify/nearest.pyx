# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""The nearest of the known fingerprints, by alignment of their tokens.

Tokens are the version, each cipher suite and each extension with what is told of it. The distance
of two sequences is 1 - 2 LCS / (their lengths added), LCS being the length of their longest common
subsequence: 0 when they are alike, 1 when nothing is common.

Aligning with every known fingerprint would take a millisecond. So an inverted index over runs of
three suites and over extensions proposes candidates, rarest first and within a budget, and only
the best of them are aligned, 64 tokens at a time (Hyyrö's bit-parallel LCS, 2004).
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from vermilion_classify.container import ContainerError
from vermilion_classify.forms cimport MOST_TOKENS, Parsed
from vermilion_classify.index cimport NONE, Index, check_below, check_offsets

cdef extern from *:
    int popcount "__builtin_popcountll"(unsigned long long) noexcept nogil

cdef enum:
    WORDS = 3           # MOST_TOKENS / 64
    ALIGNED = 48        # candidates that are aligned
    LEAST_LISTS = 4     # of the rarest grams, whatever they cost


cdef class Nearest:
    """The index of a container. Raises ContainerError.

    ``search`` leaves what it found in ``entries`` and ``distances``, nearest first. ``budget``: postings
    read for one search.
    """

    def __cinit__(self):
        self._hits = NULL
        self._touched = NULL
        self._masks = NULL

    def __dealloc__(self):
        PyMem_Free(self._hits)
        PyMem_Free(self._touched)
        PyMem_Free(self._masks)

    def __init__(self, container, double threshold, Py_ssize_t budget=9_000):
        cdef Py_ssize_t grams, vocabulary, i
        self._threshold = threshold
        self._budget = budget
        self._tokens_at, self._tokens = container["tokens_at"], container["tokens"]
        self._posted_at, self._posted = container["posted_at"], container["posted"]
        self._entries = self._tokens_at.shape[0] - 1
        grams = self._posted_at.shape[0] - 1
        self._day = container["day"]
        origin = container.origin
        vocabulary = container.meta["tokens"]
        if not 0 <= vocabulary <= len(self._tokens) or self._entries != len(container["entry_model"]) or (
            self._day.shape[0] != self._entries
        ):
            raise ContainerError(f"{origin}: section tokens: is not as its contents say")
        check_offsets(f"{origin}: section tokens_at", self._tokens_at, self._tokens.shape[0])
        check_below(f"{origin}: section tokens", self._tokens, vocabulary)
        check_offsets(f"{origin}: section posted_at", self._posted_at, self._posted.shape[0])
        check_below(f"{origin}: section posted", self._posted, self._entries)
        for i in range(self._entries):
            if self._tokens_at[i + 1] - self._tokens_at[i] > MOST_TOKENS:
                raise ContainerError(f"{origin}: section tokens_at: entry {i} has more than {MOST_TOKENS}")
        self._vocabulary = Index(container, "token", vocabulary)
        self._grams = Index(container, "gram", grams)
        self._hits = <uint16_t*>PyMem_Calloc(self._entries + 1, sizeof(uint16_t))
        self._touched = <uint32_t*>PyMem_Malloc((self._entries + 1) * sizeof(uint32_t))
        self._masks = <uint64_t*>PyMem_Calloc((vocabulary + 1) * WORDS, sizeof(uint64_t))
        if self._hits == NULL or self._touched == NULL or self._masks == NULL:
            raise MemoryError

    cdef double distance(self, uint32_t entry, Py_ssize_t size) noexcept:
        """The distance of an entry from the query of ``size`` tokens, whose masks are set."""
        cdef uint64_t v[WORDS]
        cdef uint64_t u, sum_, carry
        cdef uint64_t* mask
        cdef Py_ssize_t i, w, words = (size + 63) // 64, begin = self._tokens_at[entry]
        cdef Py_ssize_t length = self._tokens_at[entry + 1] - begin
        cdef int common = 0, left
        for w in range(words):
            v[w] = ~<uint64_t>0
        for i in range(begin, begin + length):
            mask = self._masks + WORDS * self._tokens[i]
            carry = 0
            for w in range(words):
                u = v[w] & mask[w]
                sum_ = v[w] + u
                left = sum_ < u
                sum_ += carry
                carry = left | (sum_ < carry)
                v[w] = sum_ | (v[w] & ~mask[w])
        for w in range(words):
            u = ~v[w]
            if size - 64 * w < 64:
                u &= (<uint64_t>1 << (size - 64 * w)) - 1
            common += popcount(u)
        return 1.0 - 2.0 * common / (size + length)

    cdef int search(self, Parsed parsed, uint32_t without, uint32_t before) except -1:
        """How many were found within the threshold.

        Not looked at are the entry ``without``, and those first seen on the day ``before`` or later; NONE:
        all are.
        """
        cdef uint64_t hashes[2 * MOST_TOKENS]
        cdef uint32_t lists[2 * MOST_TOKENS]
        cdef uint32_t candidates[ALIGNED]
        cdef Py_ssize_t count, size, i, j, k, read = 0, touched = 0, found = 0, chosen = 0
        cdef uint32_t id, entry
        cdef double d, likeness
        cdef double ranks[ALIGNED]
        size = parsed.tokens(self._query, MOST_TOKENS)
        count = parsed.grams(hashes, 2 * MOST_TOKENS)
        if size < 0 or count < 0:
            return 0
        # The grams' lists, shortest first: what is rare tells most, and costs least.
        for i in range(count):
            id = self._grams.find(hashes[i])
            if id == NONE:
                continue
            j = found
            while j > 0 and self._length(lists[j - 1]) > self._length(id):
                lists[j] = lists[j - 1]
                j -= 1
            lists[j] = id
            found += 1
        for i in range(found):
            if i >= LEAST_LISTS and read + self._length(lists[i]) > self._budget:
                break
            read += self._length(lists[i])
            for j in range(self._posted_at[lists[i]], self._posted_at[lists[i] + 1]):
                entry = self._posted[j]
                if self._hits[entry] == 0:
                    self._touched[touched] = entry
                    touched += 1
                self._hits[entry] += 1
        # The candidates with most grams in common, for their length, by insertion into a short list.
        for i in range(touched):
            entry = self._touched[i]
            if entry == without or self._day[entry] >= before:
                continue
            likeness = <double>self._hits[entry] / (
                size + self._tokens_at[entry + 1] - self._tokens_at[entry]
            )
            if chosen == ALIGNED and ranks[ALIGNED - 1] >= likeness:
                continue
            j = chosen if chosen < ALIGNED else ALIGNED - 1
            while j > 0 and ranks[j - 1] < likeness:
                candidates[j], ranks[j] = candidates[j - 1], ranks[j - 1]
                j -= 1
            candidates[j], ranks[j] = entry, likeness
            chosen += chosen < ALIGNED
        for i in range(touched):
            self._hits[self._touched[i]] = 0
        self._set_masks(size)
        found = 0
        for i in range(chosen):
            d = self.distance(candidates[i], size)
            if d > self._threshold or (found == NEIGHBOURS and d >= self.distances[found - 1]):
                continue
            j = found if found < NEIGHBOURS else NEIGHBOURS - 1
            while j > 0 and self.distances[j - 1] > d:
                self.distances[j] = self.distances[j - 1]
                self.entries[j] = self.entries[j - 1]
                j -= 1
            self.distances[j] = d
            self.entries[j] = candidates[i]
            found += found < NEIGHBOURS
        self._clear_masks(size)
        return <int>found

    cdef Py_ssize_t _length(self, uint32_t gram) noexcept:
        return self._posted_at[gram + 1] - self._posted_at[gram]

    cdef void _set_masks(self, Py_ssize_t size) noexcept:
        cdef Py_ssize_t i
        cdef uint32_t id
        for i in range(size):
            id = self._vocabulary.find(self._query[i])
            self._query[i] = id
            if id != NONE:
                self._masks[WORDS * id + i // 64] |= <uint64_t>1 << (i % 64)

    cdef void _clear_masks(self, Py_ssize_t size) noexcept:
        cdef Py_ssize_t i
        for i in range(size):
            if self._query[i] != NONE:
                memset(self._masks + WORDS * self._query[i], 0, WORDS * sizeof(uint64_t))
