"""ClientHellos for tests: the project's own recordings, and hand-made ones."""

import re
from functools import lru_cache
from pathlib import Path

from vermilion_capture.capturefile import CaptureFile
from vermilion_capture.packet import Segment, segment
from vermilion_fingerprint import tls
from vermilion_fingerprint.cursor import Cursor, NeedMore
from vermilion_fingerprint.streams import in_order

ROOT = Path(__file__).parent.parent.parent
RECORDING = ROOT / "cli/src/vermilion/recordings/programs.pcap"
SYN, ACK = 2, 16


@lru_cache
def recorded() -> tuple[bytes, ...]:
    """What each TLS client of the project's recording sent, from its first byte to its hello's last."""
    streams: dict[tuple[bytes, int, bytes, int], list[tuple[int, bytes]]] = {}
    with CaptureFile(RECORDING) as capture:
        for frame in capture:
            found = segment(frame.data)
            if isinstance(found, Segment) and found.payload:
                key = (found.src_ip, found.src_port, found.dst_ip, found.dst_port)
                streams.setdefault(key, []).append((found.seq, found.payload))
    out = []
    for segments in streams.values():
        stream = in_order(segments)
        try:
            if tls.matches(Cursor(stream)):
                out.append(stream[: tls.parse(Cursor(stream)).end])
        except NeedMore:
            continue
    assert len(out) > 30
    return tuple(out)


def vector(data: bytes, size: int) -> bytes:
    """``data`` after its length in ``size`` bytes."""
    return len(data).to_bytes(size, "big") + data


def u16s(*codes: int) -> bytes:
    """Code points."""
    return b"".join(code.to_bytes(2, "big") for code in codes)


def extension(kind: int, body: bytes = b"") -> bytes:
    """One extension."""
    return u16s(kind) + vector(body, 2)


def hello(
    suites: bytes = u16s(0xC02F),
    extensions: bytes | None = b"",
    version: int = 0x0303,
    session: bytes = b"",
) -> bytes:
    """A ClientHello's handshake message."""
    body = u16s(version) + bytes(32) + vector(session, 1) + vector(suites, 2) + vector(b"\0", 1)
    if extensions is not None:
        body += vector(extensions, 2)
    return b"\x01" + vector(body, 3)


def records(message: bytes, size: int = 1 << 14) -> bytes:
    """The message in records of at most ``size`` bytes."""
    parts = (message[i : i + size] for i in range(0, len(message), size))
    return b"".join(b"\x16\x03\x01" + vector(part, 2) for part in parts)


def hello_of(fingerprint: str) -> bytes:
    """A ClientHello in records that has this fingerprint, if any has."""
    version, suites, rest = fingerprint[1:].split(")(", 2)
    extensions = b""
    for told in re.findall(r"\(([0-9a-f]+)\)", rest):
        raw = bytes.fromhex(told)
        extensions += raw if len(raw) > 2 else raw + bytes(2)
    return records(hello(bytes.fromhex(suites), extensions, int(version, 16)))
