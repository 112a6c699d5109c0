"""The wire itself: what it does to frames, how it wraps them, and that nothing of it is left behind."""

import signal
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest
from capture.frames import ETHER
from scapy.contrib.geneve import GENEVE
from scapy.contrib.gtp import GTP_U_Header
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Dot1AD, Dot1Q, Ether
from scapy.layers.ppp import PPPoE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet
from wire.forwarder import Conditions, verdicts
from wire.mirrors import MIRRORS, TUNNELS
from wire.netns import Namespace, wait_for, why_not
from wire.topology import town

TESTS = Path(__file__).parent.parent
# Local Experimental Ethertype 1 (IEEE 802-2014 section 9.2.4): nobody else sends it.
_EXPERIMENT = 0x88B5
needs_namespaces = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def test_shares_are_those_asked_for_and_the_seed_decides() -> None:
    conditions = Conditions(loss=0.05, reorder=0.25, duplicate=0.02, delay=0.5)
    found = list(islice(verdicts(conditions, "1"), 20_000))
    assert found == list(islice(verdicts(conditions, "1"), 20_000))
    assert found != list(islice(verdicts(conditions, "2"), 20_000))
    delivered = [after for after in found if after]
    assert len(delivered) / len(found) == pytest.approx(0.95, abs=0.01)
    assert sum(after[0] > 0.5 for after in delivered) / len(delivered) == pytest.approx(0.25, abs=0.01)
    assert sum(len(after) == 2 for after in delivered) / len(delivered) == pytest.approx(0.02, abs=0.005)
    assert list(islice(verdicts(Conditions(), "1"), 100)) == [[0.0]] * 100


@pytest.mark.parametrize(
    ("name", "kinds"), [("untagged", []), ("802.1Q", [Dot1Q]), ("802.1ad", [Dot1AD, Dot1Q])]
)
def test_a_mirror_s_tags_are_what_scapy_reads(name: str, kinds: Sequence[type[Dot1Q]]) -> None:
    mirror, vlans = MIRRORS[name]
    frame = ETHER / IP(src="192.0.2.1", dst="192.0.2.2") / TCP(sport=1, dport=2)
    read = Ether(mirror(bytes(frame)))
    assert [read[kind].vlan for kind in kinds] == vlans
    assert bytes(read[IP]) == bytes(frame[IP])


LAYERS: dict[str, list[type[Packet]]] = {
    "gre": [GRE], "gre of frames": [GRE], "ipip": [], "vxlan": [VXLAN], "geneve": [GENEVE],
    "gtp-u": [GTP_U_Header], "mpls": [MPLS, MPLS], "pseudowire": [MPLS], "pppoe": [PPPoE],
    "nested": [GRE, VXLAN],
}  # fmt: skip


@pytest.mark.parametrize("name", TUNNELS)
@pytest.mark.parametrize(
    "network", [IP(src="192.0.2.1", dst="192.0.2.2"), IPv6(src="2001:db8::1", dst="2001:db8::2")]
)
def test_a_tunnel_is_what_scapy_reads(name: str, network: Packet) -> None:
    mirror, _, vlans = TUNNELS[name]
    frame = ETHER / network / TCP(sport=1, dport=2)
    read = Ether(mirror(bytes(frame)))
    layers = [read, *read.iterpayloads()]
    assert [type(layer) for layer in layers if type(layer) in set().union(*LAYERS.values())] == LAYERS[name]
    assert bytes(layers[-2]) == bytes(frame[TCP].underlayer)
    assert [layer.vlan for layer in layers if isinstance(layer, Dot1Q)] == vlans


@needs_namespaces
def test_each_frame_comes_to_its_end_in_order() -> None:
    mirror, _ = MIRRORS["untagged"]
    sent = [bytes(ETHER)[:12] + struct.pack("!HI", _EXPERIMENT, number) + bytes(60) for number in range(100)]
    with town(576, Conditions(), 1, mirror) as here:
        ends = [here.clients.run(lambda: _bound("c0")), here.servers.run(lambda: _bound("s0"))]
        monitor = _bound(here.monitor)
        here.wire.start()
        with ends[0], ends[1], monitor:
            for frame in sent:
                ends[0].send(frame)
            arrived = [ends[1].recv(2048) for _ in sent]
            # Each processor that sent some has a queue of its own, up to the wire.
            assert sorted(arrived) == sent
            assert [monitor.recv(2048) for _ in sent] == arrived
        assert here.wire.report.counts == Counter(received=100, delivered=100, mirrored=100)


def _bound(name: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.settimeout(30)
    made.bind((name, _EXPERIMENT))
    return made


@needs_namespaces
def test_nothing_is_left_when_the_tests_are_killed() -> None:
    code = (
        "import time\n"
        "from wire.forwarder import Conditions\nfrom wire.topology import town\n"
        "with town(1500, Conditions(), 1, bytes) as here:\n"
        "    print(here.monitor, flush=True)\n"
        "    time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(TESTS)}
    )
    with process:
        assert process.stdout is not None
        monitor = process.stdout.readline().strip()
        assert monitor in names()
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: monitor not in names(), "the monitor link to go")


@needs_namespaces
def test_a_call_in_a_namespace_leaves_the_caller_where_he_is() -> None:
    before = names()
    with Namespace() as other:
        assert other.run(names) == {"lo"}
        with pytest.raises(ZeroDivisionError):
            other.run(lambda: 1 // 0)
    assert names() == before


def names() -> set[str]:
    return {name for _, name in socket.if_nameindex()}
