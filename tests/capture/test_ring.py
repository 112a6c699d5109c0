"""The walk through a block of packets: what the kernel says is checked before it is followed."""

import random
import struct

import pytest

from vermilion_capture.items import Origin
from vermilion_capture.ring import BLOCK_HEADER, PACKET_HEADER, Block, Ring
from vermilion_capture.sieve import Sieve

ADDRESSES = bytes(range(12))
FRAME = ADDRESSES + b"\x08\x00payload"


def packet(data: bytes, next_offset: int | None = None, **fields: int) -> bytes:
    """A packet behind its header (struct tpacket3_hdr)."""
    size = PACKET_HEADER + len(data)
    head = struct.pack(
        "=6I2H2I2H8x",
        size if next_offset is None else next_offset,
        fields.get("seconds", 7), fields.get("nanoseconds", 1_999), fields.get("captured", len(data)),
        fields.get("wire", len(data)), fields.get("status", 1), fields.get("mac", PACKET_HEADER), 0,
        0, fields.get("tci", 0), fields.get("tpid", 0), 0,
    )  # fmt: skip
    return head + data


def block(*packets: bytes, count: int | None = None, first: int = BLOCK_HEADER, length: int = -1) -> bytes:
    """A block that the kernel has handed over (struct tpacket_block_desc)."""
    body = b"".join(packets)
    size = BLOCK_HEADER + len(body) if length < 0 else length
    return struct.pack("=6I24x", 1, 0, 1, len(packets) if count is None else count, first, size) + body


def test_frames_with_their_times_and_tags() -> None:
    tagged, service = 1 << 4, 1 << 4 | 1 << 6
    found = list(
        Block(
            block(
                packet(FRAME, wire=99),
                packet(FRAME, status=tagged, tci=0x2005),
                packet(FRAME, status=service, tci=7, tpid=0x88A8),
                packet(b"short", status=tagged, tci=5),
            ),
            1,
        )
    )
    assert found == [
        (7_000_001, FRAME, 99, 1),
        (7_000_001, ADDRESSES + b"\x81\x00\x20\x05" + FRAME[12:], len(FRAME) + 4, 1),
        (7_000_001, ADDRESSES + b"\x88\xa8\x00\x07" + FRAME[12:], len(FRAME) + 4, 1),
        (7_000_001, b"short", 5, 1),
    ]


@pytest.mark.parametrize(
    "damaged",
    [
        block(packet(FRAME), count=2),
        block(packet(FRAME), packet(FRAME, captured=len(FRAME) + 1)),
        block(packet(FRAME), packet(FRAME, mac=60_000)),
        block(packet(FRAME), packet(FRAME, captured=0xFFFFFFFF)),
        block(packet(FRAME, next_offset=0xFFFFFFFF), packet(FRAME)),
        block(packet(FRAME, next_offset=PACKET_HEADER - 1), packet(FRAME)),
        block(packet(FRAME, next_offset=0), packet(FRAME)),
        block(packet(FRAME), packet(FRAME), length=BLOCK_HEADER + PACKET_HEADER + len(FRAME) + 10),
    ],
)
def test_an_offset_that_points_nowhere_ends_the_block(damaged: bytes) -> None:
    walked = Block(damaged, 1)
    assert [frame.data for frame in walked] == [FRAME]
    assert walked.damaged


@pytest.mark.parametrize("damaged", [b"", bytes(BLOCK_HEADER - 1), block(packet(FRAME), first=1 << 31)])
def test_a_block_without_a_first_packet(damaged: bytes) -> None:
    walked = Block(damaged, 1)
    assert list(walked) == []
    assert walked.damaged


def test_blocks_that_could_not_be_read_on_are_counted() -> None:
    sieve, origin = Sieve(), Origin("sensor", "run", False)
    whole = Block(block(packet(FRAME)), 1)
    sieve.block(whole, origin, 1 << 62)
    assert "damaged_block" not in sieve.counts
    sieve.block(Block(block(packet(FRAME), count=2), 1), origin, 1 << 62)
    assert sieve.counts["damaged_block"] == 1
    assert sieve.counts["packets"] == 2


def test_whatever_a_block_says_nothing_beyond_it_is_read() -> None:
    """What lies around the block is marked: no frame may have a byte of it."""
    draw = random.Random(7)
    whole = block(*[packet(FRAME)] * 4)
    for _ in range(20_000):
        damaged = bytearray(whole)
        for _ in range(draw.randrange(1, 5)):
            at = draw.randrange(len(damaged))
            damaged[at] = draw.choice((0, 1, 0x40, 0x7F, 0xFF, draw.randrange(256)))
        around = bytes(damaged) + b"\xee" * 70_000
        for frame in Block(memoryview(around)[: len(damaged)], 1):
            assert len(frame.data) <= len(damaged) + 4
            assert b"\xee\xee" not in frame.data


def test_a_ring_gives_blocks_in_order_and_gives_them_back() -> None:
    size = 512
    memory = bytearray(size * 2)
    ring = Ring(memory, size, 2)
    assert ring.next(1, 2000) is None
    for at, data in ((0, b"first"), (size, b"second")):
        whole = block(packet(data))
        memory[at : at + len(whole)] = whole
    blocks = []
    while (one := ring.next(1, 2000)) is not None:
        blocks.append([frame.data for frame in one])
    assert blocks == [[b"first"], [b"second"]]
    assert [memory[at + 8] for at in (0, size)] == [0, 0]


def test_a_ring_needs_the_memory_that_it_is_told_of() -> None:
    with pytest.raises(ValueError, match="2 blocks of 512"):
        Ring(bytearray(1023), 512, 2)
