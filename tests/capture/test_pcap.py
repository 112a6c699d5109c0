"""Classic pcap, and what is none."""

import struct
from pathlib import Path

import pytest
from capture.frames import pcap, write

from vermilion_capture.capturefile import CaptureError, CaptureFile, Frame

FRAMES = [bytes(range(60)), b"a" * 100]


def read(path: Path) -> list[Frame]:
    with CaptureFile(path) as capture:
        return list(capture)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_byte_orders_resolutions_and_gzip(tmp_path: Path, order: str, nano: bool, compressed: bool) -> None:
    time = (1_700_000_000, 5_999 if nano else 5)
    path = write(tmp_path, pcap(FRAMES, order=order, nano=nano, time=time), compressed=compressed)
    assert read(path) == [Frame(1_700_000_000_000_005, frame, len(frame), 1) for frame in FRAMES]


def test_records_are_clipped_to_the_snap_length(tmp_path: Path) -> None:
    frames = read(write(tmp_path, pcap(FRAMES, snaplen=64)))
    assert [len(frame.data) for frame in frames] == [60, 64]
    assert frames[1].wire_length == 100


def test_a_snap_length_of_nothing_means_none(tmp_path: Path) -> None:
    assert [len(frame.data) for frame in read(write(tmp_path, pcap(FRAMES, snaplen=0)))] == [60, 100]


@pytest.mark.parametrize(
    ("data", "offset", "why"),
    [
        (b"", 0, "empty"),
        (b"\xd4\xc3", 0, "not a pcap"),
        (b"GET / HTTP/1.1\r\n\r\nfoo", 0, "not a pcap"),
        (pcap(FRAMES)[:20], 20, "header is cut off"),
        (pcap(FRAMES, link=105), 20, "link type 105"),
    ],
)
def test_no_pcap(tmp_path: Path, data: bytes, offset: int, why: str) -> None:
    path = write(tmp_path, data)
    with pytest.raises(CaptureError) as error:
        CaptureFile(path)
    assert str(error.value).startswith(f"{path}: offset {offset}: ")
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("data", "offset", "why"),
    [
        (pcap(FRAMES)[:-1], 100, "cut off: 99 of 100"),
        (pcap(FRAMES)[:-105], 100, "header is cut off"),
        (pcap(FRAMES) + struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 0xFFFFFFFF), 216, "claims 4294967295 bytes"),
    ],
)
def test_what_comes_before_the_break_is_read(tmp_path: Path, data: bytes, offset: int, why: str) -> None:
    path = write(tmp_path, data)
    frames: list[Frame] = []
    with CaptureFile(path) as capture, pytest.raises(CaptureError) as error:
        frames.extend(iter(capture))
    assert len(frames) == (1 if offset == 100 else 2)
    assert f"{path}: offset {offset}: " in str(error.value)
    assert why in str(error.value)


def test_missing_and_directory(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="No such file"):
        CaptureFile(tmp_path / "none.pcap")
    with pytest.raises(CaptureError, match="is a directory"):
        CaptureFile(tmp_path)
