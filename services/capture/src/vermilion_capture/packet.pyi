from vermilion_capture.tunnels import Around

LINK_TYPES: dict[int, str]
NOT_IP: str
OTHER_PROTOCOL: str
FRAGMENT: str
CUT: str
BAD: str
EMPTY: str
TOO_DEEP: str

class Segment:
    vlans: tuple[int, ...]
    tunnels: tuple[Around, ...]
    vni: int | None
    src_ip: bytes
    dst_ip: bytes
    src_port: int
    dst_port: int
    transport: int
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
