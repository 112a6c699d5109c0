"""What is fuzzed of UDP: QUIC's frames under their protection, its datagrams, DTLS's, and whole flows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import orjson
from fingerprint.dtlsrecords import client_hello, dtls_record, fragment, server_hello
from fingerprint.flowrecords import CLIENT, SERVER, START, datagram
from fingerprint.hellos import extension, hello, u16s
from fingerprint.quicpackets import HANDSHAKE, ack, crypto, initial, other, varint

from vermilion_fingerprint import dtls, quic
from vermilion_fingerprint.conversation import Conversation, Received
from vermilion_fingerprint.flows import FlowTable, Limits
from vermilion_fingerprint.protocols import DATAGRAM_PROTOCOLS, Recognised

LIMIT = 1 << 14
HELLO = hello(u16s(0x1301), extension(57, varint(1) + varint(2) + b"\x40\x00") + extension(51, bytes(300)))
FORMS = {name: forms for protocol in DATAGRAM_PROTOCOLS for name, forms in protocol.forms.items()}

Check = Callable[[bool, str], None]


def cut(data: bytes) -> Iterator[bytes]:
    """Datagrams: two bytes of each are its length."""
    at = 0
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "big") % 2048
        yield data[at + 2 : at + 2 + size]
        at += 2 + size


def joined(*datagrams: bytes) -> bytes:
    """What :func:`cut` cuts."""
    return b"".join(len(each).to_bytes(2, "big") + each for each in datagrams)


def converse(talk: Conversation, datagrams: Iterator[bytes], check: Check) -> None:
    """A conversation raises nothing, tells what can be told, and is bounded."""
    messages: list[Received] = []
    for time, each in enumerate(datagrams):
        messages += talk.take(each, len(each) % 3, time)
        if talk.done:
            break
    messages += talk.finish()
    check(len(messages) <= 5, "a direction's hellos are bounded")
    for message in messages:
        forms = {name: write(message) for name, write in FORMS[message.name].items()}
        orjson.dumps([forms, message.context(), message.readable(), message.truncated, message.time])


def quic_frames(data: bytes, check: Check) -> None:
    """Frames of Initial packets, well protected."""
    packets = (initial(frames, number) for number, frames in enumerate(cut(data)))
    converse(quic.Connection(LIMIT), packets, check)


def quic_datagrams(data: bytes, check: Check) -> None:
    """Datagrams of QUIC."""
    converse(quic.Connection(LIMIT), cut(data), check)


def dtls_datagrams(data: bytes, check: Check) -> None:
    """Datagrams of DTLS."""
    converse(dtls.Association(LIMIT), cut(data), check)


def flows(data: bytes, check: Check) -> None:
    """Datagrams of one flow, a byte before each: its direction, whether it is the first, its time."""
    table = FlowTable(Limits(head=LIMIT, flows=4, held=1 << 16, span=1000), Recognised())
    time = START
    for offset, each in enumerate(cut(data)):
        head, payload = each[:1] or b"\0", each[1:]
        up = head[0] & 1
        time += (head[0] >> 3) * 100_000
        item = datagram(payload, ordinal=head[0] >> 1 & 3, time=time, missing=head[0] >> 7,
                        source=CLIENT if up else SERVER, target=SERVER if up else CLIENT)  # fmt: skip
        table.segment(offset, dict(item))
        check(table.flows <= 4, "flows are bounded")
        check(table.held <= (1 << 16) + 8192, "bytes held are bounded")
    table.end("sensor", "run")
    check(table.flows == 0 and table.held == 0, "nothing is remembered of a run that has ended")
    check(table.low_water() is None, "nothing is needed of a run that has ended")


def frames() -> Iterator[bytes]:
    """Seeds for :func:`quic_frames`."""
    yield joined(crypto(0, HELLO))
    yield joined(crypto(100, HELLO[100:]) + b"\x01", ack(3, [(0, 1)], ecn=True) + crypto(0, HELLO[:100]))
    yield joined(crypto(0, HELLO), crypto(len(HELLO), HELLO))


def packets() -> Iterator[bytes]:
    """Seeds for :func:`quic_datagrams`."""
    first = initial(crypto(0, HELLO[:100]), 0)
    yield joined(first + other(HANDSHAKE), initial(crypto(100, HELLO[100:]), 1, to=b"server's"))
    yield joined(other(HANDSHAKE), b"\xc0Q046" + bytes(40), first)


def records() -> Iterator[bytes]:
    """Seeds for :func:`dtls_datagrams`."""
    body = client_hello(extensions=extension(10, bytes(50)))
    yield joined(dtls_record(fragment(body, 0, 40)), dtls_record(fragment(body, 30)))
    yield joined(dtls_record(fragment(server_hello(), kind=2)) + dtls_record(b"\1", kind=20))


def conversations() -> Iterator[bytes]:
    """Seeds for :func:`flows`."""
    body = client_hello()
    answer = dtls_record(fragment(server_hello(), kind=2))
    yield joined(b"\1" + dtls_record(fragment(body)), b"\2" + answer)
    yield joined(b"\1" + initial(crypto(0, HELLO[:100]), 0), b"\3" + initial(crypto(100, HELLO[100:]), 1))
