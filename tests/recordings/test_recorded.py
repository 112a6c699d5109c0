"""The recordings that are kept: labels and packets belong together, and nothing private is in them."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from recordings.record import BUNDLED, DATA
from recordings.wire import LARGEST_FRAME, Flow, Frame, parse

RESERVED = [ip_network(net) for net in ("192.0.2.0/24", "203.0.113.0/24", "2001:db8::/32")]
LABELS = {DATA / name: labels for name, labels in json.loads((DATA / "recorded.json").read_text()).items()}
LABELS[BUNDLED / "programs.pcap"] = json.loads((BUNDLED / "programs.json").read_text())
FILES = pytest.mark.parametrize("file", LABELS, ids=lambda file: file.name)


@FILES
def test_every_flow_is_labelled_once(file: Path) -> None:
    labelled = [(each["src_ip"], each["src_port"], each["dst_ip"], each["dst_port"]) for each in LABELS[file]]
    assert sorted((*flow.client, *flow.server) for flow in flows_of(file)) == sorted(labelled)
    assert all(
        each["program"] and each["version"] and each["command"] and each["os"] for each in LABELS[file]
    )


@FILES
def test_only_reserved_addresses_and_whole_small_frames(file: Path) -> None:
    assert file.stat().st_size < (1_000_000 if file.parent == BUNDLED else 100_000)
    for frame in frames_of(file):
        assert len(frame.data) <= LARGEST_FRAME
        for address in (frame.source[0], frame.target[0]):
            assert any(ip_address(address) in net for net in RESERVED)


@FILES
def test_a_flow_has_what_its_label_says(file: Path) -> None:
    flows = {(*flow.client, *flow.server): flow for flow in flows_of(file)}
    for each in LABELS[file]:
        flow = flows[each["src_ip"], each["src_port"], each["dst_ip"], each["dst_port"]]
        start = flow.first_bytes()[0]
        expected = {
            "tls": b"\x16\x03",
            "ssh": b"SSH-2.0-",
            "http": start[:1] if start[:1].isupper() else b"?",
        }
        assert start.startswith(expected[each["protocol"]]), each


def test_todays_programs_send_hellos_of_two_segments() -> None:
    segments = [flow.hello_segments() for flow in flows_of(DATA / "tls13_pq_two_segments.pcap")]
    assert segments == [2]
    bundled = [flow.hello_segments() for flow in flows_of(BUNDLED / "programs.pcap")]
    assert max(bundled) == 2


def test_a_frame_past_what_is_kept_is_dropped_unless_it_ends_the_flow() -> None:
    client, server = ("192.0.2.10", 50000), ("203.0.113.10", 443)
    flow = Flow(client, server)
    for flags, size in ((2, 0), (24, 8000), (24, 1000), (24, 1000), (17, 0)):
        flow.add(Frame(0, b"", client, server, flags, bytes(size)))
    assert [len(frame.payload) for frame in flow.frames] == [0, 8000, 1000, 0]


def frames_of(file: Path) -> Iterator[Frame]:
    data, at = file.read_bytes(), 24
    while at < len(data):
        seconds, microseconds, length, _ = struct.unpack_from("<IIII", data, at)
        frame = parse(data[at + 16 : at + 16 + length], seconds * 1_000_000_000 + microseconds * 1000)
        assert frame is not None
        yield frame
        at += 16 + length


def flows_of(file: Path) -> list[Flow]:
    flows: dict[frozenset[tuple[str, int]], Flow] = {}
    for frame in frames_of(file):
        ends = frozenset((frame.source, frame.target))
        flows.setdefault(ends, Flow(frame.source, frame.target)).add(frame)
    return list(flows.values())
