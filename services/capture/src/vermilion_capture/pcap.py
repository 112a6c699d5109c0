"""Classic pcap savefiles: micro- and nanosecond, both byte orders.

Source: the pcap savefile format (pcap-savefile(5); draft-ietf-opsawg-pcap).
"""

from collections.abc import Iterator
from struct import Struct

from vermilion_capture.frame import MAX_CAPTURED, unsupported
from vermilion_capture.savefile import Stretch
from vermilion_capture.window import Window

# Byte order, and how many of the file's fractions of a second a microsecond has.
MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1), b"\xa1\xb2\xc3\xd4": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1000), b"\xa1\xb2\x3c\x4d": (">", 1000),
}  # fmt: skip
_FILE_HEADER = 24
_RECORD_HEADER = 16


def stretches(window: Window) -> Iterator[Stretch]:
    """The packets of a savefile that ``window`` stands at the beginning of, in blocks as they are read.

    Its header is read at once, its records when they are asked for; both raise CaptureError. Whoever
    iterates must have taken all of a block before asking for the next.
    """
    data = window.advance(0, _FILE_HEADER)
    if len(data) < _FILE_HEADER:
        raise window.fail(len(data), "the pcap file header is cut off")
    order, per_microsecond = MAGIC[data[:4]]
    snaplen, link = Struct(order + "II").unpack_from(data, 16)
    link_type = link & 0xFFFF  # the upper bits tell of a frame check sequence
    if why := unsupported(link_type):
        raise window.fail(20, why)
    # Records are clipped to the file's snap length as libpcap clips them; 0 means that there is none.
    clip = snaplen if 0 < snaplen <= MAX_CAPTURED else MAX_CAPTURED
    return _stretches(window, order == ">", per_microsecond, clip, link_type)


def _stretches(
    window: Window, big: bool, per_microsecond: int, clip: int, link_type: int
) -> Iterator[Stretch]:
    header = Struct((">" if big else "<") + "8xI4x")
    buffer, at = window.buffer, _FILE_HEADER
    while True:
        stretch = Stretch(buffer, at, link_type, big, per_microsecond, clip)
        yield stretch
        at = stretch.at
        need = _RECORD_HEADER
        if len(buffer) - at >= need:
            (captured,) = header.unpack_from(buffer, at)
            if captured > MAX_CAPTURED:
                raise window.fail(at, f"a record claims {captured} bytes, more than {MAX_CAPTURED}")
            need += captured
        buffer = window.advance(at, need)
        at, end = 0, len(buffer)
        if not end:
            return
        if end < _RECORD_HEADER:
            raise window.fail(0, "the last record's header is cut off")
        (captured,) = header.unpack_from(buffer)
        if captured <= MAX_CAPTURED and end - _RECORD_HEADER < captured and need > _RECORD_HEADER:
            raise window.fail(0, f"the last record is cut off: {end - _RECORD_HEADER} of {captured} bytes")
