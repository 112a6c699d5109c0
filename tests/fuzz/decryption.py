"""Fuzzed: key logs, the record layer of a connection whose secrets are known, and HTTP/2."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import orjson
from fingerprint.flowrecords import CLIENT, SERVER, START, record
from fingerprint.h2_frames import ACK, DATA, HELLO, HELLO_SERVER, Speaker, frame, request, response
from fingerprint.tls_talk import Talk, talk

from vermilion_fingerprint.cursor import Malformed
from vermilion_fingerprint.decrypt.http2 import FrameReader
from vermilion_fingerprint.decrypt.keylog import KeyLog
from vermilion_fingerprint.decryption import Decrypting
from vermilion_fingerprint.flows import FlowTable
from vermilion_fingerprint.limits import Limits
from vermilion_fingerprint.protocols import Recognised
from vermilion_pipeline.codec import Codec
from vermilion_pipeline.topics import FINGERPRINTS

MOST = 1 << 16
_ENCODE = Codec().encoder(FINGERPRINTS)


def key_log(data: bytes) -> None:
    """A key log of few connections."""
    log = KeyLog(most=4)
    lines = data.split(b"\n")
    for line in lines:
        log.add(line)
    assert sum(log.lines.values()) <= len(lines)
    assert log.connections <= 4


def key_logs() -> Iterator[bytes]:
    """Those of real connections."""
    for made in _talks():
        yield made.keys


@lru_cache
def _talks() -> tuple[Talk, ...]:
    client, server = Speaker(), Speaker()
    ask = HELLO + client.headers(1, request("/1"))
    answer = HELLO_SERVER + ACK + server.headers(1, response()) + frame(DATA, 1, 1, b"body")
    get, ok = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    return talk(said=[(True, ask), (False, answer)]), talk(said=[(True, get), (False, ok), (True, get)])


@lru_cache
def _keys() -> KeyLog:
    log = KeyLog()
    for made in _talks():
        for line in made.keys.splitlines():
            log.add(line)
    return log


def records(data: bytes) -> None:
    """What both ends send: a byte says who, two how much of what follows."""
    decrypting = Decrypting(_keys(), limit=1 << 18)
    table = FlowTable(Limits(), Recognised(), decrypting=decrypting)
    at, offset, seqs = 0, 0, [1, 1]
    while at + 3 <= len(data) and offset < 2000:
        who, size = data[at] & 1, int.from_bytes(data[at + 1 : at + 3], "big")
        payload = data[at + 3 : at + 3 + size]
        ends = (CLIENT, SERVER) if who else (SERVER, CLIENT)
        item = record(
            seqs[who], payload, 16, ordinal=offset, source=ends[0], target=ends[1], time=START + offset,
            missing=data[at] >> 4 if data[at] & 2 else 0,
        )  # fmt: skip
        table.segment(offset, dict(item))
        seqs[who] += len(payload)
        at, offset = at + 3 + size, offset + 1
        assert decrypting.held <= (1 << 18) + (1 << 17)
    table.end("sensor", "run")
    assert decrypting.held == table.held == table.flows == 0
    for event in table.events:
        _ENCODE(event)


def conversations() -> Iterator[bytes]:
    """Real ones."""
    for made in _talks():
        out = b""
        for client, said in made.sent:
            for i in range(0, len(said), 1400):
                part = said[i : i + 1400]
                out += bytes((client,)) + len(part).to_bytes(2, "big") + part
        yield out


def frames(data: bytes) -> None:
    """HTTP/2, whole and in two parts."""
    data = data[:MOST]
    split = len(data) * (data[-1] if data else 0) // 256
    assert _told([data]) == _told([data[:split], data[split:]])


def _told(parts: list[bytes]) -> tuple[list[Any], str]:
    reader = FrameReader(server=True)
    out: list[Any] = []
    try:
        for part in parts:
            for block in reader.feed(part):
                shown = orjson.dumps([block.context(), block.readable(), block.begin, block.end])
                out += [shown]
            assert reader.cost < 1 << 19
    except Malformed as bad:
        return out, bad.field
    return out, ""


def frame_streams() -> Iterator[bytes]:
    """Frames of every kind."""
    speaker = Speaker()
    yield HELLO_SERVER + speaker.headers(1, response()) + frame(DATA, 0, 1, bytes(50)) + b"\x80"
    long = response(("x-long", "y" * 100), ("x-other", "z" * 100))
    yield HELLO_SERVER + speaker.continued(3, long) + speaker.pushed(3, 2, request("/pushed")) + b"\x40"
