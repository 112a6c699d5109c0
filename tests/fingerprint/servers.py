"""What servers of TLS sent, for tests: captured streams, and hand-made messages."""

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path

from fingerprint.hellos import ROOT, extension, u16s, vector

from vermilion_capture.capturefile import CaptureFile
from vermilion_capture.packet import Segment, segment
from vermilion_fingerprint import tls_server
from vermilion_fingerprint.cursor import Cursor, NeedMore
from vermilion_fingerprint.streams import in_order

REFERENCE = Path(__file__).parents[3] / "shared" / "data"
RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
SYN = 2
Ends = tuple[str, int, str, int]


def directions(capture: Path) -> Iterator[tuple[Ends, list[tuple[int, bytes]], bytes]]:
    """Each direction of each connection: its end points, segments with bytes, and stream."""
    found: dict[Ends, list[tuple[int, bytes]]] = {}
    begins: dict[Ends, int] = {}
    with CaptureFile(capture) as frames:
        for frame in frames:
            part = segment(frame.data)
            if not isinstance(part, Segment):
                continue
            ends = (str(ip_address(part.src_ip)), part.src_port, str(ip_address(part.dst_ip)), part.dst_port)
            if part.flags & SYN:
                begins[ends] = part.seq
            elif part.payload:
                found.setdefault(ends, []).append((part.seq, part.payload))
    for ends, segments in found.items():
        yield ends, segments, in_order(segments, begins.get(ends))


@lru_cache
def recorded() -> tuple[bytes, ...]:
    """Different heads of servers' streams in the project's own captures, 6 KiB of each at most."""
    own = [*(ROOT / "tests/data").glob("*.pcap"), *(ROOT / "cli/src/vermilion/recordings").glob("*.pcap")]
    out = {}
    for capture in sorted(own):
        for _, _, stream in directions(capture):
            try:
                if tls_server.matches(Cursor(stream)):
                    hello = tls_server.parse(Cursor(stream))
                    out[tls_server.fingerprint(hello)] = stream[:6144]
            except NeedMore:
                continue
    assert len(out) > 3
    return tuple(out.values())


def server_hello(
    suite: int = 0xC02F,
    extensions: bytes | None = b"",
    version: int = 0x0303,
    session: bytes = b"",
    random: bytes = bytes(32),
) -> bytes:
    """A ServerHello's handshake message."""
    body = u16s(version) + random + vector(session, 1) + u16s(suite) + b"\0"
    if extensions is not None:
        body += vector(extensions, 2)
    return b"\x02" + vector(body, 3)


def retry_request() -> bytes:
    """A HelloRetryRequest."""
    return server_hello(0x1301, extension(51, b"\0\x1d") + extension(43, b"\3\4"), random=RETRY_RANDOM)


def certificates(*ders: bytes) -> bytes:
    """A Certificate message of TLS 1.2 (RFC 5246 7.4.2)."""
    return b"\x0b" + vector(vector(b"".join(vector(der, 3) for der in ders), 3), 3)
