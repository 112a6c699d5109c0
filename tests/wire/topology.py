"""Two hosts with the wire between them, and a link on which the monitor's copies arrive.

clients c0 ── wc  wire  ws ── s0 servers
                   wm
                   │
                   monitor, in the namespace of the tests
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from recordings.world import CLIENT, CLIENT6, turn_offload_off
from wire.forwarder import Conditions, Wire
from wire.mirrors import Mirror
from wire.netns import Namespace, ip, link, unique_name

SERVER, SERVER6 = "203.0.113.10", "2001:db8:1::10"
_MAC_CLIENT, _MAC_SERVER = "02:00:00:00:00:10", "02:00:00:00:00:01"
# RFC 8200 section 5: IPv6 needs so much.
_MTU_IPV6 = 1280
# The ends' frames with two tags have to fit.
_MTU_MONITOR = 1500


@dataclass
class Town:
    """What a test works with: the hosts, the wire, and the name of the monitor's interface."""

    clients: Namespace
    servers: Namespace
    wire: Wire
    monitor: str


@contextmanager
def town(
    mtu: int,
    conditions: Conditions,
    seed: int,
    mirror: Mirror,
    mirrored: Literal["sent", "delivered"] = "delivered",
    *,
    offloads: bool = False,
) -> Iterator[Town]:
    """Make it all, and remove it afterwards; the wire is to be started.

    ``offloads``: the hosts leave segments and checksums undone.
    """
    monitor = unique_name()
    with Namespace() as clients, Namespace() as middle, Namespace() as servers:
        link(("c0", mtu, clients), ("wc", mtu, middle))
        link(("s0", mtu, servers), ("ws", mtu, middle))
        link((monitor, _MTU_MONITOR, None), ("wm", _MTU_MONITOR, middle))
        _host(clients, "c0", mtu, (CLIENT, CLIENT6), (SERVER, SERVER6), (_MAC_CLIENT, _MAC_SERVER))
        _host(servers, "s0", mtu, (SERVER, SERVER6), (CLIENT, CLIENT6), (_MAC_SERVER, _MAC_CLIENT))
        if not offloads:
            for where, names in ((clients, ("c0",)), (servers, ("s0",)), (middle, ("wc", "ws", "wm"))):
                for name in names:
                    where.run(lambda name=name: turn_offload_off(name))  # type: ignore[misc]
            turn_offload_off(monitor)
        wire = middle.run(
            lambda: Wire(("wc", "ws"), "wm", conditions, seed, mirror, mirrored, merged=offloads)
        )
        try:
            yield Town(clients, servers, wire, monitor)
        finally:
            wire.close()


def _host(
    where: Namespace, name: str, mtu: int, own: tuple[str, str], peer: tuple[str, str], macs: tuple[str, str]
) -> None:
    """Addresses, routes and neighbours: the wire carries TCP and nothing else."""
    lines = [f"link set {name} address {macs[0]}"]
    for family, (here, there) in enumerate(zip(own, peer, strict=True)):
        if family and mtu < _MTU_IPV6:
            continue
        lines += [
            f"addr add {here}/{128 if family else 32} dev {name}" + (" nodad" if family else ""),
            # What is lost is sent again soon: the round trip takes a millisecond.
            f"route add {there}/{128 if family else 32} dev {name} src {here} rto_min 20ms",
            f"neigh add {there} lladdr {macs[1]} dev {name} nud permanent",
        ]
    ip(lines, where)
