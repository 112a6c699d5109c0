"""Community ID v1: one name for a flow, the same for both directions and in other tools.

Source: the Community ID specification, version 1, seed 0. With tunnels it names the inner flow.
"""

from base64 import b64encode
from functools import lru_cache
from hashlib import sha1
from struct import Struct

# A flow that is quiet for so long, or lasts so long, is another one from then on: the source counts its
# records anew, and the reader closes the first. Microseconds of packet time.
FLOW_IDLE = 60_000_000
FLOW_LIFE = 600_000_000

# Kinds of tunnels of which both directions have the same id, which tells apart flows of the same addresses.
NETWORKS = frozenset({"vxlan", "geneve", "gre", "pppoe"})

_TAIL = Struct(">BBHH")


# A flow's packets come close together.
@lru_cache(maxsize=16_384)
def community_id(src_ip: bytes, dst_ip: bytes, src_port: int, dst_port: int, transport: int) -> str:
    """The flow's Community ID; addresses are 4 or 16 bytes, ``transport`` the IP protocol number."""
    if (src_ip, src_port) > (dst_ip, dst_port):
        src_ip, dst_ip, src_port, dst_port = dst_ip, src_ip, dst_port, src_port
    packed = b"\0\0" + src_ip + dst_ip + _TAIL.pack(transport, 0, src_port, dst_port)
    return "1:" + b64encode(sha1(packed, usedforsecurity=False).digest()).decode()
