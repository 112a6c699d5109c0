"""What a payload record may hold; a stranger may have written it."""

# Packet times that a date can have, in microseconds: the years 1970 to 9999.
cdef long long LAST_TIME = 253_402_300_800 * 1_000_000
# RFC 9293 3.1: Data Offset counts at most 15 words, of which the header takes 5.
cdef int MAX_OPTIONS = 40
# IANA's protocol numbers: TCP, UDP.
cdef tuple TRANSPORTS = (6, 17)


class InvalidRecord(ValueError):
    """A payload record with a field that cannot be: ``field`` says which."""

    def __init__(self, str field, value):
        super().__init__(f"{field} cannot be {value!r}")
        self.field = field


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
    if record["transport"] not in TRANSPORTS:
        raise InvalidRecord("transport", record["transport"])
    for field, lowest, highest in NUMBERS:
        if not lowest <= record[field] <= highest:
            raise InvalidRecord(field, record[field])
