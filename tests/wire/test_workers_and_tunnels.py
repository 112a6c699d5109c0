"""Which worker the kernel gives a flow to that is in a tunnel, or in fragments."""

import socket
from contextlib import ExitStack, closing
from typing import Any

import pytest
from capture.frames import ETHER
from scapy.layers.inet import IP, TCP, fragment
from scapy.packet import Raw
from wire.mirrors import TUNNELS
from wire.netns import Namespace, link, unique_name, why_not

from vermilion_capture.afpacket import Options
from vermilion_capture.items import Item
from vermilion_capture.live import LiveCapture, LiveSource

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
FLOWS = 20


def both_directions(port: int) -> list[IP]:
    ends: dict[str, Any] = {"src": "192.0.2.1", "dst": "198.51.100.2"}
    back: dict[str, Any] = {"src": ends["dst"], "dst": ends["src"]}
    return [
        IP(**ends) / TCP(sport=port, dport=443, seq=1) / Raw(b"request"),
        IP(**back) / TCP(sport=443, dport=port, seq=1) / Raw(b"answer"),
    ]


def shared(frames: list[bytes]) -> list[list[Item]]:
    """What each of two workers publishes of the frames."""
    monitor, groups = unique_name(), dict[str, int]()
    with ExitStack() as stack:
        middle = stack.enter_context(Namespace())
        link((monitor, 1500, None), ("wm", 1500, middle))
        workers = [
            stack.enter_context(closing(LiveCapture([monitor], Options(ring_mib=2), groups)))
            for _ in range(2)
        ]
        sender = middle.run(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
        with sender:
            sender.bind(("wm", 0))
            for frame in frames:
                sender.send(frame)
        sources = [LiveSource(each, "sensor") for each in workers]
        for source in sources:
            source.end()
        return [[item for item in source if item.key] for source in sources]


@pytest.mark.parametrize("name", ["gre", "gre of frames", "ipip", "pppoe", "mpls", "pseudowire"])
def test_both_directions_of_a_flow_in_a_tunnel_come_to_one_worker(name: str) -> None:
    mirror = TUNNELS[name][0]
    one, two = shared(
        [mirror(bytes(ETHER / packet)) for port in range(FLOWS) for packet in both_directions(port)]
    )
    assert len(one) + len(two) == 2 * FLOWS
    assert {item.key for item in one}.isdisjoint(item.key for item in two)
    # The kernel finds nothing to tell flows apart by behind labels.
    assert bool(one) is bool(two) is True or TUNNELS[name][1][0]["kind"] == "mpls"


def test_fragments_come_to_their_flow_s_worker() -> None:
    parts = []
    for port in range(FLOWS):
        whole, answer = both_directions(port)
        whole.id, whole[Raw].load = port, bytes(1000)
        parts += [*fragment(whole, fragsize=400), answer]  # type: ignore[no-untyped-call]
    one, two = shared([bytes(ETHER / part) for part in parts])
    assert len(one) + len(two) == 2 * FLOWS
    assert {item.key for item in one}.isdisjoint(item.key for item in two)
    assert one
    assert two
