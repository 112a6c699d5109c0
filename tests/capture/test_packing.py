"""What a capture may come in: gzip, zstd, standard input; and how that breaks."""

import gzip
import io
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from capture.blocks import enhanced, interface, section
from capture.frames import pcap, write

from vermilion_capture.capturefile import CaptureError, CaptureFile, Frame
from vermilion_capture.window import STDIN

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FRAMES = [bytes((n * m) % 251 for n in range(900)) for m in range(1, 40)]
CLASSIC = pcap(FRAMES)
NEXT = section() + interface() + b"".join(map(enhanced, FRAMES))


def read(path: Path) -> list[Frame]:
    with CaptureFile(path) as capture:
        return list(capture)


def halves(pack: Any, data: bytes) -> bytes:
    """Two members, or frames, one after the other."""
    return bytes(pack(data[:1000]) + pack(data[1000:]))


@pytest.mark.parametrize("plain", [CLASSIC, NEXT])
@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress,
        lambda data: halves(gzip.compress, data) + bytes(300_000),
        lambda data: gzip.compress(data[:50]) + bytes(600_000) + gzip.compress(data[50:]),
        zstd.compress,
        lambda data: halves(zstd.compress, data),
        # RFC 8878 3.1.2: a skippable frame, as parallel packers put before each of theirs
        lambda data: b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + zstd.compress(data) + b"\x5f\x2a\x4d\x18\0\0\0\0",
        lambda data: zstd.compress(data, options={zstd.CompressionParameter.window_log: 27}),
    ],
)
def test_sees_through_packing(tmp_path: Path, plain: bytes, packed: Any) -> None:
    path = write(tmp_path, packed(plain))
    with CaptureFile(path) as capture:
        assert [frame.data for frame in capture] == FRAMES
        assert capture.consumed == capture.size == path.stat().st_size


@pytest.mark.parametrize(("pack", "name"), [(gzip.compress, "gzip"), (zstd.compress, "zstd")])
def test_every_truncation_of_a_packed_file(tmp_path: Path, pack: Any, name: str) -> None:
    data = pack(CLASSIC)
    for end in range(4, len(data), 31):
        path = write(tmp_path, data[:end])
        with pytest.raises(
            CaptureError, match=rf"offset \d+ \(unpacked\): the {name} stream is cut off"
        ) as error:
            read(path)
        assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_corrupted_bytes_of_a_packed_file(tmp_path: Path, pack: Any) -> None:
    data = pack(CLASSIC)
    for at in range(0, len(data), 19):
        path = write(tmp_path, data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        try:
            assert len(read(path)) <= len(FRAMES)
        except CaptureError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_what_comes_before_the_damage_is_read(tmp_path: Path, pack: Any) -> None:
    plain = pcap([os.urandom(1000) for _ in range(2000)])
    frames: list[Frame] = []
    with CaptureFile(write(tmp_path, pack(plain)[:-1000])) as capture, pytest.raises(CaptureError):
        frames.extend(iter(capture))
    assert len(frames) >= 1700


def test_rubbish_after_a_member(tmp_path: Path) -> None:
    for pack, name in ((gzip.compress, "gzip"), (zstd.compress, "zstd")):
        frames: list[Frame] = []
        with (
            CaptureFile(write(tmp_path, pack(CLASSIC) + b"rubbish")) as capture,
            pytest.raises(CaptureError, match=f"{name} stream is damaged"),
        ):
            frames.extend(iter(capture))
        assert len(frames) == len(FRAMES)


def test_a_zstd_window_is_bounded(tmp_path: Path) -> None:
    """RFC 8878 3.1.1.1: a frame header that asks for 1 GiB to look back on."""
    path = write(tmp_path, b"\x28\xb5\x2f\xfd\x00" + bytes([20 << 3]) + b"\x01\0\0")
    with pytest.raises(CaptureError, match="looks back more than 128 MiB; unpack it first"):
        read(path)


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_a_small_file_that_unpacks_to_much_takes_little_memory(tmp_path: Path, pack: Any) -> None:
    """256 MB of one frame after the other, packed to almost nothing."""
    frame = pcap([bytes(60_000)])[24:]
    path = write(tmp_path, pack(pcap([]) + frame * 4000))
    assert path.stat().st_size < 1_000_000
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from vermilion_capture.capturefile import CaptureFile\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert sum(1 for _ in CaptureFile(Path(sys.argv[1]))) == 4000\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(path)], capture_output=True, check=True
    )
    assert int(done.stdout) < 40_000  # KiB


class Stdin(io.TextIOWrapper):
    """Standard input, as a test puts it in its place."""

    terminal = False

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize("data", [CLASSIC, NEXT, gzip.compress(NEXT), zstd.compress(CLASSIC)])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(io.BytesIO(data)))
    with CaptureFile(STDIN) as capture:
        assert [frame.data for frame in capture] == FRAMES
        assert (capture.size, capture.consumed) == (0, len(data))
    assert not sys.stdin.closed


def test_standard_input_from_a_file_has_a_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with write(tmp_path, CLASSIC).open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        with CaptureFile(STDIN) as capture:
            assert capture.size == len(CLASSIC)
            assert len(list(capture)) == len(FRAMES)


def test_a_pipe_gives_each_frame_when_it_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame is not held back until more has come."""
    source, sink = os.pipe()
    monkeypatch.setattr(sys, "stdin", os.fdopen(source))
    os.write(sink, pcap(FRAMES[:1]))
    with CaptureFile(STDIN) as capture:
        frames = iter(capture)
        assert next(frames).data == FRAMES[0]
        record = pcap(FRAMES[1:2])[24:]

        def trickle() -> None:
            for byte in record:
                os.write(sink, bytes([byte]))
            os.close(sink)

        writer = threading.Thread(target=trickle)
        writer.start()
        assert [frame.data for frame in frames] == FRAMES[1:2]
        writer.join()
    sys.stdin.close()


def test_standard_input_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Stdin(io.BytesIO())
    terminal.terminal = True
    closed = Stdin(io.BytesIO())
    closed.close()
    for stdin, why in (
        (terminal, "standard input: is a terminal"),
        (closed, "standard input: is closed"),
        (None, "standard input: is closed"),
        (Stdin(io.BytesIO()), "standard input: offset 0: the file is empty"),
        (Stdin(io.BytesIO(CLASSIC[:-1])), "standard input: offset 34832: the last record is cut off"),
    ):
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(CaptureError, match=why):
            read(STDIN)


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise OSError(5, "Input/output error")
            return super().read1(100)

    monkeypatch.setattr(sys, "stdin", Stdin(Broken(CLASSIC)))
    with pytest.raises(CaptureError, match="standard input: offset 100: cannot be read: Input/output error"):
        read(STDIN)
