"""pcapng: blocks in sections; each section has its byte order and its interfaces.

Source: draft-ietf-opsawg-pcapng, whose sections are named below. Blocks that carry no packet and
describe no interface (names, statistics, secrets, comments, what comes later) are stepped over.
"""

from collections.abc import Callable, Iterator
from math import gcd
from struct import Struct
from typing import Any, NamedTuple

from vermilion_capture.frame import MAX_CAPTURED, CaptureError, Frame, new_frame, unsupported
from vermilion_capture.window import Window

SECTION_HEADER = 0x0A0D0D0A  # reads the same in both byte orders
MAGIC = SECTION_HEADER.to_bytes(4, "big")
_INTERFACE_DESCRIPTION, _OBSOLETE_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET = 1, 2, 3, 6
_BYTE_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_OPTION_END, _OPTION_TIME_RESOLUTION, _OPTION_TIME_OFFSET = 0, 9, 14

# A block's type, its length, and its length again at its end.
_FRAMING = 12
MAX_BLOCK = 16 * 1024 * 1024
MAX_INTERFACES = 65_536
# The end of the year 9999: later times are in no calendar, and would not fit into a record.
_MAX_TIME = 253_402_300_800_000_000

_Fields = Callable[[bytes, int], tuple[Any, ...]]


class _Interface(NamedTuple):
    """An interface; ``why`` tells why its packets are not read."""

    link_type: int
    snaplen: int
    clip: int
    # A tick of its clock is so many microseconds; and the clock began there.
    numerator: int
    denominator: int
    began: int
    why: str


def frames(window: Window) -> Iterator[Frame]:
    """The frames of a file that ``window`` stands at the beginning of.

    Its byte order is read at once, its blocks when they are asked for; both raise CaptureError.
    """
    data = window.advance(0, _FRAMING)
    if len(data) < _FRAMING:
        raise window.fail(len(data), "the section header is cut off")
    return _blocks(window, _Section(window, data, 0))


# 3.1 General Block Structure
def _blocks(window: Window, section: "_Section") -> Iterator[Frame]:
    buffer, at = window.buffer, 0
    end = len(buffer)
    frame: Frame | None
    newest = 0
    while True:
        if end - at < _FRAMING:
            buffer = window.advance(at, _FRAMING)
            at, end = 0, len(buffer)
            if not end:
                return
            if end < _FRAMING:
                raise window.fail(0, "the last block's header is cut off")
        kind, length = section.framing(buffer, at)
        if kind == SECTION_HEADER:
            section = _Section(window, buffer, at)
            _, length = section.framing(buffer, at)
        if length & 3 or not _FRAMING <= length <= MAX_BLOCK:
            raise window.fail(
                at + 4,
                f"a block claims {length} bytes; a multiple of 4 from {_FRAMING} to {MAX_BLOCK} is expected",
            )
        if end - at < length:
            buffer = window.advance(at, length)
            at, end = 0, len(buffer)
            if end < length:
                raise window.fail(0, f"the last block is cut off: {end} of {length} bytes")
        (again,) = section.number(buffer, at + length - 4)
        if again != length:
            raise window.fail(
                at + length - 4, f"a block of {length} bytes says at its end that it has {again}"
            )
        if kind == _ENHANCED_PACKET:  # nearly every block is one
            frame = section.packet(buffer, at, length, section.enhanced)
        else:
            frame = section.block(kind, buffer, at, length, newest)
        at += length
        if frame is not None:
            newest = frame.time
            yield frame


class _Section:
    """What holds from one section header to the next; reads the blocks between.

    Each method takes the buffer, where in it the block begins, and its length.
    """

    def __init__(self, window: Window, buffer: bytes, at: int) -> None:
        """The byte order is known from the first twelve bytes, the rest once the block is whole."""
        order = _BYTE_ORDERS.get(buffer[at + 8 : at + 12])
        if order is None:
            seen = buffer[at + 8 : at + 12].hex(" ")
            raise window.fail(at + 8, f"a section header without the byte-order magic (there is {seen})")
        self._window = window
        self._interfaces: list[_Interface] = []
        self._order = order
        self.framing = Struct(order + "II").unpack_from
        self.number = Struct(order + "I").unpack_from
        self.enhanced = Struct(order + "IIIII").unpack_from
        # The same but for a narrower interface number and, skipped, how many packets were dropped.
        self._obsolete = Struct(order + "H2xIIII").unpack_from
        self._pair = Struct(order + "HH").unpack_from

    def block(self, kind: int, buffer: bytes, at: int, length: int, newest: int) -> Frame | None:
        """The frame in a block of the rarer kinds; None when it holds none.

        ``newest``: the time of the frame before.
        """
        if kind == _SIMPLE_PACKET:
            return self.simple_packet(buffer, at, length, newest)
        if kind == _OBSOLETE_PACKET:
            return self.packet(buffer, at, length, self._obsolete)
        if kind == _INTERFACE_DESCRIPTION:
            self.interface_description(buffer, at, length)
        elif kind == SECTION_HEADER:
            self.header(buffer, at, length)
        return None

    # 4.1 Section Header Block
    def header(self, buffer: bytes, at: int, length: int) -> None:
        """Check the version. The section's length is not looked at: what matters is its blocks."""
        if length < 28:
            raise self._short(at, length, "section header")
        major, minor = self._pair(buffer, at + 12)
        # Some writers say 1.2, which the draft tells to read as 1.0.
        if (major, minor) not in ((1, 0), (1, 2)):
            raise self._window.fail(at + 12, f"pcapng version {major}.{minor} is not read, only 1.0")

    # 4.2 Interface Description Block
    def interface_description(self, buffer: bytes, at: int, length: int) -> None:
        """Learn of an interface; what is wrong with its link type is told when a packet comes."""
        if length < 20:
            raise self._short(at, length, "interface description")
        if len(self._interfaces) == MAX_INTERFACES:
            raise self._window.fail(at, f"a section describes more than {MAX_INTERFACES} interfaces")
        link_type, _reserved = self._pair(buffer, at + 8)
        (limit,) = self.number(buffer, at + 12)
        snaplen = limit or MAX_BLOCK  # 0: none
        ticks, began = 1_000_000, 0
        for code, where, size in self._options(buffer, at + 16, at + length - 4):
            if code == _OPTION_TIME_RESOLUTION:
                self._sized(where, size, 1, "if_tsresol")
                # The most significant bit chooses between powers of 2 and of 10.
                value = buffer[where]
                ticks = 1 << (value & 0x7F) if value & 0x80 else 10**value
            elif code == _OPTION_TIME_OFFSET:
                self._sized(where, size, 8, "if_tsoffset")
                (began,) = Struct(self._order + "q").unpack_from(buffer, where)
        common = gcd(1_000_000, ticks)
        self._interfaces.append(
            _Interface(
                link_type,
                snaplen,
                min(snaplen, MAX_CAPTURED),
                1_000_000 // common,
                ticks // common,
                began * 1_000_000,
                unsupported(link_type),
            )
        )

    # 4.3 Enhanced Packet Block, and the Packet Block (obsolete) that it came instead of
    def packet(self, buffer: bytes, at: int, length: int, fields: _Fields) -> Frame:
        """A packet with its interface and time, which ``fields`` unpacks."""
        if length < 32:
            raise self._short(at, length, "packet")
        number, high, low, captured, wire = fields(buffer, at + 8)
        try:
            interface = self._interfaces[number]
        except IndexError:
            raise self._unknown(at + 8, number) from None
        link_type, _snaplen, clip, numerator, denominator, began, why = interface
        if why:
            raise self._window.fail(at + 8, f"a packet of interface {number}: {why}")
        time = (high << 32 | low) * numerator // denominator + began
        if not 0 <= time < _MAX_TIME:
            raise self._window.fail(
                at + 12, f"a packet's time is no date: {time // 1_000_000} seconds after 1970"
            )
        if captured > length - 32:
            raise self._window.fail(at + 20, f"a packet of {captured} bytes in a block for {length - 32}")
        start = at + 28
        data = buffer[start : start + (captured if captured <= clip else clip)]
        return new_frame(Frame, (time, data, wire, link_type))

    # 4.4 Simple Packet Block
    def simple_packet(self, buffer: bytes, at: int, length: int, time: int) -> Frame:
        """A packet of interface 0 that has no time; ``time`` is the one to give it."""
        if length < 16:
            raise self._short(at, length, "simple packet")
        (wire,) = self.number(buffer, at + 8)
        if not self._interfaces:
            raise self._unknown(at, 0)
        interface = self._interfaces[0]
        if interface.why:
            raise self._window.fail(at, f"a packet of interface 0: {interface.why}")
        captured = min(wire, interface.snaplen)
        if captured > length - 16:
            raise self._window.fail(at + 8, f"a packet of {captured} bytes in a block for {length - 16}")
        start = at + 12
        return Frame(time, buffer[start : start + min(captured, interface.clip)], wire, interface.link_type)

    # 3.5 Options: code, length, value, padded to four bytes; the list may go without its end
    def _options(self, buffer: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
        while end - at >= 4:
            code, size = self._pair(buffer, at)
            if code == _OPTION_END:
                return
            if size > end - at - 4:
                raise self._window.fail(at, f"option {code} claims {size} bytes, {end - at - 4} are left")
            yield code, at + 4, size
            at += 4 + (size + 3 & ~3)

    def _unknown(self, at: int, number: int) -> CaptureError:
        return self._window.fail(
            at, f"a packet of interface {number}; the section describes {len(self._interfaces)}"
        )

    def _short(self, at: int, length: int, what: str) -> CaptureError:
        return self._window.fail(at + 4, f"a block of {length} bytes is too short: {what}")

    def _sized(self, at: int, size: int, expected: int, option: str) -> None:
        if size != expected:
            raise self._window.fail(at - 2, f"{option} has {size} bytes instead of {expected}")
