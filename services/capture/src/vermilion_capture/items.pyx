"""Payload records on their way: encoded straight from the segment, as a dictionary when one is asked for.

Source: the Avro specification, "Binary Encoding". fastavro is the oracle in tests; and a publisher
compares the two before it begins, since the schema in use may be another.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcpy
from vermilion_capture.packet cimport Segment

from vermilion_capture.tunnels import Around


cdef inline unsigned char* write_long(unsigned char* at, long long value) noexcept:
    """Zigzag and variable length, ten bytes at most; behind it."""
    cdef unsigned long long left = (<unsigned long long>value << 1) ^ <unsigned long long>(value >> 63)
    while left > 0x7F:
        at[0] = (left & 0x7F) | 0x80
        left >>= 7
        at += 1
    at[0] = <unsigned char>left
    return at + 1


cdef inline unsigned char* write_bytes(unsigned char* at, bytes value) noexcept:
    """The length and the bytes; behind them."""
    cdef Py_ssize_t length = len(value)
    at = write_long(at, length)
    memcpy(at, PyBytes_AS_STRING(value), length)
    return at + length


cdef inline unsigned char* write_optional(unsigned char* at, object number):
    """A union of null and a number; behind it."""
    if number is None:
        return write_long(at, 0)
    return write_long(write_long(at, 1), number)


cdef class Origin:
    """Where a run's records come from."""

    def __init__(self, str sensor not None, str run not None, bint replayed):
        cdef unsigned char number[10]
        self.sensor, self.run, self.replayed = sensor, run, replayed
        parts = [b"\0"]  # the first symbol of the enumeration, SEGMENT
        for text in (sensor.encode(), run.encode()):
            parts += [number[:write_long(number, len(text)) - number], text]
        self._prefix = b"".join((*parts, b"\1" if replayed else b"\0"))


cdef class Item:
    """A payload record and its Kafka key; a mark has no key and goes to every partition.

    ``time``: packet time, microseconds.
    """

    def __init__(self, bytes key, dict record not None):
        self.key, self._record = key, record
        self.kind, self.time = record["kind"], record["time"]

    def __iter__(self):
        """Key and record."""
        return iter((self.key, self.record))

    @property
    def record(self):
        """The record (``records.Payload``)."""
        cdef Segment found = self._segment
        if self._record is None:
            self._record = {
                "kind": "SEGMENT",
                "sensor": self._origin.sensor,
                "run": self._origin.run,
                "replayed": self._origin.replayed,
                "time": self.time,
                "ordinal": self._ordinal,
                "vlans": list(found.vlans),
                "vni": found.vni,
                "tunnels": [each._asdict() for each in found.tunnels],
                "src_ip": found.src_ip,
                "dst_ip": found.dst_ip,
                "src_port": found.src_port,
                "dst_port": found.dst_port,
                "transport": found.transport,
                "ttl": found.ttl,
                "ip_id": found.ip_id,
                "seq": found.seq,
                "ack": found.ack,
                "flags": found.flags,
                "window": found.window,
                "options": found.options,
                "payload": self._payload,
                "missing": self._missing,
            }
        return self._record

    def encoded(self, bytes header, encode):
        """Framed by ``header``; by ``encode``, from the record, where that is None or this is a mark."""
        if header is None or self._segment is None:
            return encode(self.record)
        cdef Segment found = self._segment
        cdef bytes prefix = self._origin._prefix, out
        cdef unsigned char numbers[768]  # of it 4 tunnels take at most 240, the rest 200
        cdef unsigned char* at = numbers
        cdef Py_ssize_t fixed, length
        at = write_long(at, self.time)
        at = write_long(at, self._ordinal)
        if found.vlans:
            at = write_long(at, len(found.vlans))
            for vlan in found.vlans:
                at = write_long(at, vlan)
        at = write_long(at, 0)  # the array's last block
        at = write_optional(at, found.vni)
        if found.tunnels:
            at = write_long(at, len(found.tunnels))
            for kind, source, target, number in found.tunnels:
                at = write_bytes(at, (<str>kind).encode())
                at = write_bytes(at, source)
                at = write_bytes(at, target)
                at = write_optional(at, number)
        at = write_long(at, 0)
        at = write_bytes(at, found.src_ip)
        at = write_bytes(at, found.dst_ip)
        at = write_long(at, found.src_port)
        at = write_long(at, found.dst_port)
        at = write_long(at, found.transport)
        at = write_long(at, found.ttl)
        at = write_long(at, found.ip_id)
        at = write_long(at, found.seq)
        at = write_long(at, found.ack)
        at = write_long(at, found.flags)
        at = write_long(at, found.window)
        at = write_bytes(at, found.options)
        at = write_long(at, len(self._payload))
        fixed = at - numbers
        cdef unsigned char missing[10]
        cdef Py_ssize_t last = write_long(missing, self._missing) - missing
        length = len(header) + len(prefix) + fixed + len(self._payload) + last
        out = PyBytes_FromStringAndSize(NULL, length)
        at = <unsigned char*>PyBytes_AS_STRING(out)
        memcpy(at, PyBytes_AS_STRING(header), len(header))
        at += len(header)
        memcpy(at, PyBytes_AS_STRING(prefix), len(prefix))
        at += len(prefix)
        memcpy(at, numbers, fixed)
        at += fixed
        memcpy(at, PyBytes_AS_STRING(self._payload), len(self._payload))
        memcpy(at + len(self._payload), missing, last)
        return out


def agrees(bytes header not None, encode):
    """Whether ``Item.encoded`` writes what ``encode`` writes: not so, if the schema is another one."""
    cdef Segment sample = Segment.__new__(Segment)
    sample.vlans, sample.src_ip, sample.dst_ip, sample.options = (1, 300), b"\1\2\3\4", b"\5\6\7\x08", b"\2\4"
    sample.vni, sample.tunnels = 21, (Around("gre", b"\1\2\3\4", b"\5\6\7\x08", None), Around("pppoe", b"", b"", 22))
    sample.src_port, sample.dst_port, sample.ttl, sample.ip_id = 9, 10, 11, 12
    sample.transport, sample.flags, sample.window, sample.seq, sample.ack = 19, 13, 14, 0xFFFFFFFF, 16
    item = segment_item(b"", Origin("sensor", "run", True), sample, 1 << 50, 17, b"payload", 18)
    return item.encoded(header, encode) == encode(item.record)


def segment_item(
    bytes key not None, Origin origin not None, Segment found not None, long long time, long long ordinal,
    bytes payload not None, Py_ssize_t missing,
):
    """The item of a segment, of which ``payload`` is kept, and ``missing`` bytes behind it are not."""
    return made(key, origin, found, time, ordinal, payload, missing)


cdef Item made(
    bytes key, Origin origin, Segment found, long long time, long long ordinal, bytes payload, Py_ssize_t missing
):
    """``segment_item`` for callers that are compiled."""
    cdef Item item = Item.__new__(Item)
    item.key, item.kind, item.time = key, "SEGMENT", time
    item._origin, item._segment = origin, found
    item._ordinal, item._payload, item._missing = ordinal, payload, missing
    return item
