"""The fingerprints of SYN and SYN/ACK segments, and what the peers make of the same ones."""

import gzip
import json
import timeit
from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vermilion_capture.capturefile import CaptureFile
from vermilion_capture.packet import Segment, segment
from vermilion_fingerprint import tcp

ROOT = Path(__file__).parent.parent.parent
DATA = Path(__file__).parents[3] / "shared" / "data"
SYN, ACK, ECE_CWR = 2, 16, 0xC0

MSS, PERMITTED, STAMPS, NOP, SCALE = (
    bytes.fromhex(option) for option in ("020405b4", "0402", "080a0001e24000000000", "01", "030307")
)
LINUX = MSS + PERMITTED + STAMPS + NOP + SCALE


def string(window: int, options: bytes) -> str:
    return tcp.fingerprint(tcp.Syn(4, 64, 0, window, options, False))


def npf(prefix: str, ip_version: int, ip_id: int, ttl: int, window: int, options: bytes) -> str:
    return tcp.npf(tcp.Syn(ip_version, ttl, ip_id, window, options, prefix == "tcp_server"))


def test_the_strings() -> None:
    """The example of the peer's form: MSS and window scale whole, the others by their kind."""
    assert string(0x7210, LINUX) == "(7210)(020405b4)(04)(08)(01)(030307)"
    assert npf("tcp", 4, 0x1234, 63, 0x7210, LINUX) == (
        "tcp/(40)()(20)(7210)((020405b4)(04)(08)(01)(030307))"
    )


@pytest.mark.parametrize(
    ("prefix", "ip_version", "ip_id", "ttl", "start"),
    [
        ("tcp", 4, 0, 64, "tcp/(40)(00)(40)"),
        ("tcp", 4, 1, 63, "tcp/(40)()(20)"),
        ("tcp", 4, 0xFFFF, 128, "tcp/(40)()(80)"),
        ("tcp_server", 6, 0, 255, "tcp_server/(60)(00)(e0)"),
        ("tcp_server", 6, 0xFFFFF, 0, "tcp_server/(60)()(00)"),
        ("tcp", 6, 1, 31, "tcp/(60)()(00)"),
    ],
)
def test_what_the_ip_header_adds(prefix: str, ip_version: int, ip_id: int, ttl: int, start: str) -> None:
    assert npf(prefix, ip_version, ip_id, ttl, 0xFFFF, b"") == f"{start}(ffff)()"


@pytest.mark.parametrize(
    ("options", "groups"),
    [
        ("", ""),
        ("00", "(00)"),
        ("01010402", "(01)(01)(04)"),
        ("0204ffff00010303ff", "(0204ffff)(00)(01)(0303ff)"),
        ("0202", "(0202)"),
        ("02060102030401", "(020601020304)(01)"),
        ("fd0401020101", "(fd)(01)(01)"),
        # An option that cannot be ends the walk and is told by its kind.
        ("0800020405b4", "(08)"),
        ("0801020405b4", "(08)"),
        ("0200020405b4", "(02)"),
        ("0100", "(01)(00)"),
        ("020405", "(02)"),
        ("02", "(02)"),
        ("01080a00", "(01)(08)"),
        ("08ff01", "(08)"),
    ],
)
def test_options(options: str, groups: str) -> None:
    assert string(1, bytes.fromhex(options)) == "(0001)" + groups
    assert npf("tcp", 4, 1, 0, 1, bytes.fromhex(options)) == f"tcp/(40)()(00)(0001)({groups})"


def test_options_end_where_a_header_can() -> None:
    """RFC 9293 3.1: 15 words at most. A record may hold anything, for a stranger wrote it."""
    assert string(0, b"\1" * (1 << 16)) == "(0000)" + "(01)" * 40
    # A busy machine may take one of them off its processor, not twenty.
    assert min(timeit.repeat(lambda: string(0, b"\1" * (1 << 16)), number=1, repeat=20)) < 0.005


@given(st.integers(-(1 << 31), (1 << 31) - 1), st.binary(max_size=60))
def test_any_options(number: int, options: bytes) -> None:
    text = string(number, options)
    assert text.startswith(f"({number & 0xFFFF:04x})")
    assert len(text) <= 6 + 4 * 40
    assert npf("tcp", 4, number, number, number, options).endswith(f"({text[6:]})")


@given(st.binary(max_size=40), st.integers(0, 40))
def test_cut_options_begin_like_the_whole(options: bytes, end: int) -> None:
    """But for the last one, which is told by its kind when it is cut."""
    cut, whole = string(0, options[:end]), string(0, options)
    assert whole.startswith(cut[: cut.rindex("(") + 3])


def segments(path: Path) -> list[Segment]:
    """Each SYN and SYN/ACK of a capture."""
    with CaptureFile(path) as capture:
        parts = [segment(frame.data) for frame in capture]
    return [part for part in parts if isinstance(part, Segment) and part.flags & SYN]


def found(path: Path) -> list[tuple[tuple[str, int, str, int], str, str, str]]:
    """Each SYN and SYN/ACK of a capture: its end points, its type, pmercury's and mercury's string."""
    out = []
    for part in segments(path):
        kind = "tcp_server" if part.flags & ACK else "tcp"
        version = 4 if len(part.src_ip) == 4 else 6
        ends = (str(ip_address(part.src_ip)), part.src_port, str(ip_address(part.dst_ip)), part.dst_port)
        form = npf(kind, version, part.ip_id, part.ttl, part.window, part.options)
        out.append((ends, kind, string(part.window, part.options), form))
    return out


def test_an_ecn_syn_counts() -> None:
    """RFC 3168 6.1.1: the control bits are not in the string, nor do they decide whether there is one."""
    with CaptureFile(ROOT / "tests/data/ssh_openssh.pcap") as capture:
        frame = bytearray(next(iter(capture)).data)
    before = segment(bytes(frame))
    frame[14 + 20 + 13] |= ECE_CWR
    after = segment(bytes(frame))
    assert isinstance(before, Segment)
    assert isinstance(after, Segment)
    assert (before.flags, after.flags) == (SYN, SYN | ECE_CWR)
    assert string(after.window, after.options) == string(before.window, before.options)


def test_the_projects_own_recordings() -> None:
    """Linux's stack wrote them: both sides' forms, and as many SYN/ACKs as SYNs."""
    each = found(ROOT / "cli/src/vermilion/recordings/programs.pcap")
    kinds = Counter(kind for _, kind, _, _ in each)
    assert kinds["tcp"] == kinds["tcp_server"] > 30
    for _, kind, seed, npf in each:
        assert seed[6:] in ("(020405b4)(04)(08)(01)(03030a)", "(020405a0)(04)(08)(01)(03030a)")
        assert npf.startswith(f"{kind}/({'60' if seed[6:].startswith('(020405a0)') else '40'})")
        assert npf.endswith(f"{seed[:6]}({seed[6:]})")


# The peers. Captures that are no plain Ethernet, by what is in them.

reference = pytest.mark.skipif(
    not DATA.is_dir(), reason="the peers' recorded outputs are not here (../shared/data)"
)


def golden(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


def test_readable() -> None:
    syn = tcp.Syn(4, 64, 1, 0x7210, LINUX + b"\xfe\x04\x12\x34\x1e\x01", False)
    assert syn.readable() == {
        "window": 0x7210,
        "options": [
            {"maximum_segment_size": 1460}, {"sack_permitted": ""}, {"timestamps": "0001e24000000000"},
            {"no_operation": ""}, {"window_scale": 7}, {"fe": "1234"}, {"multipath_tcp": ""},
        ],
    }  # fmt: skip


def test_an_option_of_another_length_is_no_number() -> None:
    """RFC 9293 3.2: MSS has four bytes in all."""
    syn = tcp.Syn(4, 64, 1, 0, bytes.fromhex("02060102030403040102"), False)
    assert syn.readable()["options"] == [{"maximum_segment_size": "01020304"}, {"window_scale": "0102"}]
