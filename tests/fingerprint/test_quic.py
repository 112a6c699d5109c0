"""QUIC: the ClientHello of Initial packets, however they are cut, ordered, repeated or spoilt."""

import random
from collections import Counter
from hashlib import md5, sha256
from typing import Any

import pytest
from fingerprint.flowrecords import CLIENT, SERVER, START, datagram, end, events, fresh, handle, numbered
from fingerprint.hellos import extension, hello, recorded, u16s, vector
from fingerprint.quicpackets import (
    DRAFT_29,
    DRAFT_34,
    HANDSHAKE,
    ID,
    INITIAL,
    RETRY,
    SHORT,
    V1,
    V2,
    ZERO_RTT,
    ack,
    crypto,
    initial,
    other,
    varint,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from vermilion import QUIC, Malformed, NeedMore
from vermilion_fingerprint import quic, tls
from vermilion_fingerprint.cursor import Cursor
from vermilion_fingerprint.quic_keys import InitialKeys, _whole
from vermilion_pipeline.stage import Incoming

# RFC 9001 A.2 and RFC 9369 A.2: the same CRYPTO frame, padded to 1,162 bytes.
SAMPLE = bytes.fromhex(
    "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000"
    "c000000010000e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e000500"
    "050100000000003300260024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003"
    "020304000d0010000e0403050306030203080408050806002d00020101001c00024001003900320408ffffffffffffffff050480"
    "00ffff07048000ffff0801100104800075300901100f088394c8f03e51570806048000ffff"
)
# draft-ietf-quic-tls-29 A.2
SAMPLE_29 = bytes.fromhex(
    "060040c4010000c003036660261ff947cea49cce6cfad687f457cf1b14531ba14131a0e8f309a1d0b9c400000613011303130201"
    "0000910000000b0009000006736572766572ff01000100000a00140012001d001700180019010001010102010301040023000000"
    "3300260024001d00204cfdfcd178b784bf328cae793b136f2aedce005ff183d7bb1495207236647037002b0003020304000d0020"
    "001e040305030603020308040805080604010501060102010402050206020202002d00020101001c00024001"
)
# Version, what is sent, the first bytes of the packet as the sample has it, and its tag.
SAMPLES = {
    "1": (V1, SAMPLE, "c000000001088394c8f03e5157080000449e7b9aec34", "e221af44860018ab0856972e194cd934"),
    "2": (V2, SAMPLE, "d76b3343cf088394c8f03e5157080000449ea0c95e82", "a18b2faa745b6fe189cf772a9f84cbfc"),
    "draft-29": (
        DRAFT_29, SAMPLE_29,
        "c5ff00001d088394c8f03e5157080000449e4a95245b", "43b1ca70a2d8d3f725ead1391377dcc0",
    ),
}  # fmt: skip

PARAMETERS = varint(1) + varint(4) + varint(30000) + varint(27 + 31 * 1000) + varint(0)
MESSAGE = hello(
    u16s(0x1301),
    extension(0, vector(b"\0" + vector(b"quic.example", 2), 2))
    + extension(16, vector(vector(b"h3", 1), 2))
    + extension(57, PARAMETERS),
)
STRING = "quic/({:08x})(0303)(1301)[(0000)(001000050003026833)((0039)[(01)(1b)])]"
LARGE = hello(u16s(0x1301), extension(51, bytes(1200)) + extension(57, PARAMETERS))


def told(*datagrams: bytes, **more: Any) -> list[dict[str, Any]]:
    """The events of a client's datagrams, and of the end of its run."""
    return events([*numbered(datagram(each, **more) for each in datagrams), end()])


def counts(*datagrams: bytes, missing: int = 0) -> dict[tuple[str, ...], int]:
    batch = [*numbered(datagram(each, missing=missing) for each in datagrams), end()]
    return dict(fresh().handle([Incoming(i, None, each) for i, each in enumerate(batch)]).counts)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_of_the_specifications(name: str) -> None:
    version, frames, head, tag = SAMPLES[name]
    packet = initial(frames, 2, version=version, pad=1162)
    # The tag vouches for all of the packet.
    assert (packet[:22].hex(), packet[-16:].hex()) == (head, tag)
    (event,) = told(packet)
    server = "server" if name == "draft-29" else "example.com"
    assert event["quic"] == {
        "server_name": server, "encrypted_client_hello": False, "version": name, "user_agent": None,
    }  # fmt: skip
    assert event["fingerprints"]["quic"].startswith(f"quic/({version:08x})(0303)(")


def test_the_keys_of_the_specification() -> None:
    """RFC 9001 A.1: client initial secret's iv; A.2: packet number 2."""
    keys = InitialKeys(V1, ID)
    assert keys._iv.to_bytes(12, "big").hex() == "fa044b2f42a3fd3b46fb255c"
    opened = keys.open(initial(SAMPLE, 2, pad=1162), 18, -1)
    assert opened is not None
    assert opened == (2, SAMPLE.ljust(1162, b"\0"))


@pytest.mark.parametrize(
    ("cut", "bits", "largest", "number"),
    [
        (0x9B32, 16, 0xA82F30EA, 0xA82F9B32),  # RFC 9000 A.3
        (0, 8, -1, 0), (0xFF, 8, -1, 0xFF), (0x02, 8, 0xFE, 0x102), (0xFE, 8, 0x101, 0xFE),
        (0, 32, (1 << 62) - 2, 0x3FFFFFFF00000000),  # RFC 9000 12.3: none is above 2^62-1
    ],
)  # fmt: skip
def test_packet_numbers_are_made_whole(cut: int, bits: int, largest: int, number: int) -> None:
    assert _whole(cut, bits, largest) == number


def test_strings_and_context_by_hand() -> None:
    agent = varint(0x3129) + varint(8) + b"Chrome/1"
    message = hello(u16s(0x1301), extension(57, PARAMETERS + agent) + extension(0xFE0D, b"x"))
    (event,) = told(initial(crypto(0, message)))
    assert event["type"] == "quic"
    assert event["protocol"] == 17
    assert event["fingerprints"] == {
        "quic": "quic/(00000001)(0303)(1301)[((0039)[(01)(1b)(7129)])(fe0d)]",
        "ja3": md5(b"771,4865,57-65037,,", usedforsecurity=False).hexdigest(),
        "ja4": f"q12i010200_{sha256(b'1301').hexdigest()[:12]}_{sha256(b'0039,fe0d').hexdigest()[:12]}",
    }
    assert event["quic"] == {
        "server_name": None, "encrypted_client_hello": True, "version": "1", "user_agent": "Chrome/1",
    }  # fmt: skip
    assert not event["reassembled"]
    assert event["event_start"] == START


@pytest.mark.parametrize(("version", "number"), [(V1, 1), (V2, 0x6B3343CF), (DRAFT_34, 0xFF000022)])
def test_versions(version: int, number: int) -> None:
    (event,) = told(initial(crypto(0, MESSAGE), version=version))
    assert event["fingerprints"]["quic"] == STRING.format(number)


@settings(max_examples=50)
@given(
    cuts=st.sets(st.integers(1, len(LARGE) - 1), max_size=12),
    packets=st.integers(1, 4),
    repeat=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_any_cut_order_and_repetition_gives_the_hello(
    cuts: set[int], packets: int, repeat: float, seed: int
) -> None:
    draw = random.Random(seed)
    bounds = [0, *sorted(cuts), len(LARGE)]
    starts = [max(a - draw.randint(0, 5), 0) for a in bounds]
    frames = [crypto(a, LARGE[a:b]) for a, b in zip(starts, bounds[1:], strict=False)]
    frames += [frame for frame in frames if draw.random() < repeat]
    draw.shuffle(frames)
    filler = [bytes(draw.randint(0, 9)), b"\x01", ack(5, [(0, 1), (1, 0)]), ack(ecn=True)]
    bodies = [b""] * packets
    for i, frame in enumerate(frames):
        bodies[i % packets] += draw.choice(filler) + frame
    datagrams = [initial(body, i) for i, body in enumerate(bodies)]
    draw.shuffle(datagrams)
    (event,) = told(*datagrams)
    assert event["fingerprints"] == told(initial(crypto(0, LARGE)))[0]["fingerprints"]
    assert not event["truncated"]


def test_overlapping_frames() -> None:
    frames = crypto(100, MESSAGE[100:]) + crypto(0, MESSAGE[:60]) + crypto(40, MESSAGE[40:])
    (event,) = told(initial(frames))
    assert event["fingerprints"]["quic"] == STRING.format(1)


def test_the_first_datagram_gives_the_time_and_more_than_one_is_reassembled() -> None:
    late = datagram(initial(crypto(50, MESSAGE[50:]), 0), time=START + 3)
    early = datagram(initial(crypto(0, MESSAGE[:50]), 1), time=START + 7)
    again = datagram(initial(crypto(0, MESSAGE), 2), time=START + 9)
    (event,) = events(numbered([late, early, again]))
    assert event["event_start"] == START + 3
    assert event["reassembled"]


def test_packets_that_share_a_datagram() -> None:
    together = initial(crypto(0, MESSAGE[:40]), 0) + initial(crypto(40, MESSAGE[40:]), 1) + bytes(30)
    (event,) = told(together)
    assert not event["reassembled"]
    early_data = initial(crypto(0, MESSAGE)) + other(ZERO_RTT)
    assert len(told(early_data)) == 1
    assert len(told(other(ZERO_RTT), initial(crypto(0, MESSAGE)))) == 1


def test_a_retry_changes_the_keys() -> None:
    """RFC 9001 5.2: they follow from its connection id then; the hello is the same."""
    chosen = b"server's"
    after = [
        initial(crypto(0, LARGE[:500]), 1, to=chosen, key=chosen, token=b"token"),
        initial(crypto(500, LARGE[500:]), 2, to=chosen, key=chosen, token=b"token"),
    ]
    assert len(told(initial(crypto(0, LARGE), 0), *after)) == 1
    (event,) = told(initial(crypto(0, LARGE[:500]), 0), *after)
    assert not event["truncated"]
    # The server's connection id of an Initial is not the keys'.
    (event,) = told(initial(crypto(0, LARGE[:500]), 0), initial(crypto(500, LARGE[500:]), 1, to=b"other"))
    assert not event["truncated"]


def test_a_version_that_the_server_refuses() -> None:
    """RFC 9000 6.2: the client begins anew, with another version and connection id."""
    reserved = b"\xc0\x1a\x2a\x3a\x4a" + bytes(60)
    (event,) = told(reserved, initial(crypto(0, MESSAGE)))
    assert event["fingerprints"]["quic"] == STRING.format(1)
    drawn = b"another1"
    found = told(initial(crypto(0, MESSAGE), version=V2), initial(crypto(0, MESSAGE), to=drawn, key=drawn))
    assert [event["quic"]["version"] for event in found] == ["2", "1"]
    assert len({event["event_id"] for event in found}) == 2


def test_a_version_that_both_agree_on() -> None:
    """RFC 9369 4.1: the keys follow from the first connection id still."""
    first = initial(crypto(0, MESSAGE), 0)
    then = initial(ack(0), 1, version=V2, to=b"server's")
    found = counts(first, then)
    assert found == {("events", "quic"): 1}


def test_a_second_hello_behind_a_hello_retry_request() -> None:
    second = initial(ack(0) + crypto(len(MESSAGE), LARGE), 1, to=b"server's")
    found = told(initial(crypto(0, MESSAGE), 0), second)
    assert [event["quic"]["server_name"] for event in found] == ["quic.example", None]
    assert len({event["event_id"] for event in found}) == 2


@pytest.mark.parametrize("last", [initial(ack(0), 1) + other(HANDSHAKE), other(HANDSHAKE), SHORT])
def test_a_connection_is_done_when_it_goes_on(last: bytes) -> None:
    task = fresh()
    answer = datagram(initial(b"", key=b"whatever"), source=SERVER, target=CLIENT)
    handle(task, numbered([datagram(initial(crypto(0, MESSAGE), 0)), answer]))
    assert task.low_water() == 0
    handle(task, [datagram(last, ordinal=2)], 2)
    assert task.low_water() is None


def test_what_a_server_says_is_not_read() -> None:
    """Nor tried, once the other side has been told by its keys to be the client."""
    servers = other(INITIAL, to=b"client's", body=bytes(100))
    answers = [datagram(servers, source=SERVER, target=CLIENT)] * 3
    task = fresh()
    batch = numbered([datagram(initial(crypto(0, MESSAGE), 0)), *answers])
    handled = task.handle([Incoming(i, None, each) for i, each in enumerate(batch)])
    assert handled.counts == {("events", "quic"): 1}
    # Its answer may come first, and half of a connection may be all there is.
    found = events(numbered([*answers, datagram(initial(crypto(0, MESSAGE), 0))]))
    assert [event["src_port"] for event in found] == [CLIENT[1]]


def test_a_hello_of_which_the_end_never_comes() -> None:
    (event,) = told(initial(crypto(0, LARGE[:600]), 0))
    assert event["truncated"]
    assert event["fingerprints"]["quic"].startswith("quic/(00000001)(0303)(1301)[")
    assert counts(initial(crypto(0, LARGE[:30]), 0)) == {("parse_errors", "quic", "ClientHello"): 1}
    assert counts(initial(crypto(10, LARGE[10:]), 0)) == {("gaps_given_up", "age"): 1}


def test_what_is_spoilt_is_counted_by_name() -> None:
    good = initial(crypto(0, MESSAGE))
    assert counts(good[:-1] + b"\0") == {("quic_not_decrypted", "1", "keys"): 1}
    assert counts(good[:-20]) == {("parse_errors", "quic", "Packet Payload"): 1}
    assert counts(good[:-20], missing=20) == {("datagrams_cut", "quic"): 1}
    assert counts(b"\xc0\0\0\0\1\x15" + bytes(30)) == {
        ("parse_errors", "quic", "Destination Connection ID Length"): 1
    }
    assert counts(initial(b"\x08" + bytes(20))) == {("parse_errors", "quic", "Frame Type"): 1}
    assert counts(initial(crypto(0, b"\x02\0\0\4abcd"))) == {("parse_errors", "quic", "HandshakeType"): 1}
    assert counts(initial(crypto(0, b"\x01\xff\0\0abcd"))) == {("parse_errors", "quic", "length"): 1}
    assert counts(initial(b"\x06\0\x7f\xff\x01")) == {("parse_errors", "quic", "Crypto Data"): 1}
    assert counts(initial(b"\x1c" + bytes(20))) == {}
    named = {b"Q046": "Q046", b"T051": "T051", b"\xfa\xce\xb0\2": "mvfst-2", b"\xff\0\0\x1b": "draft-27"}
    for version, name in named.items():
        assert counts(b"\xc0" + version + bytes(60)) == {("quic_not_decrypted", name, "version"): 1}
    # A frame that may not be there ends its packet; what came before it counts.
    assert len(told(initial(crypto(0, MESSAGE) + b"\x08"))) == 1


@pytest.mark.parametrize("offset", [1 << 16, (1 << 30) - 1, (1 << 32) + 5, (1 << 62) - 1])
def test_forged_offsets_cost_nothing(offset: int) -> None:
    task = fresh()
    forged = initial(crypto(offset, bytes(500)) + crypto(0, MESSAGE), 0)
    handled = task.handle([Incoming(0, None, datagram(forged, ordinal=0))])
    assert handled.counts == {("parse_errors", "quic", "Offset"): 1}
    assert handle(task, [datagram(initial(crypto(0, MESSAGE), 1))], 1)


def test_many_pieces_and_many_keys_are_given_up() -> None:
    pieces = [initial(b"".join(crypto(10 + 2 * i + 400 * n, b"x") for i in range(200)), n) for n in range(40)]
    assert counts(*pieces)["gaps_given_up", "pieces"] == 1
    drawn = [n.to_bytes(8, "big") for n in range(100)]
    strange = [initial(b"", to=each, key=b"another") for each in drawn]
    assert counts(*strange)["quic_not_decrypted", "1", "tries"] == 1


def test_no_datagram_is_too_strange() -> None:
    """Any cut, and any byte changed, of a datagram and of what it carries: no error comes out."""
    frames = ack(9, [(1, 1)], ecn=True) + crypto(0, MESSAGE) + b"\x01" + crypto(len(MESSAGE), LARGE[:40])
    whole = initial(frames) + other(ZERO_RTT)
    draw = random.Random(1)
    found: Counter[str] = Counter()
    for at in range(len(whole)):
        spoilt = whole[:at] + bytes([whole[at] ^ draw.randint(1, 255)]) + whole[at + 1 :]
        for each in (whole[:at], spoilt):
            connection = quic.Connection(1 << 16)
            found.update(message.name for message in connection.take(each, 0, 1))
            found.update(message.name for message in connection.finish())
    for at in range(len(frames)):
        spoilt = frames[:at] + bytes([frames[at] ^ draw.randint(1, 255)]) + frames[at + 1 :]
        for each in (frames[:at], spoilt):
            connection = quic.Connection(1 << 16)
            for message in connection.take(initial(each), 0, 1) + connection.finish():
                found[message.name] += 1
                quic.fingerprint(message), message.context(), message.readable()
    assert found["quic"] > 250


def test_hellos_of_real_programs_are_the_same_in_quic() -> None:
    for stream in recorded():
        over_tcp = tls.parse(Cursor(stream))
        message = over_tcp_message(stream)
        (event,) = told(initial(crypto(0, message[:700]), 0), initial(crypto(700, message[700:]), 1))
        assert event["quic"]["server_name"] == over_tcp.server_name
        (inside,) = quic.Connection(1 << 16).take(initial(crypto(0, message)), 0, 0)
        assert tls.fingerprint(inside.hello) == tls.fingerprint(over_tcp)


def over_tcp_message(stream: bytes) -> bytes:
    """The handshake message of a stream of records."""
    out, at = b"", 0
    while at < len(stream):
        size = int.from_bytes(stream[at + 3 : at + 5], "big")
        out, at = out + stream[at + 5 : at + 5 + size], at + 5 + size
    return out


def test_in_words() -> None:
    (message,) = quic.Connection(1 << 16).take(initial(crypto(0, MESSAGE)), 0, 0)
    words = message.readable()
    assert words["quic_version"] == "1"
    assert words["cipher_suites"] == ["TLS_AES_128_GCM_SHA256"]
    assert words["transport_parameters"] == ["max_idle_timeout", f"{27 + 31 * 1000:x}"]


def test_what_begins_a_flow() -> None:
    assert quic.begins(initial(b""))
    assert quic.begins(other(RETRY))
    assert not quic.begins(SHORT)
    assert not quic.begins(b"")
    assert not quic.begins(b"\x80" + bytes(60))  # RTP, and what else has that bit


def test_the_library() -> None:
    parts = [initial(crypto(500, LARGE[500:]), 1), initial(crypto(0, LARGE[:500]), 0)]
    hello = QUIC.parse(parts)
    assert hello.fingerprint == told(*parts)[0]["fingerprints"]["quic"]
    assert hello.ja4.startswith("q12i0102")
    assert (hello.version, hello.cipher_suites, hello.server_name) == ("1", (0x1301,), None)
    assert [kind for kind, _ in hello.extensions] == [51, 57]
    with pytest.raises(NeedMore) as more:
        QUIC.parse(parts[:1])
    assert more.value.total == len(parts[0]) + 1
    with pytest.raises(Malformed, match="no packet"):
        QUIC.parse([parts[0][:-1] + b"\0"])
    with pytest.raises(Malformed, match="HandshakeType"):
        QUIC.parse([initial(crypto(0, b"\2\0\0\1x"))])
