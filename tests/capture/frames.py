"""Capture files and frames for tests."""

import gzip
import struct
from pathlib import Path

from scapy.layers.l2 import Ether

# Addresses given: scapy would ask the network for what is left out.
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def pcap(
    frames: list[bytes],
    *,
    order: str = "<",
    nano: bool = False,
    snaplen: int = 65535,
    link: int = 1,
    wire: int | None = None,
    time: tuple[int, int] = (1_700_000_000, 5),
) -> bytes:
    """A classic pcap file."""
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, link)
    for frame in frames:
        out += struct.pack(order + "IIII", *time, len(frame), wire or len(frame)) + frame
    return out


def write(folder: Path, data: bytes, name: str = "x.pcap", *, compressed: bool = False) -> Path:
    """The bytes as a file."""
    path = folder / name
    path.write_bytes(gzip.compress(data) if compressed else data)
    return path
