"""pcapng files built by hand: each function gives one block of draft-ietf-opsawg-pcapng."""

import struct

MICRO = 1_700_000_000_000_005


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """3.1: type, total length, body, total length."""
    length = len(body) + 12
    return struct.pack(order + "II", kind, length) + body + struct.pack(order + "I", length)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    """3.5"""
    return struct.pack(order + "HH", code, len(value)) + pad(value)


def pad(data: bytes) -> bytes:
    """Up to a multiple of four bytes."""
    return data + bytes(-len(data) % 4)


def section(order: str = "<", version: tuple[int, int] = (1, 0), options: bytes = b"") -> bytes:
    """4.1"""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, *version, -1) + options, order)


def interface(link: int = 1, snaplen: int = 0, order: str = "<", options: bytes = b"") -> bytes:
    """4.2"""
    return block(1, struct.pack(order + "HHI", link, 0, snaplen) + options, order)


def enhanced(
    data: bytes, *, number: int = 0, ticks: int = MICRO, order: str = "<", wire: int | None = None
) -> bytes:
    """4.3"""
    fields = (number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data) if wire is None else wire)
    return block(6, struct.pack(order + "IIIII", *fields) + pad(data), order)


def simple(data: bytes, *, order: str = "<", wire: int | None = None) -> bytes:
    """4.4"""
    return block(3, struct.pack(order + "I", len(data) if wire is None else wire) + pad(data), order)


def obsolete(data: bytes, *, number: int = 0, ticks: int = MICRO, order: str = "<") -> bytes:
    """Appendix A, with 7 packets dropped and an option after the data."""
    fields = (number, 7, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    end = option(2, b"\0\0\0\1", order) + option(0, b"", order)
    return block(2, struct.pack(order + "HHIIII", *fields) + pad(data) + end, order)
