"""What is fuzzed: a function of bytes for each place that touches a stranger's.

A function raises when a promise is broken; what a parser may raise, it expects. A line in
PROTOCOLS is a target by itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

import orjson
from fingerprint.flowrecords import CLIENT, SERVER, START, record
from fuzz import datagrams, decryption, inference, seeds

from vermilion_capture.capturefile import CaptureError, CaptureFile
from vermilion_capture.fragments import Fragments
from vermilion_capture.items import Origin
from vermilion_capture.packet import LINK_TYPES, segment
from vermilion_capture.sieve import Sieve
from vermilion_fingerprint import tcp
from vermilion_fingerprint.cursor import Cursor, Malformed, NeedMore
from vermilion_fingerprint.flows import FlowTable, Limits
from vermilion_fingerprint.payloads import InvalidRecord
from vermilion_fingerprint.protocols import PROTOCOLS, Protocol, Recognised
from vermilion_pipeline.codec import Codec, DecodeError
from vermilion_pipeline.topics import CLASSIFIED, FINGERPRINTS, PAYLOADS

MOST = 1 << 16
SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 (where files cost no disk)


class Target(NamedTuple):
    """What to do with some bytes, and bytes to begin with."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]


class Broken(Exception):
    """A promise that was not kept."""


def check(kept: bool, promise: str) -> None:
    """Raise Broken when a promise is not kept."""
    if not kept:
        raise Broken(promise)


def outcome(function: Callable[..., Any], data: bytes, *more: Any) -> Any:
    """What a parser gives, or which of its two errors it raises."""
    try:
        return function(Cursor(data), *more)
    except (NeedMore, Malformed) as error:
        return error


def told(protocol: Protocol, message: Any) -> bytes:
    """All that is told of a message."""
    forms = {name: form(message) for name, form in protocol.forms.items()}
    return orjson.dumps([forms, message.context(), message.readable(), message.truncated])


def parse(protocol: Protocol, data: bytes) -> None:
    """A protocol's three functions, on the whole, on a part of it, and at the end of the stream."""
    matched = outcome(protocol.matches, data)
    check(not isinstance(matched, Malformed), "matches raises NeedMore only")
    whole = outcome(protocol.parse, data, False)
    final = outcome(protocol.parse, data, True)
    check(not isinstance(final, NeedMore), "at the end of a stream nothing more is asked for")
    split = len(data) * (data[-1] if data else 0) // 256
    part = outcome(protocol.parse, data[:split], False)
    if isinstance(part, NeedMore):
        check(part.total > split, "more is asked for than is here")
    elif isinstance(part, Malformed):
        check(isinstance(whole, Malformed), "what cannot be a message is none when more comes")
    else:
        check(told(protocol, part) == told(protocol, whole), "a message is the same when more comes")
    for message in (whole, final):
        if not isinstance(message, Exception):
            check(0 <= message.begin <= message.end <= len(data), "a message lies in its stream")
            told(protocol, message)
            walk(message, data)


def walk(message: Any, data: bytes) -> None:
    """To where the next message may begin."""
    at, passed = 0, not message.followed_by
    while not passed:
        try:
            step, passed = message.step_over(Cursor(data[at:]))
        except NeedMore as more:
            check(more.total > max(len(data) - at, 0), "more is asked for than is here")
            return
        if step < 0:
            return
        check(passed or step > 0, "each step goes on")
        at += step


def options(data: bytes) -> None:
    """A SYN's options."""
    syn = tcp.Syn(4, 64, 1, 1024, data, False)
    orjson.dumps([tcp.fingerprint(syn), tcp.npf(syn), syn.readable()])


def frame(data: bytes) -> None:
    """A frame of a link type that its first byte chooses."""
    links = sorted(LINK_TYPES)
    segment(data[1:], links[data[0] % len(links)] if data else links[0])


def frames(data: bytes) -> None:
    """Frames of one run, each with its length before it: tunnels, fragments, and what is published."""
    sieve = Sieve(4096, fragments=Fragments(datagrams=8, room=1 << 15))
    at = time = 0
    for number in range(1, 500):
        size = int.from_bytes(data[at : at + 2], "big") % 2048
        one = data[at + 2 : at + 2 + size]
        at += 2 + size
        if not one:
            break
        time += one[0] * 100_000
        item = sieve.frame(one, 1, time, ORIGIN)
        if item is not None:
            check(len(item.record["payload"]) <= 4096, "of a flow its head is published, no more")
            check(item.encoded(HEADER, ENCODE_PAYLOAD) == ENCODE_PAYLOAD(item.record), "both encoders agree")
            check(len(item.record["tunnels"]) <= 4, "tunnels are bounded")
        check(sieve.fragments.waiting <= 8 and sieve.fragments.held <= 1 << 15, "fragments are bounded")
        given_up = sum(sieve.fragments.given_up.values())
        check(sum(sieve.counts.values()) == 2 * number + given_up, "each frame is counted once")


def capture(data: bytes) -> None:
    """A capture file."""
    with NamedTemporaryFile(dir=SCRATCH) as file:
        file.write(data)
        file.flush()
        try:
            with CaptureFile(Path(file.name)) as frames:
                for number, each in enumerate(frames):
                    check(len(each.data) <= 1 << 18, "a frame is bounded")
                    segment(each.data, each.link_type)
                    if number > 10_000:
                        return
        except CaptureError:
            return


CODEC = Codec()
DECODERS = [CODEC.decoder(topic) for topic in (PAYLOADS, FINGERPRINTS, CLASSIFIED)]
ENCODE = CODEC.encoder(FINGERPRINTS)
ENCODE_PAYLOAD, HEADER = CODEC.encoder(PAYLOADS), CODEC.header(PAYLOADS)
ORIGIN = Origin("sensor", "run", True)


def decode(data: bytes) -> None:
    """A record's value."""
    for decoder in DECODERS:
        try:
            decoder(data)
        except DecodeError:
            continue


def segments(data: bytes) -> None:
    """Segments of one flow in any order: eight bytes of each say what it is, its payload follows.

    Flags, ordinal, sequence number, bytes that are missing, length, and the time since the last.
    """
    table = FlowTable(Limits(head=4096, flows=4, held=1 << 16, span=1000), Recognised())
    at, time = 0, START
    for offset in range(2000):
        head = data[at : at + 8]
        if len(head) < 8:
            break
        size = int.from_bytes(head[5:7], "big") % 2048
        payload = data[at + 8 : at + 8 + size]
        at += 8 + size
        up = head[0] & 0x80
        ordinal = head[1] & 0x3F
        # The source begins a flow anew for a SYN with another number, or at another time.
        time += head[7] * 100_000 + (ordinal == 0)
        item = record(
            int.from_bytes(head[2:4], "big"), payload, head[0] & 0x17, ordinal=ordinal,
            source=CLIENT if up else SERVER, target=SERVER if up else CLIENT, time=time,
            missing=head[4] if head[0] & 0x40 else 0,
        )  # fmt: skip
        try:
            table.segment(offset, dict(item))
        except InvalidRecord:
            continue
        check(table.flows <= 4, "flows are bounded")
        check(table.held <= (1 << 16) + 8192, "bytes held are bounded")
    table.end("sensor", "run")
    check(table.flows == 0 and table.held == 0, "nothing is remembered of a run that has ended")
    check(table.low_water() is None, "nothing is needed of a run that has ended")
    identities = set()
    for event in table.events:
        ENCODE(event)
        identities.add(event["event_id"])
    check(len(identities) == len(table.events), "each event has its own identity")


def answer(data: bytes) -> None:
    """An event for inference."""
    match, score, found = inference.answer(data)
    check(0.0 <= score <= 1.0, "a score is a probability")
    check(match != "none" or score == 0.0, "what is not known has no score")
    check(inference.answer(data)[2] == found, "an answer is the same each time")


def database(data: bytes) -> None:
    """A fingerprint database."""
    inference.lines(data, SCRATCH)


def _protocols() -> dict[str, Target]:
    out = {}
    for protocol in PROTOCOLS:
        name = f"{protocol.name}_{protocol.side}" if protocol.side else protocol.name
        out[name] = Target(
            lambda data, each=protocol: parse(each, data[:MOST]),  # type: ignore[misc]
            lambda each=protocol: (  # type: ignore[misc]
                stream for stream in seeds.streams() if outcome(each.matches, stream) is True
            ),
        )
    return out


TARGETS: dict[str, Target] = {
    **_protocols(),
    "tcp_options": Target(options, seeds.options),
    "frame": Target(frame, seeds.frames),
    "frames": Target(frames, seeds.runs),
    "capture": Target(capture, seeds.captures),
    "record": Target(decode, seeds.records),
    "segments": Target(segments, seeds.segments),
    "quic_frames": Target(lambda data: datagrams.quic_frames(data[:MOST], check), datagrams.frames),
    "quic": Target(lambda data: datagrams.quic_datagrams(data[:MOST], check), datagrams.packets),
    "dtls": Target(lambda data: datagrams.dtls_datagrams(data[:MOST], check), datagrams.records),
    "datagrams": Target(lambda data: datagrams.flows(data[:MOST], check), datagrams.conversations),
    "key_log": Target(decryption.key_log, decryption.key_logs),
    "tls_records": Target(decryption.records, decryption.conversations),
    "http2": Target(decryption.frames, decryption.frame_streams),
    "answer": Target(answer, inference.answers),
    "database": Target(database, inference.databases),
}
