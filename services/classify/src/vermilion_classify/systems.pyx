# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Operating systems: what speaks for each, and what is told of it.

Two sources may speak: the processes found for a ClientHello, each with the systems it was seen on,
and the SYN of the flow. Each is believed as far as it has shown to be right. Both together are
weighed as independent witnesses to the family (Windows, macOS, Linux, ...); which release of the
family it is comes after that.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

from vermilion_classify.container import ContainerError
from vermilion_classify.hashing cimport SEED_STRING, hash_bytes
from vermilion_classify.index cimport NONE, Index, check_below, check_offsets

FAMILY_NAMES = {
    "windows": "Windows", "macos": "macOS", "linux": "Linux", "android": "Android", "ios": "iOS",
}

cdef enum:
    MOST_SYSTEMS = 4096
    LONGEST_LAYOUT = 64

# A release is named when it has so much of its family; what is told must have so much at all.
cdef double NAMED = 0.9
cdef double LEAST = 0.01
# So much of a family each of its releases has, whatever a witness says.
cdef double FLOOR = 0.02


def layout_of(bytes syn not None):
    """The kinds of a SYN's options, in order: what a stack's code fixes, whatever the path's MTU."""
    cdef unsigned char kinds[LONGEST_LAYOUT]
    return kinds[: layout(syn, kinds)]


cdef Py_ssize_t layout(bytes syn, unsigned char* kinds) noexcept:
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(syn)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(syn), i, count = 0
    cdef bint window = True
    for i in range(size - 2):
        if p[i] == 40:  # (
            if not window and count + 2 <= LONGEST_LAYOUT:
                kinds[count], kinds[count + 1] = p[i + 1], p[i + 2]
                count += 2
            window = False
    return count


cdef class Systems:
    """The sections of a container that tell operating systems. Raises ContainerError."""

    def __cinit__(self):
        self._family = NULL
        self._shares = NULL

    def __dealloc__(self):
        PyMem_Free(self._family)
        PyMem_Free(self._shares)

    def __init__(self, container):
        self.names = [tuple(each) for each in container.meta["systems"]]
        self._count = len(self.names)
        self._family_names = list(dict.fromkeys(family for _, family, _ in self.names))
        self._families = len(self._family_names)
        origin = container.origin
        if self._families > MOST_FAMILIES or self._count > MOST_SYSTEMS:
            raise ContainerError(f"{origin}: {self._count} operating systems are too many")
        self._family = <uint8_t*>PyMem_Calloc(self._count + 1, 1)
        self._shares = <double*>PyMem_Calloc(SOURCES * (self._count + 1), sizeof(double))
        if self._family == NULL or self._shares == NULL:
            raise MemoryError
        for i, (_, family, _) in enumerate(self.names):
            self._family[i] = self._family_names.index(family)
        self._known_at, self._known = container["known_at"], container["known"]
        self._known_share = container["known_share"]
        rows = self._known_at.shape[0] - 1
        check_offsets(
            f"{origin}: section known_at", self._known_at, min(self._known.shape[0], self._known_share.shape[0])
        )
        check_below(f"{origin}: section known", self._known, self._count)
        self._syns = Index(container, "syn", rows)
        self._layouts = Index(container, "layout", rows)
        self._hellos = Index(container, "hello", rows)

    cdef void reset(self) noexcept:
        memset(self._shares, 0, SOURCES * (self._count + 1) * sizeof(double))
        memset(self._sums, 0, sizeof(self._sums))
        self._told[BY_PROCESS] = self._told[BY_SYN] = False

    cdef void add(self, int source, uint32_t system, double share) noexcept:
        self._shares[source * self._count + system] += share
        self._sums[source][self._family[system]] += share
        self._told[source] = True

    cdef bint add_known(self, int source, uint32_t row) noexcept:
        """What a table knows, as this source's word; whether there is anything."""
        cdef Py_ssize_t i
        if row == NONE:
            return False
        for i in range(self._known_at[row], self._known_at[row + 1]):
            self.add(source, self._known[i], self._known_share[i])
        return True

    cdef uint32_t of_syn(self, bytes syn, bint* exact) noexcept:
        """The row of a SYN's fingerprint, else that of its options' kinds; NONE for neither."""
        cdef unsigned char kinds[LONGEST_LAYOUT]
        cdef uint32_t row = self._syns.find(
            hash_bytes(<const unsigned char*>PyBytes_AS_STRING(syn), PyBytes_GET_SIZE(syn), SEED_STRING)
        )
        exact[0] = row != NONE
        if row == NONE:
            row = self._layouts.find(hash_bytes(kinds, layout(syn, kinds), SEED_STRING))
        return row

    cdef uint32_t of_hello(self, bytes hello) noexcept:
        """The row of a ClientHello's fingerprint; NONE when there is none."""
        return self._hellos.find(
            hash_bytes(<const unsigned char*>PyBytes_AS_STRING(hello), PyBytes_GET_SIZE(hello), SEED_STRING)
        )

    cdef list answer(self, double by_process, double by_syn, bint releases):
        """What is told: [{name, family, version, score}], best first, a family once.

        ``releases``: one that stands out is named. Of what is only like something known it is not: families
        stay, and releases follow one another within months.
        The arguments say how far each source is believed, 0 to 1. With one source alone what is not
        believed is told of no system; with both, it is spread evenly.
        """
        cdef double believed[SOURCES]
        cdef double totals[SOURCES]
        cdef double score[MOST_FAMILIES]
        cdef double within[MOST_FAMILIES]
        cdef double best_share[MOST_FAMILIES]
        cdef Py_ssize_t best[MOST_FAMILIES]
        cdef double total = 0.0, share
        cdef Py_ssize_t f, i, s
        cdef bint both = self._told[BY_PROCESS] and self._told[BY_SYN]
        out = []
        if not (self._told[BY_PROCESS] or self._told[BY_SYN]):
            return out
        believed[BY_PROCESS], believed[BY_SYN] = by_process, by_syn
        for s in range(SOURCES):
            totals[s] = 0.0
            for f in range(self._families):
                totals[s] += self._sums[s][f]
            if totals[s] <= 0.0:
                totals[s] = 1.0
        for f in range(self._families):
            score[f], within[f], best_share[f], best[f] = 1.0, 0.0, 0.0, -1
            for s in range(SOURCES):
                if self._told[s]:
                    share = believed[s] * self._sums[s][f] / totals[s]
                    score[f] *= share + (1.0 - believed[s]) / self._families if both else share
            total += score[f]
        # Within each family: which release both sources speak for most.
        for i in range(self._count):
            if self._shares[i] == 0.0 and self._shares[self._count + i] == 0.0:
                continue
            f, share = self._family[i], 1.0
            for s in range(SOURCES):
                if self._told[s] and self._sums[s][f] > 0.0:
                    share *= self._shares[s * self._count + i] / self._sums[s][f] + FLOOR * both
            within[f] += share
            if share > best_share[f]:
                best[f], best_share[f] = i, share
        for f in range(self._families):
            if both:
                score[f] /= total
            if score[f] < LEAST:
                continue
            family = self._family_names[f]
            if releases and within[f] > 0.0 and best_share[f] / within[f] >= NAMED:
                name, _, version = self.names[best[f]]
                out.append({
                    "name": name, "family": family, "version": version,
                    "score": score[f] * best_share[f] / within[f],
                })
            else:
                out.append({
                    "name": FAMILY_NAMES.get(family, family), "family": family, "version": "",
                    "score": score[f],
                })
        if len(out) > 1:
            out.sort(key=by_score)
        return out


def by_score(system):
    """Sorts the best first."""
    return -system["score"]
