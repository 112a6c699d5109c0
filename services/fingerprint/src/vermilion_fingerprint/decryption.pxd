from vermilion_fingerprint.streams cimport Stream


cdef class Half:
    cdef Stream stream
    cdef readonly bint client
    cdef bint ended, blocked
    cdef Py_ssize_t needed   # so many bytes must be here before it is worth looking
    cdef Py_ssize_t passed   # so many segments have been stepped over
    cdef object inside       # what reads the application data

    cdef object place(self, make, Py_ssize_t start, Py_ssize_t end)
    cdef int step_over(self, Py_ssize_t count) except -1


cdef class Decrypting:
    cdef readonly object keys
    cdef readonly Py_ssize_t held
    cdef Py_ssize_t _limit
    cdef object _connections, _waiting, _session, _inside, _place, _ended, _not_http
    cdef dict _counts

    cdef int count(self, tuple what, int times=*) except -1
    cdef Connection connection(self)
    cdef int weigh(self, Connection connection) except -1
    cdef int wait(self, Connection connection) except -1
    cdef int drop(self, Connection connection) except -1


cdef class Connection:
    cdef Decrypting _owner
    cdef object _session
    cdef Half low, high
    cdef readonly Py_ssize_t held
    cdef bint over              # forgotten: nothing more is taken
    cdef long long _since       # packet time since which it waits for what it lacks; -1: it does not
    cdef list _told

    cdef bint waits(self)
    cdef bint done(self)
    cdef int begin(self, bint low, bint client, Stream stream, Py_ssize_t begin) except -1
    cdef list segment(self, bint low, dict record, long long time)
    cdef list look(self, long long time)
    cdef list finish(self, long long time)
    cdef int _read_all(self, long long time) except -1
    cdef bint _read(self, Half half) except -1
    cdef int _records(self, Half half, bytes data) except -1
    cdef int _tell(self, Half half, messages) except -1
    cdef int _end(self, Half half, reason) except -1
    cdef int _give_up(self, str reason) except -1
