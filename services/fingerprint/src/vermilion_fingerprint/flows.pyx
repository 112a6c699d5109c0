"""Unfinished flows of one partition, and the events that come out of them.

A flow begins with its record number 0 (``ordinal``, counted by the source) and is forgotten when
both directions are done. A later record of a forgotten flow is no new flow: its ordinal is above
0. So nothing need be remembered of what is done, and a rebuild from the low-water mark can
neither repeat nor invent an event. An event depends on its own flow's records alone.
"""

import logging
from collections import OrderedDict

from vermilion_fingerprint.cursor import Cursor, Malformed, NeedMore
from vermilion_fingerprint.datagrams cimport DatagramDirection, DatagramFlow, may_begin
from vermilion_fingerprint.decryption cimport Decrypting
from vermilion_fingerprint.flow cimport Direction, Flow
from vermilion_fingerprint.payloads cimport path_of
from vermilion_fingerprint.payloads import check
from vermilion_fingerprint.streams cimport Stream
from vermilion_fingerprint.tcp import Syn
from vermilion_fingerprint.tcp import fingerprint as syn_fingerprint

_log = logging.getLogger(__name__)

cdef enum:
    FIN = 1
    SYN = 2
    RST = 4
    ACK = 16
    # Messages told of one direction: a head full of tiny requests must not cost its square.
    MAX_MESSAGES = 256
    # A body that reaches further than sequence numbers can be told apart is not waited for.
    MAX_STEP = 1 << 30
    # A reset connection is over; segments sent before may still be on their way, or it was forged.
    RESET_IDLE = 2_000_000
    CHECK_EVERY = 4096
    UDP = 17
    # What a flow costs in memory beside the bytes of its streams.
    FLOW_BYTES = 1500


cdef class Run:
    """The keys of the flows of one (sensor, run), oldest first."""

    cdef dict keys
    cdef long long last_offset

    def __cinit__(self):
        self.keys = {}


cdef class FlowTable:
    """What one partition remembers. Methods append finished events to ``events``.

    ``recognised``: the protocols (protocols.Recognised). ``readable``: each event has its message in
    words, too. ``decrypting``: the TLS connections whose secrets are known, which are told of, too.
    ``counts``: (metric, label, ...) -> how often, since the last ``take_counts``.
    """

    cdef readonly list events
    cdef dict _counts, _runs
    cdef object _flows, _recognised  # flows in the order of their first offsets
    cdef bint _readable
    cdef Decrypting _decrypting
    cdef readonly Py_ssize_t held
    cdef Py_ssize_t _head, _max_flows, _max_held
    cdef long long _idle, _life, _span, _next_check

    def __init__(self, limits, recognised, readable=False, Decrypting decrypting=None):
        self.events = []
        self._counts = {}
        self._runs = {}
        self._flows = OrderedDict()
        self._recognised = recognised
        self._readable = readable
        self._decrypting = decrypting
        self._head = limits.head
        self._idle = limits.idle
        self._life = limits.life
        self._max_flows = limits.flows
        self._max_held = limits.held
        self._span = limits.span

    @property
    def flows(self):
        """How many flows are remembered."""
        return len(self._flows)

    cdef int _count(self, tuple what) except -1:
        self._counts[what] = self._counts.get(what, 0) + 1
        return 0

    def take_counts(self):
        """The counts, which begin again at nothing."""
        counts, self._counts = self._counts, {}
        if self._decrypting is not None:
            counts.update(self._decrypting.take_counts())
        return counts

    def low_water(self):
        """The offset of the oldest record that is still needed; None when nothing is remembered."""
        cdef Flow flow
        for flow in self._flows.values():
            return flow.first_offset
        return None

    def segment(self, long long offset, dict record):
        """Take a segment, the record at ``offset`` of the partition. Raises InvalidRecord."""
        if offset >= self._next_check:
            self._drop_abandoned(offset)
        check(record)
        cdef bytes source = record["src_ip"] + (<int>record["src_port"]).to_bytes(2, "big")
        cdef bytes target = record["dst_ip"] + (<int>record["dst_port"]).to_bytes(2, "big")
        cdef bint up = source <= target, udp = record["transport"] == UDP, strange = False
        cdef tuple path = path_of(record)
        cdef tuple key = (path, source, target) if up else (path, target, source)
        cdef long long time = record["time"], ordinal = record["ordinal"]
        cdef Flow flow = self._flows.get(key)
        cdef Run run = self._runs.get(path[:2])
        if run is not None:
            run.last_offset = offset
        if flow is not None and (ordinal == 0 or self._too_old(flow, time)):
            self._finish(key, flow)
            flow = None
        if flow is None and ordinal == 0:
            strange = udp and not may_begin(self._recognised.datagrams, record["payload"])
            if not strange:
                flow = self._open(DatagramFlow if udp else Flow, key, offset, time, record["replayed"])
        if flow is None:
            self._count(("datagrams_not_recognised",) if strange else ("segments_of_finished_flows",))
            return
        flow.last = max(flow.last, time)
        if udp:
            self._take_datagram(flow, flow.low if up else flow.high, record, time)
        else:
            self._take(flow, flow.low if up else flow.high, record, time)
            if flow.decrypted is not None:
                self._tell(flow, flow.decrypted.segment(up, record, time))
        if flow.low.done and flow.high.done and (flow.decrypted is None or flow.decrypted.done()):
            self._forget(key, flow)
        elif len(self._flows) > self._max_flows:
            self._evict("flows")
        elif self.held > self._max_held:
            self._evict("bytes")

    cdef Flow _open(self, type kind, tuple key, long long offset, long long time, bint replayed):
        cdef Flow flow = kind.__new__(kind)
        side = Direction
        flow.path = key[0]
        flow.first_offset = offset
        flow.started = flow.last = time
        flow.replayed = replayed
        if kind is DatagramFlow:
            (<DatagramFlow>flow).protocols = self._recognised.datagrams
            side = DatagramDirection
        flow.low = side(self._head, key[1], key[2], self._recognised.starters)
        flow.high = side(self._head, key[2], key[1], self._recognised.starters)
        self._flows[key] = flow
        cdef Run run = self._runs.setdefault(flow.path[:2], Run())
        run.keys[key], run.last_offset = None, offset
        self.held += FLOW_BYTES
        return flow

    cdef int _take(self, Flow flow, Direction direction, dict record, long long time) except -1:
        cdef Stream stream = direction.stream
        cdef int flags = record["flags"]
        cdef long long seq = record["seq"]
        cdef bytes payload = record["payload"]
        cdef long long base = stream.base
        if stream.length == 0:
            direction.tunnels = record["tunnels"]
        if flags & SYN:
            self._syn(flow, direction, record, time)
        if flags & RST:
            flow.reset = True
            payload = b""  # RFC 9293 3.5.2: it may say why, to people
        if direction.done:
            return 0
        self.held -= stream.held
        direction.more()
        if flags & SYN:
            stream.syn(seq)
            seq += 1  # the SYN takes one number; data may ride on it (RFC 7413)
        if payload or record["missing"]:
            stream.add(seq, payload, time, record["missing"])
        if flags & FIN:
            stream.fin(seq + len(payload) + <Py_ssize_t>record["missing"])
        self.held += stream.held
        if base >= 0 and stream.base != base:  # it begins earlier than it seemed: look at it anew
            direction.candidates = self._recognised.starters
            direction.protocol = None
            direction.needed = 0
        if stream.overflowed():
            self._count(("gaps_given_up", "pieces"))
            self._advance(flow, direction, True)
        elif stream.ended() or (stream.length >= direction.needed and direction.credit >= stream.length):
            if stream.full():
                self._count(("windows_full",))
            self._advance(flow, direction, False)
        return 0

    cdef int _take_datagram(self, DatagramFlow flow, DatagramDirection direction, dict record, long long time) except -1:
        self.held -= flow.held()
        direction.tunnels = record["tunnels"]
        messages = flow.take(direction, record["payload"], record["missing"], time, self._head)
        self.held += flow.held()
        return self._emit_received(flow, direction, messages)

    cdef int _syn(self, Flow flow, Direction direction, dict record, long long time) except -1:
        """A segment that opens a connection is a message by itself, and so is each repetition of it."""
        cdef bint acknowledges = record["flags"] & ACK != 0
        version = 4 if len(direction.src_ip) == 4 else 6
        syn = Syn(version, record["ttl"], record["ip_id"], record["window"], record["options"], acknowledges)
        if acknowledges:
            direction.accepted = True
        else:
            direction.opened = True
            direction.syn = syn_fingerprint(syn)
        forms = self._recognised.syn_ack if acknowledges else self._recognised.syn
        if forms:
            name = "tcp_server" if acknowledges else "tcp"
            event = self._event(flow, direction, name, direction.syns, record["seq"], time, syn, forms)
            self.events.append(event)
            direction.syns += 1
        return 0

    cdef int _advance(self, Flow flow, Direction direction, bint forced) except -1:
        """Recognise and parse what is there; ``forced``: nothing more will come in this direction."""
        cdef bytes data
        cdef bint final
        while not direction.done:
            if direction.told is not None and not self._step_over(direction, forced):
                return 0
            data = direction.stream.head()
            if not data:  # nothing of another message is here
                if forced or direction.stream.ended():
                    self._done(direction)
                return 0
            final = forced or direction.stream.ended()
            if direction.protocol is None and not self._recognise(flow, direction, data, final):
                return 0
            try:
                message = direction.protocol.parse(Cursor(data), final)
            except NeedMore as more:
                direction.wait(more.total)
                return 0
            except Malformed as bad:
                if final or direction.settled():
                    self._count(("parse_errors", direction.protocol.name, bad.field))
                    self._done(direction)
                else:
                    direction.protocol = None
                    direction.wait(len(data) + 1)
                return 0
            if direction.protocol.forms:
                self._emit(flow, direction, message)
            if self._decrypting is not None:
                self._decrypt(flow, direction, message)
            direction.candidates = self._recognised.followers(message.followed_by)
            direction.protocol = None
            direction.told = message
            direction.needed = 0
            direction.messages += 1
            if not direction.candidates or direction.messages >= MAX_MESSAGES:
                self._done(direction)
        return 0

    cdef bint _step_over(self, Direction direction, bint forced) except -1:
        """Go on behind a message; whether the next may begin here."""
        cdef Stream stream = direction.stream
        cdef Py_ssize_t count
        passed = False
        while not passed:
            try:
                final = forced or stream.ended()
                count, passed = direction.told.step_over(Cursor(stream.head()), final)
            except NeedMore as more:
                direction.needed = more.total
                if forced or stream.ended():
                    self._done(direction)
                return False
            if not 0 <= count <= MAX_STEP:
                self._done(direction)
                return False
            self.held -= stream.held
            stream.step_over(count)
            self.held += stream.held
            direction.needed = 0
            if stream.length == 0 and not passed and not stream.ended() and not forced:
                return False
        direction.told = None
        return True

    cdef bint _recognise(self, Flow flow, Direction direction, bytes data, bint final) except -1:
        cdef Py_ssize_t needed = 0
        cdef str side = flow.side(direction)
        for protocol in direction.candidates:
            if protocol.side is not None and protocol.side != side:
                continue
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
            direction.wait(max(needed, len(data) + 1))
        return False

    cdef int _done(self, Direction direction) except -1:
        self.held -= direction.stream.held
        direction.stream = Stream(0)
        direction.protocol = direction.told = None
        direction.done = True
        return 0

    cdef int _emit(self, Flow flow, Direction direction, message) except -1:
        cdef Stream stream = direction.stream
        cdef Py_ssize_t begin = message.begin
        cdef str name = direction.protocol.name
        cdef dict event = self._event(
            flow, direction, name, direction.messages, (stream.base + begin) & 0xFFFFFFFF,
            stream.time_at(begin), message, direction.protocol.forms,
        )
        return self._complete(event, message, stream.segments(begin, message.end) > 1)

    cdef int _emit_received(self, DatagramFlow flow, DatagramDirection direction, list messages) except -1:
        for what in flow.take_counts():
            self._count(what)
        for message in messages:
            if forms := self._recognised.datagram_forms[message.name]:
                event = self._event(
                    flow, direction, message.name, direction.messages, message.seq, message.time, message, forms
                )
                self._complete(event, message, message.reassembled)
            direction.messages += 1
        return 0

    cdef int _complete(self, dict event, message, bint reassembled) except -1:
        """Tell of a message in an event, and give it away."""
        cdef str name = event["type"]
        if context := message.context():
            event[name] = context
        event["reassembled"] = reassembled
        if message.truncated:
            event["truncated"] = True
            self._count(("messages_truncated", name))
        self.events.append(event)
        return 0

    cdef int _decrypt(self, Flow flow, Direction direction, message) except -1:
        """Decrypt from a hello on."""
        cdef str name = direction.protocol.name
        if name in ("tls", "tls_server") and not message.truncated:
            if flow.decrypted is None:
                flow.decrypted = self._decrypting.connection()
            flow.decrypted.begin(direction is flow.low, name == "tls", direction.stream, message.begin)
        return 0

    cdef int _tell(self, Flow flow, list decrypted) except -1:
        """Emit what was found in a TLS connection."""
        cdef Direction direction
        cdef dict event
        for low, told in decrypted:
            direction = flow.low if low else flow.high
            forms = self._recognised.decrypted.get(told.type)
            if forms:
                event = self._event(
                    flow, direction, told.type, direction.decrypted, told.seq, told.time, told.message, forms
                )
                event[told.type] = told.message.context()
                event["reassembled"] = told.reassembled
                if told.message.truncated:
                    event["truncated"] = True
                    self._count(("messages_truncated", told.type))
                self.events.append(event)
            direction.decrypted += 1
        return 0

    cdef dict _event(
        self, Flow flow, Direction direction, str name, int ordinal, long long seq, long long time,
        message, dict forms,
    ):
        cdef dict event = flow.event(direction, name, ordinal, seq, time)
        event["fingerprints"] = {form: write(message) for form, write in forms.items()}
        if self._readable:
            event["readable"] = {name: message.readable()}
        self._count(("events", name))
        return event

    cdef bint _too_old(self, Flow flow, long long time):
        if flow.reset and time - flow.last > RESET_IDLE:
            self._count(("flows_timed_out", "reset"))
        elif time - flow.last > self._idle:
            self._count(("flows_timed_out", "idle"))
        elif time - flow.started > self._life:
            self._count(("flows_timed_out", "life"))
        else:
            return False
        return True

    cdef int _drop_abandoned(self, long long offset) except -1:
        """Finish the flows of runs that have fallen silent.

        Looked at where the log passes a multiple of CHECK_EVERY: a rebuild finishes the same ones.
        """
        cdef Run run
        self._next_check = (offset // CHECK_EVERY + 1) * CHECK_EVERY
        for name, run in list(self._runs.items()):
            if run.last_offset + self._span < offset:
                self.end(*name)
                self._count(("runs_abandoned",))
        return 0

    def mark(self, long long offset, sensor, run, long long time):
        """The run's clock stands at ``time``: finish the flows that have been quiet, or are, too long."""
        cdef Run found = self._runs.get((sensor, run))
        cdef Flow flow
        if found is None:
            return
        found.last_offset = offset
        for key in list(found.keys):
            flow = self._flows[key]
            if self._too_old(flow, time):
                self._finish(key, flow)
            elif flow.decrypted is not None and flow.decrypted.waits():
                self._look(key, flow, time)

    def end(self, sensor, run):
        """Nothing more of this run will come: finish all its flows."""
        cdef Run found = self._runs.get((sensor, run))
        if found is not None:
            for key in list(found.keys):
                self._finish(key, self._flows[key])

    cdef int _look(self, tuple key, Flow flow, long long time) except -1:
        """Decrypt what has waited for its secrets."""
        try:
            self._tell(flow, flow.decrypted.look(time))
        except Exception as error:
            self._give_up(key, flow, error)
            return 0
        if flow.low.done and flow.high.done and flow.decrypted.done():
            self._forget(key, flow)
        return 0

    cdef int _finish(self, tuple key, Flow flow) except -1:
        """Emit what is unfinished as far as it goes, and forget the flow."""
        try:
            self._rest(flow)
        except Exception as error:
            self._give_up(key, flow, error)
        else:
            self._forget(key, flow)
        return 0

    cdef int _give_up(self, tuple key, Flow flow, error) except -1:
        """A defect of ours: neither the record in hand nor other flows are to blame for it."""
        _log.error("a flow is given up, first seen at offset %d: %r", flow.first_offset, error, exc_info=error)
        self._count(("flows_failed", type(error).__name__))
        return self._forget(key, flow)

    cdef int _rest(self, Flow flow) except -1:
        cdef Direction direction
        for direction in (flow.low, flow.high):
            if isinstance(flow, DatagramFlow):
                self.held -= flow.held()
                messages = (<DatagramFlow>flow).finish(direction)
                self.held += flow.held()
                self._emit_received(flow, direction, messages)
            if not direction.done and direction.stream.has_gap():
                self._count(("gaps_given_up", "age"))
            if direction.done or direction.stream.length == 0:
                continue
            self._advance(flow, direction, True)
        if flow.decrypted is not None:
            self._tell(flow, flow.decrypted.finish(flow.last))
        return 0

    cdef int _forget(self, tuple key, Flow flow) except -1:
        cdef Run run = self._runs[flow.path[:2]]
        self.held -= flow.held() + FLOW_BYTES
        if flow.decrypted is not None:
            self._decrypting.drop(flow.decrypted)
        del self._flows[key]
        del run.keys[key]
        if not run.keys:
            del self._runs[flow.path[:2]]
        return 0

    cdef int _evict(self, str bound) except -1:
        """Drop the oldest flow of all, unfinished, for lack of memory."""
        key = next(iter(self._flows))
        self._forget(key, self._flows[key])
        self._count(("flows_evicted", bound))
        return 0
