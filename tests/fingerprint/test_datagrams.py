"""UDP flows: what opens one, what ends it, what it costs, and that it is rebuilt as it was."""

import random
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from fingerprint.dtlsrecords import client_hello, dtls_record, fragment, server_hello
from fingerprint.flowrecords import (
    CLIENT,
    SECOND,
    SERVER,
    START,
    datagram,
    end,
    events,
    fresh,
    handle,
    mark,
    numbered,
    record,
)
from fingerprint.hellos import ROOT, extension, hello, recorded, u16s
from fingerprint.quicpackets import HANDSHAKE, SHORT, ack, crypto, initial, other
from fingerprint.test_quic import LARGE, MESSAGE

from vermilion import scan
from vermilion_capture.source import FileSource
from vermilion_fingerprint.flows import Limits
from vermilion_fingerprint.protocols import Recognised
from vermilion_fingerprint.stage import FingerprintTask
from vermilion_pipeline.stage import Incoming

STUN = b"\0\1\0\4" + bytes.fromhex("2112a442") + bytes(12) + b"\x80\x22\0\0"
DNS = bytes.fromhex("12340100000100000000000003777777076578616d706c6503636f6d0000010001")
RTP = b"\x80\x60" + bytes(170)
DTLS = dtls_record(fragment(client_hello()))
SPLIT = [initial(crypto(0, LARGE[:700]), 0), initial(crypto(700, LARGE[700:]), 1)]


def counted(task: FingerprintTask, records: list[Any]) -> dict[tuple[str, ...], int]:
    return dict(task.handle([Incoming(i, None, each) for i, each in enumerate(records)]).counts)


@pytest.mark.parametrize("payload", [DNS, RTP, SHORT, b"", b"\xff" * 40, STUN[:-1], STUN[:4] + bytes(20)])
def test_what_begins_like_nothing_known_costs_no_memory(payload: bytes) -> None:
    task = fresh()
    assert counted(task, [datagram(payload, ordinal=0)]) == {("datagrams_not_recognised",): 1}
    assert task.low_water() is None
    # Nor is the flow taken up later.
    assert handle(task, [datagram(DTLS)], 1) == []


def test_a_hello_may_come_behind_stun() -> None:
    """RFC 8827 6.5: WebRTC's DTLS follows ICE's checks, on the same ports."""
    answer = datagram(STUN, source=SERVER, target=CLIENT)
    found = events(numbered([datagram(STUN), answer, datagram(DTLS), datagram(STUN)]))
    assert [event["type"] for event in found] == ["dtls"]


def test_so_many_datagrams_are_looked_at() -> None:
    task = fresh()
    checks = [datagram(STUN), datagram(STUN, source=SERVER, target=CLIENT)] * 32
    assert counted(task, numbered(checks)) == {("streams_not_recognised",): 2}
    assert task.low_water() is None
    task = fresh()
    unfinished = [datagram(SPLIT[0])] * 40
    found = handle(task, numbered(unfinished))
    assert [event["truncated"] for event in found] == [True]
    assert task.low_water() is None


def test_a_quiet_flow_is_told_as_far_as_it_came() -> None:
    first = datagram(SPLIT[0], ordinal=0)
    late = datagram(SPLIT[1], time=START + 61 * SECOND)
    with_mark = events([first, mark(START + 61 * SECOND), late])
    assert with_mark == events([first, late])
    assert [event["truncated"] for event in with_mark] == [True]
    assert events([first, mark(START + 59 * SECOND)]) == []
    assert [event["truncated"] for event in events([first, end()])] == [True]


def test_a_flow_begins_anew_on_the_same_ports() -> None:
    found = events([datagram(initial(crypto(0, MESSAGE)), ordinal=0),
                    datagram(initial(crypto(0, MESSAGE)), ordinal=0, time=START + 61 * SECOND)])  # fmt: skip
    assert len({event["event_id"] for event in found}) == 2


def test_udp_and_tcp_of_the_same_ends_are_two_flows() -> None:
    stream = recorded()[0]
    mixed = [record(1, stream[:100], ordinal=0), datagram(SPLIT[0], ordinal=0), record(101, stream[100:]),
             datagram(SPLIT[1])]  # fmt: skip
    found = events(mixed)
    assert [event["type"] for event in found] == ["tls", "quic"]
    assert [event["protocol"] for event in found] == [6, 17]


def test_memory_is_bounded_and_what_is_dropped_is_counted() -> None:
    task = fresh(Limits(flows=10))
    many = [datagram(SPLIT[0], ordinal=0, source=(CLIENT[0], port)) for port in range(100)]
    assert counted(task, many)["flows_evicted", "flows"] == 90
    assert task.low_water() == 90
    task = fresh(Limits(held=1 << 16))
    assert counted(task, many)["flows_evicted", "bytes"] > 50
    handle(task, [end()], 200)
    assert task.low_water() is None


def test_what_is_held_is_given_back() -> None:
    """By each way in which a flow ends; else a long life would fill the bound with nothing."""
    task = fresh(Limits(held=1 << 14))
    counts: dict[tuple[str, ...], int] = {}
    for i in range(300):
        source = (CLIENT[0], i)
        flow = [datagram(SPLIT[0], ordinal=0, source=source), datagram(SPLIT[1], source=source),
                datagram(other(HANDSHAKE), source=source),
                datagram(dtls_record(fragment(client_hello(), 0, 20)), ordinal=0, source=source, run="other"),
                end("other")]  # fmt: skip
        counts |= counted(task, flow)
    assert not any(name[0] == "flows_evicted" for name in counts)
    assert task.low_water() is None


def test_what_nobody_wants_is_not_decrypted() -> None:
    task = FingerprintTask(Limits(), Recognised({"tls", "tls_server"}))
    assert counted(task, [datagram(SPLIT[0], ordinal=0)]) == {("datagrams_not_recognised",): 1}
    task = FingerprintTask(Limits(), Recognised({"dtls"}))
    assert counted(task, [datagram(SPLIT[0], ordinal=0)]) == {("datagrams_not_recognised",): 1}
    (event,) = handle(task, [datagram(DTLS, ordinal=0, source=(CLIENT[0], 5))])
    assert [*event["fingerprints"]] == ["dtls"]
    task = FingerprintTask(Limits(), Recognised({"ja4"}), readable=True)
    (event,) = handle(task, [datagram(initial(crypto(0, MESSAGE)), ordinal=0)])
    assert ([*event["fingerprints"]], [*event["readable"]]) == (["ja4"], ["quic"])


def conversations(draw: random.Random) -> list[list[Any]]:
    """Flows of each kind: in pieces, in disorder, behind STUN, without an end, over TCP."""
    out = []
    for number in range(14):
        ends: dict[str, Any] = {"source": (b"\xc0\0\2\1", 40000 + number), "target": (b"\xc6\x33\x64\1", 443)}
        back = {"source": ends["target"], "target": ends["source"]}
        message = hello(u16s(0x1301, 0x1302), extension(number, bytes(900)))
        body = client_hello(extensions=extension(number, bytes(300)))
        bounds = [0, *sorted(draw.sample(range(1, 900), 5)), len(message)]
        pieces = [initial(crypto(a, message[a:b]), i) for i, (a, b) in enumerate(pairwise(bounds))]
        records = [dtls_record(fragment(body, a, a + 100)) for a in range(0, len(body), 100)]
        draw.shuffle(pieces)
        draw.shuffle(records)
        if number % 3 == 0:
            flow = [datagram(each, **ends) for each in [*pieces, *pieces[:2], initial(ack(0), 9) + SHORT]]
            flow.insert(3, datagram(other(HANDSHAKE), **back))
        elif number % 3 == 1:
            flow = [datagram(each, **ends) for each in [STUN, *records, records[0]]]
            flow.insert(4, datagram(dtls_record(fragment(server_hello(), kind=2)), **back))
        else:
            stream = recorded()[number]
            flow = [record(1 + at, stream[at : at + 100], **ends) for at in range(0, len(stream), 100)]
        out.append(numbered(flow[:-2] if number > 9 else flow))
    return out


def test_rebuilding_from_the_low_water_mark_repeats_and_invents_nothing() -> None:
    draw = random.Random(2)
    log = conversations(draw)
    merged = []
    while any(log):
        merged.append(draw.choice([flow for flow in log if flow]).pop(0))
    merged.append(end())
    expected = events(merged)
    # Of one in DTLS the first fragment is among those that never came.
    types = Counter(event["type"] for event in expected)
    assert types == {"dtls": 4, "dtls_server": 5, "quic": 5, "tls": 4}
    assert sum(event["truncated"] for event in expected) > 1
    for cut in range(len(merged) + 1):
        before = fresh()
        first = handle(before, merged[:cut])
        low = before.low_water()
        after = fresh()
        if low is not None:
            handle(after, merged[low:cut], low)  # rebuilds; what comes out is thrown away
        assert first + handle(after, merged[cut:], cut) == expected


def test_recorded_programs() -> None:
    """Chromium's frames are in disorder; OpenSSL's hello is in fragments, and comes again with a cookie."""
    (event,) = scan(ROOT / "tests/data/quic_chromium.pcap", types=None)
    assert event["quic"] == {
        "server_name": "www.example.com", "encrypted_client_hello": True, "version": "1", "user_agent": None,
    }  # fmt: skip
    assert event["fingerprints"]["ja4"].startswith("q13d03")
    assert event["reassembled"]
    for name, reassembled in (("dtls12_openssl", False), ("dtls12_fragments_openssl", True)):
        found = list(scan(ROOT / f"tests/data/{name}.pcap", types=None))
        assert [each["type"] for each in found] == ["dtls", "dtls", "dtls_server"]
        assert [each["reassembled"] for each in found] == [reassembled, reassembled, False]
        assert {each["dtls"] and each["dtls"]["server_name"] for each in found[:2]} == {"www.example.com"}
        assert len({each["fingerprints"]["dtls"] for each in found[:2]}) == 1


def test_any_cut_of_what_was_recorded_is_told_as_far_as_it_goes() -> None:
    """Each datagram in turn is cut or spoilt at some byte: no error, and no event that never was."""
    draw = random.Random(3)
    for name in ("quic_chromium", "dtls12_fragments_openssl"):
        whole = [item.record for item in FileSource(ROOT / f"tests/data/{name}.pcap", "sensor")]
        known = {event["type"] for event in events(whole)}
        for number in range(len(whole)):
            for _ in range(20):
                payload = whole[number]["payload"]
                at = draw.randrange(len(payload) + 1)
                cut: Any = {
                    **whole[number],
                    "payload": payload[:at],
                    "missing": draw.choice((0, len(payload) - at)),
                }
                spoilt: Any = {**whole[number], "payload": payload[:at] + b"\xff" + payload[at + 1 :]}
                for changed in (cut, spoilt):
                    found = events([*whole[:number], changed, *whole[number + 1 :]])
                    assert {event["type"] for event in found} <= known
