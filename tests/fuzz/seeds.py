"""Bytes to begin with, from the project's own captures."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from wire.mirrors import TUNNELS

from vermilion_capture.capturefile import CaptureFile
from vermilion_capture.packet import LINK_TYPES, Segment, segment
from vermilion_capture.source import FileSource
from vermilion_fingerprint.streams import in_order
from vermilion_pipeline.codec import Codec
from vermilion_pipeline.topics import PAYLOADS

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROOT = Path(__file__).parents[2]
OURS = sorted((ROOT / "tests/data").glob("*.pcap"))
HEAD = 4096
_SYN, _TCP = 2, 6
# Nothing of today sends one.
_SSLV2 = bytes.fromhex("802b01030100120000001001008000002f00000a0000ff000005000004") + bytes(16)


@lru_cache
def _segments() -> tuple[tuple[Segment, bytes], ...]:
    out = []
    for path in OURS:
        with CaptureFile(path) as capture:
            for frame in capture:
                found = segment(frame.data, frame.link_type)
                if isinstance(found, Segment):
                    out.append((found, frame.data))
    return tuple(out)


@lru_cache
def streams() -> tuple[bytes, ...]:
    """The heads of the directions of all flows."""
    pieces: dict[tuple[object, ...], list[tuple[int, bytes]]] = {}
    for found, _ in _segments():
        if found.payload and found.transport == _TCP:
            ends = (found.src_ip, found.src_port, found.dst_ip, found.dst_port)
            pieces.setdefault(ends, []).append((found.seq, found.payload))
    return (_SSLV2, *{in_order(each)[:HEAD]: None for each in pieces.values()})


def options() -> Iterator[bytes]:
    """The options of the segments that open a connection."""
    yield from {found.options for found, _ in _segments() if found.flags & _SYN}


def frames() -> Iterator[bytes]:
    """Frames, the number of their link type before them; and as raw IP."""
    links = sorted(LINK_TYPES)
    for _, frame in _segments()[:40]:
        yield bytes([links.index(1)]) + frame
        yield bytes([links.index(101)]) + frame[14:]


def runs() -> Iterator[bytes]:
    """Frames with their lengths before them: of a conversation, in each tunnel, and in fragments."""

    def joined(frames: Iterable[bytes]) -> bytes:
        return b"".join(len(frame).to_bytes(2, "big") + frame for frame in frames)

    conversation = [frame for _, frame in _segments()[:8] if len(frame) < 1800]
    yield joined(conversation)
    for mirror, _, _ in TUNNELS.values():
        yield joined(map(mirror, conversation))
        yield joined(part for frame in conversation for part in _in_fragments(mirror(frame)))


def _in_fragments(frame: bytes) -> list[bytes]:
    """An IPv4 packet's frame in two (RFC 791 section 3.2), another one as it is."""
    if frame[12:14] != b"\x08\0" or len(frame) < 50:
        return [frame]
    head, body = frame[:34], frame[34:]
    parts = [(b"\x20\0", body[:16]), (b"\0\2", body[16:])]
    return [
        head[:16] + (20 + len(part)).to_bytes(2, "big") + head[18:20] + field + head[22:] + part
        for field, part in reversed(parts)
    ]


def captures() -> Iterator[bytes]:
    """The beginning of capture files, in each packing; and a pcapng file."""
    head = OURS[0].read_bytes()[:2000]
    yield from (head, gzip.compress(head), zstd.compress(head))
    # RFC draft-ietf-opsawg-pcapng: section header, interface description, enhanced and simple packet
    blocks = [(0x0A0D0D0A, "4d3c2b1a01000000ffffffffffffffff"), (1, "010000000000040009000100060000000000"),
              (6, "00000000010000000200000004000000040000000a0b0c0d"), (3, "0400000001020304")]  # fmt: skip
    whole = b""
    for kind, text in blocks:
        body = bytes.fromhex(text)
        body += bytes(-len(body) % 4)
        size = (len(body) + 12).to_bytes(4, "little")
        whole += kind.to_bytes(4, "little") + size + body + size
    yield whole


def records() -> Iterator[bytes]:
    """Payload records as they are in Kafka."""
    encode = Codec().encoder(PAYLOADS)
    for path in OURS[:3]:
        for _, item in zip(range(20), FileSource(path, "sensor"), strict=False):
            yield encode(item.record)


def segments() -> Iterator[bytes]:
    """Streams cut into segments, as the target of that name reads them: a SYN, then 500 bytes each."""
    for stream in streams():
        out = bytes([0x82, 0, 0, 0, 0, 0, 0, 0])
        for number, at in enumerate(range(0, len(stream), 500), 1):
            piece = stream[at : at + 500]
            seq = (1 + at).to_bytes(2, "big")
            out += (
                bytes([0x90, min(number, 63)]) + seq + b"\0" + len(piece).to_bytes(2, "big") + b"\0" + piece
            )
        yield out
