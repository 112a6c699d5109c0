"""Unfinished flows of one partition, and the events that come out of them.

A flow begins with its record number 0 (``ordinal``, counted by the source) and is forgotten when
both directions are done. A later record of a forgotten flow is no new flow: its ordinal is above
0. So nothing need be remembered of what is done, and a rebuild from the low-water mark can
neither repeat nor invent an event. An event depends on its own flow's records alone.
"""

from hashlib import blake2b
from socket import AF_INET, AF_INET6, inet_ntop

from vermilion_fingerprint.cursor import Cursor, Malformed, NeedMore
from vermilion_fingerprint.protocols import PROTOCOLS
from vermilion_fingerprint.streams cimport Stream
from vermilion_pipeline.flowid import community_id

cdef enum:
    FIN = 1
    SYN = 2
    # A stream whose SYN was not seen may begin earlier than its first segment to arrive; so long
    # its head may turn out to be another one.
    UNSETTLED_BYTES = 4096
    UNSETTLED_TRIES = 256
    # Messages told of one direction: a head full of tiny requests must not cost its square.
    MAX_MESSAGES = 256
    CHECK_EVERY = 4096
    # Bytes that may be looked at again: a direction has so many to begin with, and more with each of
    # its segments. A message in thousands of tiny records, which asks for little each time, must
    # not cost its square; any other is told with its last segment.
    FIRST_CREDIT = 1 << 20
    SEGMENT_CREDIT = 4096
    # What a flow costs in memory beside the bytes of its streams.
    FLOW_BYTES = 1500


# Packet times that a date can have, in microseconds: the years 1970 to 9999.
cdef long long LAST_TIME = 253_402_300_800 * 1_000_000


class InvalidRecord(ValueError):
    """A payload record with a field that cannot be: ``field`` says which."""

    def __init__(self, str field, value):
        super().__init__(f"{field} cannot be {value!r}")
        self.field = field


class Limits:
    """Bounds of a partition's memory. Times are packet time in microseconds.

    ``span``: so many offsets after its last record a run counts as over. It bounds what a rebuild
    reads when a source died without its end mark, so that no clock of the run goes on.
    """

    def __init__(
        self, head=1 << 16, idle=60_000_000, life=600_000_000, flows=100_000, held=1 << 28, span=1_000_000
    ):
        self.span = span
        self.head = head
        self.idle = idle
        self.life = life
        self.flows = flows
        self.held = held


cdef class Direction:
    """One direction of a flow and what has been recognised in it."""

    cdef bytes src_ip, dst_ip
    cdef int src_port, dst_port
    cdef Stream stream
    cdef tuple candidates       # what may begin at ``offset``
    cdef object protocol        # what does
    cdef Py_ssize_t offset      # where the next message begins in the stream
    cdef Py_ssize_t needed      # so many bytes must be here before it is worth trying again
    cdef Py_ssize_t credit      # bytes that may still be looked at
    cdef int tries, messages
    cdef bint opened            # its SYN without ACK was seen: this is the client's direction
    cdef bint done

    def __cinit__(self, Py_ssize_t limit, bytes source, bytes target):
        self.stream = Stream(limit)
        self.candidates = PROTOCOLS
        self.credit = FIRST_CREDIT
        self.src_ip, self.src_port = source[:len(source) - 2], int.from_bytes(source[len(source) - 2:], "big")
        self.dst_ip, self.dst_port = target[:len(target) - 2], int.from_bytes(target[len(target) - 2:], "big")

    cdef bint settled(self):
        """Whether the stream's first byte is certain."""
        return (
            self.stream.anchored
            or self.stream.length >= UNSETTLED_BYTES
            or self.tries >= UNSETTLED_TRIES
            or self.messages > 0
        )

    cdef int restart(self) except -1:
        """The stream begins earlier than it seemed: look at it anew."""
        self.candidates = PROTOCOLS
        self.protocol = None
        self.offset = self.needed = 0
        return 0


cdef class Flow:
    cdef long long first_offset, started, last
    cdef tuple path  # sensor, run, VLANs, VNI, transport: its identity beside its end points
    cdef bint replayed
    cdef Direction low, high


cdef class Run:
    """The flows of one (sensor, run), oldest first."""

    cdef dict flows
    cdef long long last_offset

    def __cinit__(self):
        self.flows = {}


cdef class FlowTable:
    """What one partition remembers. Methods append finished events to ``events``.

    ``counts``: (metric, label, ...) -> how often, since the last ``take_counts``.
    """

    cdef readonly list events
    cdef dict _counts, _runs
    cdef readonly Py_ssize_t flows, held
    cdef Py_ssize_t _head, _max_flows, _max_held
    cdef long long _idle, _life, _span, _next_check

    def __init__(self, limits):
        self.events = []
        self._counts = {}
        self._runs = {}
        self._head = limits.head
        self._idle = limits.idle
        self._life = limits.life
        self._max_flows = limits.flows
        self._max_held = limits.held
        self._span = limits.span

    cdef int _count(self, tuple what) except -1:
        self._counts[what] = self._counts.get(what, 0) + 1
        return 0

    def take_counts(self):
        """The counts, which begin again at nothing."""
        counts, self._counts = self._counts, {}
        return counts

    def low_water(self):
        """The offset of the oldest record that is still needed; None when nothing is remembered."""
        cdef Run run
        cdef Flow flow
        lowest = None
        for run in self._runs.values():
            for flow in run.flows.values():
                if lowest is None or flow.first_offset < lowest:
                    lowest = flow.first_offset
                break  # the first of a run is its oldest
        return lowest

    def segment(self, long long offset, dict record):
        """Take a segment, the record at ``offset`` of the partition. Raises InvalidRecord."""
        if offset >= self._next_check:
            self._drop_abandoned(offset)
        _check(record)
        cdef bytes source = record["src_ip"] + (<int>record["src_port"]).to_bytes(2, "big")
        cdef bytes target = record["dst_ip"] + (<int>record["dst_port"]).to_bytes(2, "big")
        cdef bint up = source <= target
        cdef tuple name = (record["sensor"], record["run"])
        cdef tuple path = (*name, tuple(record["vlans"]), record["vni"], record["transport"])
        cdef tuple key = (path, source, target) if up else (path, target, source)
        cdef long long time = record["time"], ordinal = record["ordinal"]
        cdef Run run = self._runs.get(name)
        cdef Flow flow = None if run is None else run.flows.get(key)
        if flow is not None and (ordinal == 0 or self._too_old(flow, time)):
            self._finish(run, key, flow)
            flow = None
        if flow is None:
            if ordinal != 0:
                self._count(("segments_of_finished_flows",))
            else:
                if run is None:
                    run = self._runs[name] = Run.__new__(Run)
                flow = run.flows[key] = Flow.__new__(Flow)
                flow.first_offset = offset
                flow.started = flow.last = time
                flow.path = path
                flow.replayed = record["replayed"]
                flow.low = Direction(self._head, key[1], key[2])
                flow.high = Direction(self._head, key[2], key[1])
                self.flows += 1
                self.held += FLOW_BYTES
        if run is not None:
            run.last_offset = offset
        if flow is not None:
            flow.last = max(flow.last, time)
            self._take(flow, flow.low if up else flow.high, record, time)
            if flow.low.done and flow.high.done:
                self._forget(run, key, flow)
            elif self.flows > self._max_flows or self.held > self._max_held:
                self._evict()
        if run is not None and not run.flows:
            self._runs.pop(name, None)

    cdef int _take(self, Flow flow, Direction direction, dict record, long long time) except -1:
        cdef Stream stream = direction.stream
        cdef int flags = record["flags"]
        cdef long long seq = record["seq"]
        cdef bytes payload = record["payload"]
        cdef Py_ssize_t held
        cdef long long base = stream.base
        if direction.done:
            return 0
        held = stream.held
        direction.credit = min(direction.credit + SEGMENT_CREDIT, FIRST_CREDIT)
        if flags & SYN:
            stream.syn(seq)
            seq += 1  # the SYN takes one number; data may ride on it (RFC 7413)
        if payload or record["missing"]:
            stream.add(seq, payload, time, record["missing"])
        if flags & FIN:
            stream.fin(seq + len(payload) + <Py_ssize_t>record["missing"])
        self.held += stream.held - held
        if base >= 0 and stream.base != base:
            direction.restart()
        if stream.overflowed():
            self._count(("gaps_given_up", "pieces"))
            self._advance(flow, direction, True)
        elif stream.ended():
            self._advance(flow, direction, True)
        elif stream.length >= direction.needed and direction.credit >= stream.length - direction.offset:
            self._advance(flow, direction, False)
        return 0

    cdef int _advance(self, Flow flow, Direction direction, bint final) except -1:
        """Recognise and parse what is there; ``final``: nothing will follow in this direction."""
        cdef bytes data = direction.stream.head()
        cdef bytes rest
        while not direction.done:
            if len(data) <= direction.offset:  # nothing of another message is here
                if final:
                    self._done(direction)
                return 0
            rest = data[direction.offset:] if direction.offset else data
            direction.credit -= len(rest)
            if direction.protocol is None and not self._recognise(direction, rest, final):
                return 0
            try:
                message = direction.protocol.parse(Cursor(rest), final)
            except NeedMore as more:
                direction.tries += 1
                direction.needed = direction.offset + more.total
                return 0
            except Malformed as bad:
                if final or direction.settled():
                    self._count(("parse_errors", direction.protocol.name, bad.field))
                    self._done(direction)
                else:
                    direction.tries += 1
                    direction.protocol = None
                    direction.needed = len(data) + 1
                return 0
            self._emit(flow, direction, message)
            self._follow(direction, message)
        return 0

    cdef int _follow(self, Direction direction, message) except -1:
        """Go on behind a message, to what may follow it there."""
        if message.end < 0 or not direction.protocol.followers or direction.messages >= MAX_MESSAGES:
            self._done(direction)
        else:
            direction.candidates = direction.protocol.followers
            direction.protocol = None
            direction.offset += message.end
            direction.needed = 0
        return 0

    cdef bint _recognise(self, Direction direction, bytes data, bint final) except -1:
        cdef Py_ssize_t needed = 0
        for protocol in direction.candidates:
            try:
                if protocol.matches(Cursor(data)):
                    direction.protocol = protocol
                    return True
            except NeedMore as more:
                needed = more.total if needed == 0 else min(needed, more.total)
        if final or (needed == 0 and direction.settled()):
            if direction.messages == 0:
                self._count(("streams_not_recognised",))
            self._done(direction)
        else:
            direction.tries += 1
            direction.needed = direction.offset + max(needed, len(data) + 1)
        return False

    cdef int _done(self, Direction direction) except -1:
        self.held -= direction.stream.held
        direction.stream = Stream(0)
        direction.done = True
        return 0

    cdef int _emit(self, Flow flow, Direction direction, message) except -1:
        cdef Py_ssize_t end = direction.offset + message.end if message.end > 0 else direction.stream.length
        self._event(
            flow, direction, direction.protocol.name, direction.stream.time_at(direction.offset),
            direction.protocol.fingerprint(message), message.context(), message.truncated,
            direction.stream.segments(direction.offset, end) > 1,
        )
        direction.messages += 1
        return 0

    cdef int _event(
        self, Flow flow, Direction direction, name, time, fingerprints, context, truncated, reassembled
    ) except -1:
        sensor, run, vlans, vni, transport = flow.path
        ends = (direction.src_ip, direction.dst_ip, direction.src_port, direction.dst_port, transport)
        identity = repr((sensor, run, vlans, vni, ends, name, direction.messages, time))
        family = AF_INET if len(direction.src_ip) == 4 else AF_INET6
        self.events.append({
            "event_id": blake2b(identity.encode(), digest_size=16).hexdigest(),
            "sensor": sensor,
            "run": run,
            "replayed": flow.replayed,
            "event_start": time,
            "community_id": community_id(*ends),
            "vlans": list(vlans),
            "vni": vni,
            "src_ip": inet_ntop(family, direction.src_ip),
            "dst_ip": inet_ntop(family, direction.dst_ip),
            "src_port": direction.src_port,
            "dst_port": direction.dst_port,
            "protocol": transport,
            "type": name,
            "fingerprints": fingerprints,
            name: context,
            "reassembled": reassembled,
            "truncated": truncated,
        })
        self._count(("events", name))
        if truncated:
            self._count(("messages_truncated", name))
        return 0

    cdef bint _too_old(self, Flow flow, long long time):
        return time - flow.last > self._idle or time - flow.started > self._life

    cdef int _drop_abandoned(self, long long offset) except -1:
        """Finish the flows of runs that have fallen silent.

        Looked at where the log passes a multiple of CHECK_EVERY: a rebuild finishes the same ones.
        """
        cdef Run run
        cdef Flow flow
        self._next_check = (offset // CHECK_EVERY + 1) * CHECK_EVERY
        for name, run in list(self._runs.items()):
            if run.last_offset + self._span < offset:
                for key, flow in list(run.flows.items()):
                    self._finish(run, key, flow)
                self._count(("runs_abandoned",))
                del self._runs[name]
        return 0

    def mark(self, long long offset, sensor, run, long long time):
        """The run's clock stands at ``time``: finish the flows that have been quiet, or are, too long."""
        cdef Run flows = self._runs.get((sensor, run))
        cdef Flow flow
        if flows is None:
            return
        flows.last_offset = offset
        for key, flow in list(flows.flows.items()):
            if self._too_old(flow, time):
                self._finish(flows, key, flow)
        if not flows.flows:
            del self._runs[(sensor, run)]

    def end(self, sensor, run):
        """Nothing more of this run will come: finish all its flows."""
        cdef Run flows = self._runs.pop((sensor, run), None)
        cdef Flow flow
        if flows is None:
            return
        for key, flow in list(flows.flows.items()):
            self._finish(flows, key, flow)

    cdef int _finish(self, Run run, tuple key, Flow flow) except -1:
        """Emit what is unfinished as far as it goes, and forget the flow."""
        cdef Direction direction
        for direction in (flow.low, flow.high):
            if direction.done or direction.stream.length == 0:
                continue
            if direction.stream.has_gap():
                self._count(("gaps_given_up", "age"))
            self._advance(flow, direction, True)
        self._forget(run, key, flow)
        return 0

    cdef int _forget(self, Run run, tuple key, Flow flow) except -1:
        self.held -= flow.low.stream.held + flow.high.stream.held + FLOW_BYTES
        self.flows -= 1
        del run.flows[key]
        return 0

    cdef int _evict(self) except -1:
        """Drop the oldest flow of all, unfinished, for lack of memory."""
        cdef Run run, oldest_run = None
        cdef Flow flow, oldest = None
        oldest_name = oldest_key = None
        for name, run in self._runs.items():
            key = next(iter(run.flows))
            flow = run.flows[key]
            if oldest is None or flow.first_offset < oldest.first_offset:
                oldest_name, oldest_run, oldest_key, oldest = name, run, key, flow
        self._forget(oldest_run, oldest_key, oldest)
        if not oldest_run.flows:
            del self._runs[oldest_name]
        self._count(("flows_evicted", "memory"))
        return 0


cdef int _check(dict record) except -1:
    """What Avro's types leave open."""
    if len(record["src_ip"]) not in (4, 16):
        raise InvalidRecord("src_ip", record["src_ip"])
    if len(record["dst_ip"]) != len(record["src_ip"]):
        raise InvalidRecord("dst_ip", record["dst_ip"])
    for field in ("src_port", "dst_port"):
        if not 0 <= record[field] <= 0xFFFF:
            raise InvalidRecord(field, record[field])
    if not 0 <= record["time"] < LAST_TIME:
        raise InvalidRecord("time", record["time"])
    if not 0 <= record["seq"] <= 0xFFFFFFFF:
        raise InvalidRecord("seq", record["seq"])
    if not 0 <= record["missing"] <= 1 << 20:
        raise InvalidRecord("missing", record["missing"])
    if record["transport"] != 6:
        raise InvalidRecord("transport", record["transport"])
    return 0
