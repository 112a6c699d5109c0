"""pmercury's weighted naive Bayes over the processes of one fingerprint.

For a process seen ``c`` times of ``T``, at ``n`` of those with a destination's class:
``3 ln(c/T) + sum over AS, domain, port of ln(n/c)``, each logarithm bounded below, and a class
never seen with the process counted as ln 1e-8. Source: docs/inference.md.
"""

from libc.math cimport exp, fmax, log
from cpython.mem cimport PyMem_Free, PyMem_Malloc

# Bounds as the database's makers had them, decimals included: scores must agree to 1e-9.
cdef double NEVER = -18.42068
cdef double RARELY = -4.60517
cdef double PRIOR_WEIGHT = 3.0

cdef tuple FEATURES = ("classes_ip_as", "classes_hostname_domains", "classes_port_applications")


cdef class Entry:
    """What is known of one fingerprint: its processes, their counts, and where they went."""

    cdef readonly list names, hashes, categories
    cdef readonly long long total
    cdef double* _prior
    cdef Py_ssize_t _rows
    cdef dict _systems, _domains, _ports  # class -> [(row, what it adds)]

    def __cinit__(self):
        self._prior = NULL

    def __dealloc__(self):
        PyMem_Free(self._prior)

    def __init__(self, long long total, list rows):
        """``rows``: dictionaries of the database's ``process_info``, already validated."""
        cdef Py_ssize_t i
        self.total = total
        self._rows = len(rows)
        self.names = [row["process"] for row in rows]
        self.hashes = [row.get("sha256") for row in rows]
        self.categories = [row.get("application_category") for row in rows]
        self._prior = <double*>PyMem_Malloc(max(1, self._rows) * sizeof(double))
        if self._prior == NULL:
            raise MemoryError
        for i in range(self._rows):
            self._prior[i] = PRIOR_WEIGHT * fmax(log(<double>rows[i]["count"] / total), NEVER) + 3 * NEVER
        self._systems, self._domains, self._ports = [
            _gains(rows, feature) for feature in FEATURES
        ]

    def rank(self, str system, str domain, str port):
        """Probabilities of the processes, best first: [(probability, row)].

        Equal ones stand in the database's order.
        """
        cdef Py_ssize_t i
        cdef double total = 0.0, gain
        cdef double* score = <double*>PyMem_Malloc(max(1, self._rows) * sizeof(double))
        if score == NULL:
            raise MemoryError
        try:
            for i in range(self._rows):
                score[i] = self._prior[i]
            for table, value in ((self._systems, system), (self._domains, domain), (self._ports, port)):
                for i, gain in table.get(value, ()):
                    score[i] += gain
            for i in range(self._rows):
                score[i] = exp(score[i])
                total += score[i]
            if total == 0.0:
                return [(0.0, i) for i in range(self._rows)]
            ranked = [(score[i] / total, i) for i in range(self._rows)]
        finally:
            PyMem_Free(score)
        ranked.sort(key=_descending)
        return ranked


def _descending(pair):
    return -pair[0]


cdef dict _gains(list rows, str feature):
    """class -> [(row, log-likelihood above that of a class never seen)]"""
    cdef dict out = {}
    for i, row in enumerate(rows):
        for value, seen in row.get(feature, {}).items():
            gain = fmax(log(<double>seen / <double>row["count"]), RARELY) - NEVER
            out.setdefault(value, []).append((i, gain))
    return out
