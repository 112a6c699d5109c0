"""The TLS connections of one partition that are decrypted: their records, out of streams of their own.

A connection is followed from the hellos that the flow table recognises, wherever in the flow they are.
What is kept of it is bounded: a window for each direction, so much while its secrets are not in the
key log yet, and so much of all of a partition's connections together.
"""

from bisect import bisect_left, bisect_right
from collections import OrderedDict

from vermilion_fingerprint.streams cimport Stream
from vermilion_fingerprint.cursor import Malformed

cdef enum:
    FIN = 1
    SYN = 2
    RST = 4
    # A record is 18 KiB at most (RFC 5246 6.2.3); the rest is for segments out of order.
    WINDOW = 1 << 20
    MAX_RECORD = (1 << 14) + 2048
    HEADER = 5
    FIRST_TYPE = 20
    LAST_TYPE = 24
    # A key log may be written a little after the records: waited for so long, by packet time, and
    # for so many bytes of a direction.
    PATIENCE = 5_000_000
    MAX_WAITING = 1 << 18
    # What a connection costs in memory beside bytes in streams and of messages: keys, tables.
    CONNECTION_BYTES = 12_000

HELD = 1 << 26


cdef class Half:
    """One direction of a connection."""

    def __cinit__(self, Stream stream, bint client):
        self.stream = stream
        self.client = client

    cdef object place(self, make, Py_ssize_t start, Py_ssize_t end):
        """Where what the stream has from ``start`` to ``end`` was, a Place."""
        cdef list starts = self.stream._starts
        cdef Py_ssize_t first = bisect_right(starts, start) - 1, last = bisect_left(starts, end) - 1
        seq = (self.stream.base + start) & 0xFFFFFFFF
        return make(self.stream._times[first], seq, self.passed + first, self.passed + last)

    cdef int step_over(self, Py_ssize_t count) except -1:
        """What is read is forgotten."""
        if count < self.stream.length:
            self.passed += bisect_right(self.stream._starts, count) - 1
        else:
            self.passed += len(self.stream._starts)
        self.stream.step_over(count)
        return 0


cdef class Decrypting:
    """The connections of one partition, by the secrets in ``keys``, a KeyLog.

    ``held``: bytes that they take; more than ``limit`` costs the oldest its decryption, first of those
    that wait for secrets: most connections never have any.
    """

    def __init__(self, keys, Py_ssize_t limit=HELD):
        # Only here: without a key log nothing of cryptography and hpack is loaded.
        from vermilion_fingerprint.decrypt.inside import Inside, NotHttp, Place
        from vermilion_fingerprint.decrypt.session import Ended, Session

        self.keys = keys
        self._limit = limit
        self._connections, self._waiting = OrderedDict(), OrderedDict()
        self._counts = {}
        self._session, self._inside, self._place = Session, Inside, Place
        self._ended, self._not_http = Ended, NotHttp

    cdef int count(self, tuple what, int times=1) except -1:
        self._counts[what] = self._counts.get(what, 0) + times
        return 0

    def take_counts(self):
        """What was counted, which begins again at nothing."""
        counts, self._counts = self._counts, {}
        return counts

    cdef Connection connection(self):
        cdef Connection made = Connection.__new__(Connection)
        made._owner, made._session, made._since, made._told = self, self._session(self.keys), -1, []
        self._connections[made] = None
        self.weigh(made)
        return made

    cdef int weigh(self, Connection connection) except -1:
        """Account for what it holds now, and make room."""
        cdef Half half
        cdef Py_ssize_t now = CONNECTION_BYTES
        cdef Connection oldest
        if connection not in self._connections:
            return 0
        for half in (connection.low, connection.high):
            if half is not None:
                now += half.stream.held + (half.inside.cost if half.inside is not None else 0)
        self.held += now - connection.held
        connection.held = now
        while self.held > self._limit and self._connections:
            oldest = next(iter(self._waiting or self._connections))
            oldest._give_up("memory")
            self.drop(oldest)
        return 0

    cdef int wait(self, Connection connection) except -1:
        """It waits for secrets."""
        if connection in self._connections:
            self._waiting[connection] = None
        return 0

    cdef int drop(self, Connection connection) except -1:
        """Forget it."""
        self._waiting.pop(connection, None)
        if self._connections.pop(connection, self) is None:
            self.held -= connection.held
            connection.held = 0
            connection.over = True
        return 0


cdef class Connection:
    """One connection. What ``segment``, ``look`` and ``finish`` give: (of the lower end, Told) each."""

    cdef bint waits(self):
        """Whether it waits for what may come without a segment of its own: secrets."""
        return self._since >= 0

    cdef bint done(self):
        """Whether nothing more can come of the directions that it has."""
        return self.over or (
            (self.low is None or self.low.ended) and (self.high is None or self.high.ended)
        )

    cdef int begin(self, bint low, bint client, Stream stream, Py_ssize_t begin) except -1:
        """Follow a direction from its first hello on."""
        if self.over or (self.low if low else self.high) is not None:
            return 0
        cdef Half half = Half(stream.behind(begin, WINDOW), client)
        half.inside = self._owner._inside(server=not client)
        if low:
            self.low = half
        else:
            self.high = half
        return 0

    cdef list segment(self, bint low, dict record, long long time):
        """Take a segment."""
        cdef Half half = self.low if low else self.high
        cdef long long seq = record["seq"]
        cdef int flags = record["flags"]
        cdef bytes payload = record["payload"]
        if half is not None and not half.ended and not flags & (RST | SYN):
            if payload or record["missing"]:
                half.stream.add(seq, payload, time, record["missing"])
            if flags & FIN:
                half.stream.fin(seq + len(payload) + <Py_ssize_t>record["missing"])
            if half.stream.overflowed():
                self._end(half, "gap")
        return self.look(time)

    cdef list look(self, long long time):
        """Open what can be opened; what waits too long is given up."""
        cdef Half half
        self._read_all(time)
        for half in (self.low, self.high):
            if half is not None and not half.ended and half.blocked and (
                time - self._since > PATIENCE or half.stream.length > MAX_WAITING
            ):
                self._give_up(self._session.lacks)
                break
        self._owner.weigh(self)
        told, self._told = self._told, []
        return told

    cdef list finish(self, long long time):
        """Nothing more will come."""
        cdef Half half
        self._read_all(time)
        for half in (self.low, self.high):
            if half is not None and not half.ended:
                if half.blocked:
                    self._give_up(self._session.lacks)
                else:
                    # A connection may just stop between two records; within one, or before a gap, it is cut.
                    self._end(half, "gap" if half.stream.has_gap() else "cut" if half.stream.length else None)
        self._owner.drop(self)
        told, self._told = self._told, []
        return told

    cdef int _read_all(self, long long time) except -1:
        """Each direction as far as it goes: what one brings may be what the other waits for."""
        cdef Half half
        went_on = True
        while went_on:
            went_on = False
            for half in (self.low, self.high):
                if half is not None and not half.ended:
                    went_on = self._read(half) or went_on
        if any([half is not None and half.blocked and not half.ended for half in (self.low, self.high)]):
            if self._since < 0:
                self._since = time
                self._owner.wait(self)
        elif self._since >= 0:
            self._since = -1
            self._owner._waiting.pop(self, None)
        return 0

    cdef bint _read(self, Half half) except -1:
        """Whether a direction went on."""
        cdef Stream stream = half.stream
        cdef Py_ssize_t count = 0
        cdef int opened = self._session.opened, early = self._session.early_data
        if stream.length >= half.needed and stream.length > 0:
            half.blocked = False
            try:
                count = self._records(half, stream.head())
            except self._owner._ended as ended:
                self._end(half, ended.reason)
                count = 1
            if self._session.opened > opened:
                if opened == 0:
                    self._owner.count(("tls_connections_decrypted", self._session.version))
                self._owner.count(("tls_records_decrypted",), self._session.opened - opened)
            if self._session.early_data > early:
                self._owner.count(("tls_early_data_skipped",), self._session.early_data - early)
            if half.ended:
                return True
        if count:
            half.step_over(count)
        if stream.ended() and not half.blocked:
            # By FIN it ends where it should, but for a record cut off; else bytes are missing.
            self._end(half, "missing" if stream._holes else "cut" if stream.length else None)
        return count > 0

    cdef int _records(self, Half half, bytes data) except -1:
        """Open the records at the start of ``data``; how many bytes they are. Raises Ended."""
        cdef Py_ssize_t at = 0, here = len(data), length
        cdef const unsigned char* p = data
        half.needed = 0
        while True:
            if here - at < HEADER:
                half.needed = HEADER
                return at
            length = (p[at + 3] << 8) | p[at + 4]
            if not FIRST_TYPE <= p[at] <= LAST_TYPE or p[at + 1] != 3 or length > MAX_RECORD:
                raise self._owner._ended("record_header")
            if here - at < HEADER + length:
                half.needed = HEADER + length
                return at
            opened = self._session.open(
                half.client, p[at], (p[at + 1] << 8) | p[at + 2], data[at + HEADER:at + HEADER + length]
            )
            if opened is None:
                half.blocked = True
                return at
            if opened:
                self._tell(half, half.inside.feed(opened, half.place(self._owner._place, at, at + HEADER + length)))
                if half.ended:
                    return at
            at += HEADER + length

    cdef int _tell(self, Half half, messages) except -1:
        """Tell the messages of a direction."""
        try:
            for told in messages:
                self._told.append((half is self.low, told))
        except self._owner._not_http:
            self._end(half, "not_http")
        except Malformed as bad:
            self._owner.count(("parse_errors", "tls_decrypt", bad.field))
            self._end(half, "malformed")
        if half.inside is not None and half.inside.done:
            half.ended = True
            half.inside = None
            half.stream = Stream(0)
        return 0

    cdef int _end(self, Half half, reason) except -1:
        """Nothing more of this direction is opened; why, where that is not its own end."""
        if half.ended:
            return 0
        half.ended = True
        inside, half.inside = half.inside, None
        half.stream = Stream(0)
        if reason is not None:
            self._owner.count(("tls_decryption_ended", reason))
        if inside is not None and reason != "not_http" and reason != "malformed":
            self._tell(half, inside.finish())
        return 0

    cdef int _give_up(self, str reason) except -1:
        """The whole connection."""
        cdef Half half
        for half in (self.low, self.high):
            if half is not None and not half.ended:
                self._end(half, reason)
        return 0
