"""The forms in which a TLS fingerprint is looked up, made from the string itself.

A string is ``(version)(cipher suites)((extension)(extension)...)``, hexadecimal, extensions in the
order sent; in mercury's form ``tls/1/(version)(cipher suites)[(extension)...]`` they are sorted.

* *wire*: mercury's ``tls/``: as sent, with the bodies that it keeps.
* *sorted*: mercury's ``tls/1/``. A client that permutes its extensions has one.
* *stable*: as sorted, without the extensions that come and go with the session.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint16_t, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memcmp, memcpy

from vermilion_classify.hashing cimport SEED_GRAM, SEED_TOKEN, hash_bytes, hash_number

cdef enum:
    # How much of the extensions a written form keeps.
    AS_GIVEN = 0
    MERCURYS = 1
    STABLE = 2
    GREASE = 0x0A0A
    # Suites in a row that make one key of the index of likeness.
    GRAM = 3
    VERSION_TOKEN = 1 << 20
    SUITE_TOKEN = 1 << 21


class FormError(ValueError):
    """A string that is no TLS fingerprint; says where in it and what was expected."""


cdef object wrong(Py_ssize_t offset, str expected):
    return FormError(f"no TLS fingerprint: {expected} expected at offset {offset}")


cdef int compare(const void* one, const void* two) noexcept nogil:
    cdef const Piece* a = <const Piece*>one
    cdef const Piece* b = <const Piece*>two
    cdef int order = memcmp(a.data, b.data, min(a.size, b.size))
    if order:
        return order
    return -1 if a.size < b.size else a.size > b.size


cdef inline int digit(unsigned char c) noexcept:
    if 48 <= c <= 57:
        return c - 48
    return c - 87 if 97 <= c <= 102 else -1


cdef inline int u16_at(const unsigned char* at) noexcept:
    """Four lower-case hexadecimal digits; -1 for anything else."""
    cdef int a = digit(at[0]), b = digit(at[1]), c = digit(at[2]), d = digit(at[3])
    return -1 if (a | b | c | d) < 0 else a << 12 | b << 8 | c << 4 | d


cdef inline bint grease(int code) noexcept:
    return (code & 0x0F0F) == GREASE and code >> 8 == code & 0xFF


cdef inline bint data_kept(int type) noexcept:
    """Whether mercury's forms have the body of an extension of this type."""
    return type in (
        0x0001, 0x0005, 0x0007, 0x0008, 0x0009, 0x000A, 0x000B, 0x000D, 0x000F, 0x0010, 0x0011,
        0x0018, 0x001B, 0x001C, 0x002B, 0x002D, 0x0032, 0x5500,
    )


cdef inline bint of_the_session(int type) noexcept:
    """padding (RFC 7685), session_ticket (RFC 5077), pre_shared_key, early_data, cookie (RFC 8446)."""
    return type in (21, 35, 41, 42, 44)


cdef class Parsed:
    """One fingerprint string. Raises FormError when it is none."""

    def __cinit__(self, bytes text not None):
        cdef Py_ssize_t size = len(text), i
        self.text = text
        self._data = <const unsigned char*>PyBytes_AS_STRING(text)
        cdef const unsigned char* p = self._data
        cdef const unsigned char* end = p + size
        # At most one extension for each "(....)" of the text.
        cdef Py_ssize_t room = size // 6 + 1
        self._starts = <Py_ssize_t*>PyMem_Malloc(room * sizeof(Py_ssize_t))
        self._sizes = <Py_ssize_t*>PyMem_Malloc(room * sizeof(Py_ssize_t))
        self._types = <uint16_t*>PyMem_Malloc(room * sizeof(uint16_t))
        if not (self._starts and self._sizes and self._types):
            raise MemoryError
        if size >= 6 and memcmp(p, <const char*>b"tls/1/", 6) == 0:
            p += 6
        elif size >= 4 and memcmp(p, <const char*>b"tls/", 4) == 0:
            p += 4
        if end - p < 6 or p[0] != 40 or u16_at(p + 1) < 0 or p[5] != 41:
            raise wrong(p - self._data, "(version), four hexadecimal digits")
        self._version = p + 1 - self._data
        p += 6
        if p == end or p[0] != 40:
            raise wrong(p - self._data, "(cipher suites)")
        p += 1
        self._suites = p - self._data
        while end - p >= 4 and p[0] != 41 and u16_at(p) >= 0:
            p += 4
        self._suite_count = (p - self._data - self._suites) // 4
        if p == end or p[0] != 41:
            raise wrong(p - self._data, "a cipher suite, four hexadecimal digits")
        p += 1
        if p == end or (p[0] != 40 and p[0] != 91):
            raise wrong(p - self._data, "((extensions)) or [(extensions)]")
        cdef unsigned char close = 41 if p[0] == 40 else 93
        p += 1
        while p < end and p[0] == 40:
            i = self._count
            self._starts[i] = p + 1 - self._data
            p += 1
            if end - p < 5 or u16_at(p) < 0:
                raise wrong(p - self._data, "an extension's type, four hexadecimal digits")
            self._types[i] = <uint16_t>u16_at(p)
            while p < end and digit(p[0]) >= 0:
                p += 1
            if p == end or p[0] != 41:
                raise wrong(p - self._data, "an extension's end")
            self._sizes[i] = p - self._data - self._starts[i]
            self._count += 1
            p += 1
        if end - p != 1 or p[0] != close:
            raise wrong(p - self._data, "the end of the extensions")

    def __dealloc__(self):
        PyMem_Free(self._starts)
        PyMem_Free(self._sizes)
        PyMem_Free(self._types)


    cdef uint16_t suite(self, Py_ssize_t i) noexcept:
        return <uint16_t>u16_at(self._data + self._suites + 4 * i)

    cdef Py_ssize_t tokens(self, uint64_t* out, Py_ssize_t room) noexcept:
        """Version, suites and extensions in order, a number each; -1 when there are more than ``room``."""
        cdef Py_ssize_t i, total = 1 + self._suite_count + self._count
        if total > room:
            return -1
        out[0] = hash_number(VERSION_TOKEN | u16_at(self._data + self._version), SEED_TOKEN)
        out += 1
        for i in range(self._suite_count):
            out[i] = hash_number(SUITE_TOKEN | self.suite(i), SEED_TOKEN)
        out += self._suite_count
        for i in range(self._count):
            out[i] = hash_bytes(self._data + self._starts[i], self._sizes[i], SEED_TOKEN)
        return total

    cdef Py_ssize_t grams(self, uint64_t* out, Py_ssize_t room) noexcept:
        """What likeness is searched by: suites by threes, and extensions; -1: more than ``room``."""
        cdef Py_ssize_t i, runs = max(1, self._suite_count - GRAM + 1), total = runs + self._count
        if total > room:
            return -1
        for i in range(runs):
            out[i] = hash_bytes(
                self._data + self._suites + 4 * i, 4 * min(GRAM, self._suite_count), SEED_GRAM
            )
        out += runs
        for i in range(self._count):
            out[i] = hash_bytes(self._data + self._starts[i], self._sizes[i], SEED_GRAM)
        return total

    cdef bytes written(self, bytes prefix, bint sorted_, int keep):
        """The string with ``prefix``, extensions sorted or as they are, with what ``keep`` says of them."""
        cdef Py_ssize_t i, count = 0, size = PyBytes_GET_SIZE(prefix)
        cdef Py_ssize_t head = 9 + 4 * self._suite_count  # "(vvvv)(" suites ")" and a bracket
        cdef Piece* pieces = <Piece*>PyMem_Malloc((self._count + 1) * sizeof(Piece))
        cdef bytes out
        cdef char* p
        if pieces == NULL:
            raise MemoryError
        try:
            size += head + 1
            for i in range(self._count):
                if keep == STABLE and of_the_session(self._types[i]):
                    continue
                pieces[count] = self._piece(i, keep)
                size += pieces[count].size + 2
                count += 1
            if sorted_:
                qsort(pieces, count, sizeof(Piece), compare)
            out = PyBytes_FromStringAndSize(NULL, size)
            p = PyBytes_AS_STRING(out)
            memcpy(p, PyBytes_AS_STRING(prefix), PyBytes_GET_SIZE(prefix))
            p += PyBytes_GET_SIZE(prefix)
            memcpy(p, self._data + self._version - 1, head - 1)
            p[head - 1] = 91 if sorted_ else 40
            p += head
            for i in range(count):
                p[0] = 40
                memcpy(p + 1, pieces[i].data, pieces[i].size)
                p[pieces[i].size + 1] = 41
                p += pieces[i].size + 2
            p[0] = 93 if sorted_ else 41
            return out
        finally:
            PyMem_Free(pieces)

    cdef Piece _piece(self, Py_ssize_t i, int keep) noexcept:
        cdef Piece piece
        piece.data = self._data + self._starts[i]
        piece.size = self._sizes[i]
        if keep == AS_GIVEN:
            return piece
        # mercury takes 256 types for GREASE where RFC 8701 has sixteen, and tells them all alike.
        if (self._types[i] & 0x0F0F) == GREASE:
            piece.data = <const unsigned char*>b"0a0a"
            piece.size = 4
        elif not data_kept(self._types[i]):
            piece.size = 4
        return piece


cdef bytes wire_form(Parsed parsed):
    return parsed.written(b"tls/", False, MERCURYS)


cdef bytes sorted_form(Parsed parsed):
    return parsed.written(b"tls/1/", True, MERCURYS)


cdef bytes stable_form(Parsed parsed):
    return parsed.written(b"stable/", True, STABLE)


def forms(str fingerprint not None) -> dict:
    """A fingerprint's forms ``wire``, ``sorted`` and ``stable``, its ``suites`` and ``extensions`` (types).

    Raises FormError.
    """
    cdef Parsed parsed = Parsed(fingerprint.encode())
    return {
        "wire": wire_form(parsed).decode(),
        "sorted": sorted_form(parsed).decode(),
        "stable": stable_form(parsed).decode(),
        "suites": [parsed.suite(i) for i in range(parsed._suite_count)],
        "extensions": [parsed._types[i] for i in range(parsed._count)],
    }


def tokens(str fingerprint not None) -> list:
    """What is aligned: a number for the version, each suite and each extension; none where there are too many.

    Raises FormError.
    """
    cdef uint64_t out[MOST_TOKENS]
    cdef Parsed parsed = Parsed(fingerprint.encode())
    return [out[i] for i in range(max(0, parsed.tokens(out, MOST_TOKENS)))]


def grams(str fingerprint not None) -> list:
    """What likeness is searched by: a number for each run of three suites and each extension.

    None where there are too many. Raises FormError.
    """
    cdef uint64_t out[2 * MOST_TOKENS]
    cdef Parsed parsed = Parsed(fingerprint.encode())
    return [out[i] for i in range(max(0, parsed.grams(out, 2 * MOST_TOKENS)))]
