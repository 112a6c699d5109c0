"""A savefile read in blocks gives what it gives a frame at a time, whatever its numbers are written like."""

import struct
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fingerprint.hellos import ROOT

from vermilion_capture.capturefile import CaptureBlocks, CaptureError, CaptureFile
from vermilion_capture.frame import Frame
from vermilion_capture.savefile import Stretch
from vermilion_capture.source import Policy, Source

RECORDING = ROOT / "cli/src/vermilion/recordings/programs.pcap"
CAPTURES = sorted(
    [*(ROOT / "tests/data").glob("*.pcap"), *(ROOT / "cli/src/vermilion/recordings").glob("*.pcap")]
)


def given(capture: CaptureFile | CaptureBlocks) -> list[dict[str, Any]]:
    source = Source(capture, "s", Policy(), replayed=True)
    source.run = "r"
    return [dict(item.record) for item in source]


def every(path: Path) -> list[Frame]:
    with CaptureFile(path) as capture:
        return list(capture)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_blocks_give_the_same_records_and_marks(path: Path) -> None:
    assert given(CaptureBlocks(path)) == given(CaptureFile(path))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("magic", "fractions"), [(0xA1B2C3D4, 1), (0xA1B23C4D, 1000)])
def test_byte_orders_and_fractions(order: str, magic: int, fractions: int, tmp_path: Path) -> None:
    frames = every(RECORDING)
    path = tmp_path / "written.pcap"
    with path.open("wb") as file:
        file.write(struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 0, frames[0].link_type))
        for frame in frames:
            seconds, rest = divmod(frame.time, 1_000_000)
            times = (seconds, rest * fractions, len(frame.data), frame.wire_length)
            file.write(struct.pack(order + "IIII", *times) + frame.data)
    assert every(path) == frames
    assert given(CaptureBlocks(path)) == given(CaptureFile(RECORDING))


def test_marks_stand_between_the_packets_that_they_divide() -> None:
    records = given(CaptureBlocks(RECORDING))
    marks = [each for each in records if each["kind"] != "SEGMENT"]
    assert len(marks) > 2
    for before, mark in pairwise(records):
        if mark["kind"] == "TIME_MARK":
            assert before["time"] <= mark["time"]


@pytest.mark.parametrize("cut", [24, 30, 40, 50, 1000, 1001])
def test_a_file_cut_off_gives_what_is_whole_and_then_the_error(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(RECORDING.read_bytes()[:cut])
    told: list[list[Frame]] = []
    errors = []
    for kind in (CaptureFile, CaptureBlocks):
        frames: list[Frame] = []
        try:
            with closing(kind(path)) as pieces:
                for piece in pieces:
                    frames += [piece] if isinstance(piece, Frame) else piece
        except CaptureError as error:
            errors.append(str(error))
        told.append(frames)
    assert told[0] == told[1]
    assert len(set(errors)) <= 1
    assert (len(errors) == 2) is (cut != 24)


def test_a_stretch_does_not_begin_outside_its_buffer() -> None:
    for at in (-1, 5):
        with pytest.raises(ValueError, match="offset"):
            Stretch(b"1234", at, 1, False, 1, 100)
    with pytest.raises(ValueError, match="0 a microsecond"):
        Stretch(b"", 0, 1, False, 0, 100)
