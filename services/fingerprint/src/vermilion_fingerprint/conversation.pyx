"""What one direction of a UDP flow says in one protocol: datagrams in, messages out.

A message may lie in several datagrams, which may come in any order, more than once, and overlap. So
its bytes go into a stream (``assembly``) that begins at 0 and knows which datagram brought which.
"""

from vermilion_fingerprint.cursor cimport Cursor
from vermilion_fingerprint.streams cimport Stream
from vermilion_fingerprint.cursor import Malformed, NeedMore


cdef class Received:
    """A hello that came in datagrams.

    ``name``: the event's type; ``hello``: the message itself; ``time``: packet time of the first of
    its datagrams, in microseconds; ``reassembled``: they are more than one; ``seq``: where it begins,
    as its protocol counts.
    """

    cdef int _fill(self, str name, hello, long long seq, long long time, bint reassembled) except -1:
        self.name = name
        self.hello = hello
        self.seq = seq
        self.time = time
        self.reassembled = reassembled
        return 0

    @property
    def truncated(self):
        """Its end was never seen."""
        return self.hello.truncated

    def context(self):
        """What the event tells beside the fingerprint, as the event's schema has it."""
        return self.hello.context()

    def readable(self):
        """The message in words, for people."""
        return self.hello.readable()


cdef Stream assembly(Py_ssize_t limit):
    """A stream that begins at 0."""
    cdef Stream stream = Stream(limit)
    stream.syn(-1)
    return stream


cdef class Conversation:
    """One direction in one protocol; a protocol has its own, which says how a datagram is read.

    ``limit``: so many bytes of a message are kept at most.
    """

    def __cinit__(self, Py_ssize_t limit):
        self._limit = limit
        self._times = []
        self.counts = []

    def take(self, bytes datagram not None, Py_ssize_t missing, long long time):
        """The messages that this datagram completes. ``missing``: of its end, so many bytes are not here."""
        cdef Cursor cursor = Cursor.__new__(Cursor, datagram, len(datagram) + missing)
        self._messages = []
        self._times.append(time)
        try:
            self._read(cursor)
        except Malformed as error:
            self._bad(error)
        except NeedMore:
            self.counts.append(("datagrams_cut", self._name))
        return self._messages

    def finish(self):
        """Nothing more will come: what is unfinished, as far as it goes."""
        self._messages = []
        self._last()
        self.done = True
        return self._messages

    cdef int _read(self, Cursor datagram) except -1:
        """Read a datagram. Raises Malformed, and NeedMore where the capture cut it off."""
        return 0

    cdef int _last(self) except -1:
        """Tell what is unfinished."""
        return 0

    cdef Py_ssize_t held(self):
        """Bytes in memory."""
        return 0

    cdef int _bad(self, error) except -1:
        self.counts.append(("parse_errors", self._name, error.field))
        return 0

    cdef int _keep(self, Stream stream, Py_ssize_t offset, bytes data) except -1:
        """Take the bytes of this datagram that begin at ``offset`` of the stream."""
        if data:
            stream.add(offset, data, len(self._times) - 1, 0)
        if stream.overflowed():
            self.counts.append(("gaps_given_up", "pieces"))
            self.done = True
        return 0

    cdef int _tell(
        self, Received message, str name, hello, long long seq, Stream stream, Py_ssize_t size
    ) except -1:
        """A message of the stream's first ``size`` bytes is here."""
        cdef list numbers = stream.times(0, size)
        cdef Py_ssize_t first = min(numbers)
        message._fill(name, hello, seq, self._times[first], first != <Py_ssize_t>max(numbers))
        self._messages.append(message)
        return 0
