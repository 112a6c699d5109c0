LINK_TYPES: dict[int, str]
NOT_IP: str
NOT_TCP: str
FRAGMENT: str
CUT: str
BAD: str

class Segment:
    vlans: tuple[int, ...]
    src_ip: bytes
    dst_ip: bytes
    src_port: int
    dst_port: int
    ttl: int
    ip_id: int
    flags: int
    window: int
    seq: int
    ack: int
    options: bytes
    size: int
    payload: bytes

def segment(frame: bytes, link_type: int = 1) -> Segment | str | None: ...
