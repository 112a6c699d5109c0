"""The recordings that are kept: labels and packets belong together, and nothing private is in them."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from recordings import programs2019, readme, upgrading
from recordings.programs import PROGRAMS
from recordings.record import BUNDLED, DATA
from recordings.wire import LARGEST_FRAME, Flow, Frame, parse

RESERVED = [ip_network(net) for net in ("192.0.2.0/24", "203.0.113.0/24", "2001:db8::/32")]
LABELS = {DATA / name: labels for name, labels in json.loads((DATA / "recorded.json").read_text()).items()}
TODAY, OF_2019 = BUNDLED / "programs.pcap", BUNDLED / "programs-2019.pcap"
LABELS |= {file: json.loads(file.with_suffix(".json").read_text()) for file in (TODAY, OF_2019)}
SMALL, SIZES = 100_000, {TODAY: 1_000_000, OF_2019: 300_000}
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
    assert file.stat().st_size < SIZES.get(file, SMALL)
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
            "tls": rb"\x16\x03",
            "ssh": rb"SSH-2\.0-",
            "http": rb"[A-Z]",
            "smtp": rb"EHLO ",
            "imap": rb"\S+ CAPABILITY\r",
            "pop3": rb"CAPA\r|STLS\r",
            "ftp": rb"AUTH ",
            "postgresql": re.escape(upgrading.SSL_REQUEST),
            "dtls": rb"\x16\xfe",
            "quic": rb"[\xc0-\xff]\x00\x00\x00\x01",
        }
        assert re.match(expected[each["protocol"]], start), each


def test_todays_programs_send_hellos_of_two_segments() -> None:
    segments = [flow.hello_segments() for flow in flows_of(DATA / "tls13_pq_two_segments.pcap")]
    assert segments == [2]
    bundled = [flow.hello_segments() for flow in flows_of(TODAY)]
    assert max(bundled) == 2


def test_the_programs_of_2019_are_those_of_the_list_and_send_hellos_of_one_segment() -> None:
    listed = {(program.program, program.line) for program in programs2019.PROGRAMS}
    assert {(each["program"], each["command"]) for each in LABELS[OF_2019]} == listed
    assert {program.home for program in programs2019.PROGRAMS} == set(programs2019.HOMES)
    assert {flow.hello_segments() for flow in flows_of(OF_2019)} == {1}
    assert len(LABELS[OF_2019]) <= 15


@pytest.mark.parametrize("file", [TODAY, OF_2019], ids=lambda file: file.name)
def test_every_bundled_program_is_in_the_text_beside_it(file: Path) -> None:
    text = (BUNDLED / "README.md").read_text()
    for each in LABELS[file]:
        assert (
            f"| {each['program']} {each['version']} | {each['library'] or ''} | `{each['command']}` |" in text
        )


def test_writing_one_part_of_the_text_leaves_the_other(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    today, of_2019 = (PROGRAMS[0], "1.0", "A"), (programs2019.PROGRAMS[0], "2.0", "B")
    readme.write(file, [today], "a system")
    first = file.read_text()
    readme.write(file, [of_2019], "a system")
    both = file.read_text()
    assert both.startswith(first)
    assert both.count(readme.HEADING_2019) == 1
    readme.write(file, [today], "a system")
    assert file.read_text() == both


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
