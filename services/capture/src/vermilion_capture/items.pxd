from vermilion_capture.packet cimport Segment


cdef class Origin:
    cdef readonly str sensor, run
    cdef readonly bint replayed
    cdef bytes _prefix


cdef class Item:
    cdef readonly bytes key
    cdef readonly str kind
    cdef readonly long long time
    cdef dict _record
    cdef Origin _origin
    cdef Segment _segment
    cdef long long _ordinal
    cdef bytes _payload
    cdef Py_ssize_t _missing


cdef Item made(
    bytes key, Origin origin, Segment found, long long time, long long ordinal, bytes payload, Py_ssize_t missing
)
