"""pcapng: what it may hold, read back by scapy too, and every way in which it can be broken."""

import struct
from pathlib import Path
from typing import Any

import pytest
from capture.blocks import MICRO, block, enhanced, interface, obsolete, option, pad, section, simple
from capture.frames import write
from scapy.utils import RawPcapNgReader

from vermilion_capture.capturefile import CaptureError, CaptureFile, Frame
from vermilion_capture.pcapng import MAX_BLOCK, MAX_INTERFACES

ONE, TWO, THREE = bytes(range(61)), b"a" * 100, b"b" * 47
ORDERS = pytest.mark.parametrize("order", ["<", ">"])


def read(path: Path) -> list[Frame]:
    with CaptureFile(path) as capture:
        return list(capture)


def mixed(order: str) -> bytes:
    """Blocks of every kind; unknown ones, custom ones and comments between them."""
    comment = option(1, b"made by hand", order) + option(0, b"", order)
    return (
        section(order, options=comment)
        + interface(1, 96, order, option(9, b"\x06", order) + option(0, b"", order))
        + enhanced(ONE, order=order)
        + block(5, bytes(12), order)
        + block(0x0BAD, struct.pack(order + "I", 32473) + b"whatever", order)
        + simple(THREE, order=order)
        + block(0x8000_1234, b"", order)
        + obsolete(TWO, order=order)
    )


@ORDERS
def test_every_kind_of_block(tmp_path: Path, order: str) -> None:
    assert (
        read(write(tmp_path, mixed(order)))
        == [
            Frame(MICRO, ONE, 61, 1),
            Frame(MICRO, THREE, 47, 1),  # has no time of its own
            Frame(MICRO, TWO[:96], 100, 1),
        ]
    )


@ORDERS
def test_scapy_reads_the_same(tmp_path: Path, order: str) -> None:
    file = (
        section(order)
        + interface(1, order=order)
        + interface(113, order=order, options=option(9, b"\x09", order) + option(0, b"", order))
        + enhanced(ONE, order=order)
        + enhanced(TWO, number=1, ticks=MICRO * 1000, order=order, wire=1500)
        + obsolete(THREE, order=order)
    )
    path = write(tmp_path, file, "x.pcapng")
    with RawPcapNgReader(str(path)) as reader:
        packets: Any = list(reader)  # scapy's stubs know the metadata of classic pcap only
    theirs = [
        Frame(
            (meta.tshigh << 32 | meta.tslow) * 1_000_000 // meta.tsresol,
            data,
            meta.wirelen,
            meta.linktype,
        )
        for data, meta in packets
    ]
    assert read(path) == theirs
    assert [frame.link_type for frame in theirs] == [1, 113, 1]


@pytest.mark.parametrize(
    ("resolution", "ticks"),
    [
        (b"\x00", MICRO // 1_000_000),
        (b"\x03", MICRO // 1000),
        (b"\x06", MICRO),
        (b"\x09", MICRO * 1000 + 999),
        (b"\x0c", 12_345_678_901_234_567),  # 64 bits of picoseconds: seven months
        (b"\x80", MICRO // 1_000_000),
        (b"\x94", (MICRO << 20) // 1_000_000),
        (b"\xa0", (MICRO << 32) // 1_000_000 + 1),
    ],
)
def test_resolutions(tmp_path: Path, resolution: bytes, ticks: int) -> None:
    """Powers of ten and of two, finer than microseconds or coarser."""
    options = option(2, b"eth0") + option(9, resolution) + option(0, b"")
    file = section() + interface(options=options) + enhanced(ONE, ticks=ticks)
    per_second = 1 << (resolution[0] & 127) if resolution[0] & 128 else 10 ** resolution[0]
    assert read(write(tmp_path, file))[0].time == ticks * 1_000_000 // per_second


@ORDERS
@pytest.mark.parametrize("offset", [1000, -1000])
def test_an_offset_is_added_to_the_time(tmp_path: Path, order: str, offset: int) -> None:
    options = option(14, struct.pack(order + "q", offset), order)  # the list goes without its end
    file = section(order) + interface(order=order, options=options) + enhanced(ONE, order=order)
    assert read(write(tmp_path, file))[0].time == MICRO + offset * 1_000_000


def test_sections_have_their_own_byte_order_and_interfaces(tmp_path: Path) -> None:
    file = (
        section("<")
        + interface(101)
        + enhanced(ONE)
        + section(">", (1, 2))
        + interface(1, order=">")
        + interface(276, order=">", options=option(9, b"\x09", ">"))
        + enhanced(TWO, number=1, ticks=MICRO * 1000, order=">")
        + section("<")
        + interface(113)
        + simple(THREE)
    )
    assert read(write(tmp_path, file)) == [
        Frame(MICRO, ONE, 61, 101),
        Frame(MICRO, TWO, 100, 276),
        Frame(MICRO, THREE, 47, 113),
    ]


def test_snap_lengths(tmp_path: Path) -> None:
    """A simple packet block was clipped by it; in any other block it clips, as in classic pcap."""
    file = section() + interface(snaplen=60) + simple(TWO[:60], wire=100) + enhanced(TWO)
    assert [(len(frame.data), frame.wire_length) for frame in read(write(tmp_path, file))] == [(60, 100)] * 2
    # A frame longer than any is clipped too, whatever the interface says.
    file = section() + interface() + enhanced(bytes(300_000))
    assert [len(frame.data) for frame in read(write(tmp_path, file))] == [262_144]


def test_a_link_type_is_refused_when_a_packet_of_it_comes(tmp_path: Path) -> None:
    file = section() + interface(105) + interface(1) + enhanced(ONE, number=1)
    assert len(read(write(tmp_path, file))) == 1
    for packet in (enhanced(TWO), simple(TWO), obsolete(TWO)):
        path = write(tmp_path, file + packet)
        with pytest.raises(
            CaptureError, match=r"interface 0: link type 105 is not read.*Ethernet \(1\)"
        ) as error:
            read(path)
        assert f"{path}: offset " in str(error.value)


HEAD = section() + interface()


@pytest.mark.parametrize(
    ("data", "offset", "why"),
    [
        (section()[:8], 8, "section header is cut off"),
        (section()[:20], 0, "block is cut off: 20 of 28 bytes"),
        (b"\x0a\x0d\x0d\x0a" + bytes(40), 8, "without the byte-order magic (there is 00 00 00 00)"),
        (section(version=(2, 0)), 12, "version 2.0 is not read"),
        (block(0x0A0D0D0A, struct.pack("<III", 0x1A2B3C4D, 1, 0)), 4, "24 bytes is too short: section"),
        (section() + enhanced(ONE), 36, "interface 0; the section describes 0"),
        (section() + simple(ONE), 28, "interface 0; the section describes 0"),
        (HEAD + enhanced(ONE, number=9), 56, "interface 9; the section describes 1"),
        (HEAD + enhanced(ONE)[:10], 48, "header is cut off"),
        (HEAD + enhanced(ONE)[:-1], 48, "cut off: 95 of 96 bytes"),
        (HEAD + struct.pack("<III", 6, 13, 0), 52, "claims 13 bytes"),
        (HEAD + struct.pack("<III", 6, 8, 0), 52, "claims 8 bytes"),
        (HEAD + struct.pack("<III", 6, MAX_BLOCK + 4, 0), 52, f"claims {MAX_BLOCK + 4} bytes"),
        (HEAD + enhanced(ONE)[:-4] + bytes(4), 140, "a block of 96 bytes says at its end that it has 0"),
        (HEAD + block(6, bytes(16)), 52, "28 bytes is too short: packet"),
        (HEAD + block(2, bytes(16)), 52, "28 bytes is too short: packet"),
        (HEAD + block(3, b""), 52, "12 bytes is too short: simple packet"),
        (section() + block(1, bytes(4)), 32, "16 bytes is too short: interface"),
        (HEAD + block(6, struct.pack("<IIIII", 0, 0, 0, 5, 5) + bytes(4)), 68, "5 bytes in a block for 4"),
        (HEAD + block(3, struct.pack("<I", 5) + bytes(4)), 56, "5 bytes in a block for 4"),
        (HEAD + enhanced(ONE, ticks=1 << 63), 60, "no date: 9223372036854 seconds"),
        (
            section() + interface(options=option(14, struct.pack("<q", -5))) + enhanced(ONE, ticks=0),
            72,
            "no date: -5",
        ),
        (
            section() + interface(options=struct.pack("<HHI", 2, 5, 0)),
            44,
            "option 2 claims 5 bytes, 4 are left",
        ),
        (section() + interface(options=option(9, b"\6\6")), 46, "if_tsresol has 2 bytes instead of 1"),
        (section() + interface(options=option(14, b"1234")), 46, "if_tsoffset has 4 bytes instead of 8"),
        (
            section() + interface() * (MAX_INTERFACES + 1),
            28 + 20 * MAX_INTERFACES,
            "more than 65536 interfaces",
        ),
    ],
)
def test_says_where_it_breaks_and_how(tmp_path: Path, data: bytes, offset: int, why: str) -> None:
    path = write(tmp_path, data)
    with pytest.raises(CaptureError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: offset {offset}: ")
    assert why in str(error.value)


def outcome(path: Path) -> tuple[list[Frame], bool]:
    """The frames, and whether the file broke; any other exception fails the test."""
    frames: list[Frame] = []
    try:
        with CaptureFile(path) as capture:
            frames.extend(iter(capture))
    except CaptureError as error:
        assert str(path) in str(error)
        assert "offset " in str(error)
        return frames, True
    return frames, False


@ORDERS
def test_every_truncation(tmp_path: Path, order: str) -> None:
    """What comes before the cut is read; only a cut between two blocks goes unseen."""
    data = mixed(order)
    whole = read(write(tmp_path, data))
    borders = {0}
    while max(borders) < len(data):
        at = max(borders)
        borders.add(at + struct.unpack_from(order + "I", data, at + 4)[0])
    for end in range(len(data)):
        frames, broken = outcome(write(tmp_path, data[:end]))
        assert frames == whole[: len(frames)]
        assert broken is (end not in borders or end == 0)


@ORDERS
def test_every_byte_corrupted(tmp_path: Path, order: str) -> None:
    data = mixed(order)
    whole = read(write(tmp_path, data))
    for at, byte in enumerate(data):
        for value in {0, 0xFF, 0x7F, byte ^ 1, byte ^ 0x80, byte ^ 8} - {byte}:
            frames, _ = outcome(write(tmp_path, data[:at] + bytes([value]) + data[at + 1 :]))
            assert len(frames) <= len(whole)
            assert all(0 <= frame.time < 1 << 63 and len(frame.data) <= 100 for frame in frames)


def test_blocks_across_the_pieces_of_reading(tmp_path: Path) -> None:
    frames = [bytes([number % 251]) * (number % 1400) for number in range(2000)]
    big = block(0x0BAD, bytes(3_000_000))
    file = HEAD + b"".join(map(enhanced, frames[:1000])) + big + b"".join(map(enhanced, frames[1000:]))
    assert [frame.data for frame in read(write(tmp_path, file))] == frames


def test_padding_is_not_data(tmp_path: Path) -> None:
    for size in range(5):
        assert read(write(tmp_path, HEAD + enhanced(ONE[:size])))[0].data == ONE[:size]
        assert read(write(tmp_path, HEAD + simple(ONE[:size])))[0].data == ONE[:size]
        assert len(pad(ONE[:size])) % 4 == 0
