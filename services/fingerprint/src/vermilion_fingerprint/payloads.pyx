"""What a payload record may hold, since a stranger may have written it, and what of it tells a flow from others."""

from socket import AF_INET, AF_INET6, inet_ntop

from vermilion_pipeline.flowid import NETWORKS

# Packet times that a date can have, in microseconds: the years 1970 to 9999.
cdef long long LAST_TIME = 253_402_300_800 * 1_000_000
# RFC 9293 3.1: Data Offset counts at most 15 words, of which the header takes 5.
cdef int MAX_OPTIONS = 40
# Capture finds four at most.
cdef int MAX_TUNNELS = 8
cdef int MAX_KIND = 20


class InvalidRecord(ValueError):
    """A payload record with a field that cannot be: ``field`` says which."""

    def __init__(self, str field, value):
        super().__init__(f"{field} cannot be {value!r}")
        self.field = field


cdef enum:
    TCP = 6
    UDP = 17

# Field, lowest and highest value.
cdef tuple NUMBERS = (
    ("src_port", 0, 0xFFFF), ("dst_port", 0, 0xFFFF), ("time", 0, LAST_TIME - 1), ("seq", 0, 0xFFFFFFFF),
    ("missing", 0, 1 << 20), ("ttl", 0, 0xFF), ("ip_id", 0, 0xFFFFF), ("window", 0, 0xFFFF),
)


def check(dict record not None):
    """What Avro's types leave open of a payload record. Raises InvalidRecord."""
    if len(record["src_ip"]) not in (4, 16):
        raise InvalidRecord("src_ip", record["src_ip"])
    if len(record["dst_ip"]) != len(record["src_ip"]):
        raise InvalidRecord("dst_ip", record["dst_ip"])
    if len(record["options"]) > MAX_OPTIONS:
        raise InvalidRecord("options", record["options"])
    if record["transport"] not in (TCP, UDP):
        raise InvalidRecord("transport", record["transport"])
    for field, lowest, highest in NUMBERS:
        if not lowest <= record[field] <= highest:
            raise InvalidRecord(field, record[field])
    if record["tunnels"]:
        check_tunnels(record["tunnels"])


cdef int check_tunnels(list tunnels) except -1:
    if len(tunnels) > MAX_TUNNELS:
        raise InvalidRecord("tunnels", tunnels)
    for each in tunnels:
        if len(each["src_ip"]) not in (0, 4, 16) or len(each["dst_ip"]) != len(each["src_ip"]):
            raise InvalidRecord("tunnels", each)
        if len(each["kind"]) > MAX_KIND or not 0 <= (each["id"] or 0) <= 0xFFFFFFFF:
            raise InvalidRecord("tunnels", each)
    return 0


cdef tuple path_of(dict record):
    """A flow's identity beside its end points: sensor, run, VLANs, VNI, tunnels, transport.

    Of a tunnel: its kind, its ends in order, and its id where that is of both directions.
    """
    cdef tuple tunnels = ()
    if record["tunnels"]:
        tunnels = tuple([
            (
                each["kind"], min(each["src_ip"], each["dst_ip"]), max(each["src_ip"], each["dst_ip"]),
                each["id"] if each["kind"] in NETWORKS else None,
            )
            for each in record["tunnels"]
        ])  # fmt: skip
    return (
        record["sensor"], record["run"], tuple(record["vlans"]), record["vni"], tunnels, record["transport"]
    )


cdef list told(list tunnels):
    """The tunnels as an event tells them."""
    return [
        {"kind": each["kind"], "src_ip": address(each["src_ip"]), "dst_ip": address(each["dst_ip"]), "id": each["id"]}
        for each in tunnels
    ]


cdef str address(bytes packed):
    """An address as RFC 5952 writes it; empty where there is none."""
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed) if packed else ""
