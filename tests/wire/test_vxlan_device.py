"""The kernel's own VXLAN, over a path whose MTU is too small for it: what Linux makes of both."""

from pathlib import Path

import pytest
from recordings.world import CLIENT
from wire.clients import CLIENTS, LONG_NAME, NAME, run_all
from wire.forwarder import Conditions
from wire.judging import canonical
from wire.mirrors import MIRRORS
from wire.netns import Namespace, NetworkError, ip, why_not
from wire.observers import Marks, is_mark, recording, telling
from wire.rounds import scan_file
from wire.servers import serving
from wire.topology import SERVER, town

from vermilion_capture.source import FileSource

VNI = 0xABCDE
INSIDE = {"c0": (CLIENT, SERVER, "192.0.2.130"), "s0": (SERVER, CLIENT, "192.0.2.129")}


def device(where: Namespace, below: str) -> None:
    """A VXLAN device between the hosts, of a longer MTU than ``below``: what it sends comes in fragments."""
    own, peer, address = INSIDE[below]
    try:
        ip([f"link add vx type vxlan id {VNI} local {own} remote {peer} dstport 4789"], where)
    except NetworkError as error:
        pytest.skip(f"this kernel makes no VXLAN device: {error}")
    ip(["link set vx mtu 1500", f"addr add {address}/26 dev vx", "link set vx up"], where)


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_flows_in_a_vxlan_device_are_told_of_and_their_fragments_are_put_together(tmp_path: Path) -> None:
    names = ("curl", "curl-http", "openssl-tls1.2", "ssh")
    clients = {name: 1 for name in names if not CLIENTS[name].missing()}
    if not clients:
        pytest.skip("no client is installed")
    file = tmp_path / "monitor.pcap"
    with (
        town(1400, Conditions(), 1, MIRRORS["untagged"][0]) as here,
        serving(here.servers, tmp_path, [NAME, LONG_NAME]),
    ):
        device(here.clients, "c0")
        device(here.servers, "s0")
        with (
            recording(here.monitor, file) as recorder,
            telling("scan", "-e", "-a", "-c", here.monitor) as scan,
        ):
            marks = Marks(here.wire.tell, scan, recorder)
            marks.begin()
            here.wire.start()
            run_all(here.clients, INSIDE["s0"][2], tmp_path, clients)
            here.wire.settle()
            here.wire.stop()
            marks.end()
            _, said = scan.stop()
            if recorder:
                recorder.stop()
    assert said == ""
    events = [event for event in scan.events if not is_mark(event)]
    flows: dict[tuple[str, int], set[tuple[str, str]]] = {}
    for event in events:
        up = event["dst_ip"] == INSIDE["s0"][2]
        ends = (CLIENT, SERVER) if up else (SERVER, CLIENT)
        assert event["tunnels"] == [{"kind": "vxlan", "src_ip": ends[0], "dst_ip": ends[1], "id": VNI}]
        side, kind = "client" if up else "server", next(iter(event["fingerprints"]))
        assert "truncated" not in event
        flows.setdefault((event["src_ip"], event["src_port"]) if up else (event["dst_ip"], event["dst_port"]),
                         set()).add((side, kind))  # fmt: skip
    wanted = [CLIENTS[name].told for name, copies in clients.items() for _ in range(copies)]
    assert sorted(map(sorted, flows.values())) == sorted(map(sorted, wanted))
    if recorder:
        assert canonical(scan_file(file)) == canonical(scan.events)
        source = FileSource(file, "file")
        assert sum(1 for item in source if item.key)
        assert source.counts["ip_fragment"]
        assert not [name for name in source.counts if name.startswith("fragments_")]
