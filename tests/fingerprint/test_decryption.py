"""TLS of every kind that OpenSSL speaks, decrypted: all that both ends said, each record verified."""

from __future__ import annotations

import random
import ssl
from collections import Counter
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import pytest
from fingerprint.flowrecords import SECOND, START, end, mark
from fingerprint.h2_frames import ACK, DATA, HELLO, HELLO_SERVER, Speaker, frame, request, response
from fingerprint.tls_talk import NO_ENCRYPT_THEN_MAC, OPENSSL, Said, Talk, contexts, openssl_talks, talk

from vermilion_fingerprint.decrypt.keylog import KeyLog, Label
from vermilion_fingerprint.decryption import Decrypting
from vermilion_fingerprint.flows import FlowTable
from vermilion_fingerprint.limits import Limits
from vermilion_fingerprint.protocols import Recognised
from vermilion_pipeline.records import Payload

V10, V11, V12, V13 = (
    ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3,
)  # fmt: skip
REQUEST = b"GET /page HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: test\r\nCookie: a=b\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: test\r\n\r\nhello"
ASKED: list[Said] = [(True, REQUEST), (False, RESPONSE), (True, REQUEST), (False, RESPONSE)]
HTTP = {"tls_decrypt_http", "tls_decrypt_http_server"}

needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")


class Read:
    """The events of some records, and what was counted."""

    def __init__(self, records: Sequence[Payload], keys: KeyLog, **limits: Any) -> None:
        decrypting = Decrypting(keys, **limits)
        self.table = FlowTable(Limits(), Recognised(), readable=True, decrypting=decrypting)
        for offset, item in enumerate(records):
            if item["kind"] == "SEGMENT":
                self.table.segment(offset, dict(item))
            else:
                self.table.mark(offset, item["sensor"], item["run"], item["time"])
        self.left = self.table.flows
        self.table.end("sensor", "run")
        assert self.table.held == decrypting.held == 0
        self.events = [event for event in self.table.events if event["type"].startswith("tls_decrypt")]
        self.counts = Counter(self.table.take_counts())

    def ended(self) -> dict[str, int]:
        """Why directions were not decrypted to their end."""
        return {what[1]: n for what, n in self.counts.items() if what[0] == "tls_decryption_ended"}

    def told(self) -> list[tuple[str, str]]:
        """Types and fingerprints."""
        return [(event["type"], event["fingerprints"][event["type"]]) for event in self.events]


def read(made: Talk, size: int = 1400, **limits: Any) -> Read:
    return Read(made.segments(size), made.key_log, **limits)


def whole(found: Read, messages: int = 4) -> None:
    """All is told, verified, and nothing is remembered when both ends have closed."""
    assert [event["type"] for event in found.events] == ["tls_decrypt_http", "tls_decrypt_http_server"] * (
        messages // 2
    )
    assert found.ended() == {}
    assert found.left == 0
    for event in found.events:
        headers = {each["name"]: each["value"] for each in event[event["type"]]["headers"]}
        assert headers in (
            {"host": "www.example.com", "user-agent": "test", "cookie": "a=b"},
            {"content-length": "5", "server": "test"},
        )


CIPHERS = [
    *((V12, f"ECDHE-ECDSA-{name}", 0) for name in (
        "AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305", "AES128-CCM", "AES256-CCM8",
    )),
    *((version, f"ECDHE-ECDSA-{name}", options)
      for version, names in ((V12, ("AES128-SHA", "AES128-SHA256", "AES256-SHA384")),
                             (V11, ("AES128-SHA", "AES256-SHA")), (V10, ("AES128-SHA", "AES256-SHA")))
      for name in names for options in (0, NO_ENCRYPT_THEN_MAC)),
    (V13, "DEFAULT", 0),
]  # fmt: skip


@pytest.mark.parametrize(("version", "cipher", "options"), CIPHERS)
def test_every_family_of_ciphers(version: ssl.TLSVersion, cipher: str, options: int) -> None:
    made = talk(version, ASKED, cipher, options=options)
    found = read(made)
    whole(found)
    assert found.counts["tls_connections_decrypted", f"1.{version - V10}"] == 1
    for size in (1, 7, 300):
        again = read(made, size)
        assert again.told() == found.told()
        assert again.ended() == {}


@pytest.mark.parametrize(("version", "cipher", "options"), CIPHERS)
def test_one_wrong_bit_is_found_and_ends_the_direction(
    version: ssl.TLSVersion, cipher: str, options: int
) -> None:
    made = talk(version, ASKED, cipher, options=options)
    # The last record but one of the client's is its second request (the last says that it closes).
    sizes, stream = [], made.stream(True)
    while stream:
        sizes.append(5 + int.from_bytes(stream[3:5], "big"))
        stream = stream[sizes[-1] :]
    for at in (sum(sizes[:-2]) + 5, sum(sizes[:-1]) - 1):
        broken = corrupted(made, at)
        found = read(broken)
        assert Counter(event["type"] for event in found.events) == {
            "tls_decrypt_http": 1, "tls_decrypt_http_server": 2,
        }  # fmt: skip
        assert found.ended() == {"not_verified": 1}


def corrupted(made: Talk, at: int, *, client: bool = True, to: int | None = None) -> Talk:
    """With a bit turned of the byte at ``at`` of what an end sent, or another byte there."""
    out = Talk(keys=made.keys)
    for who, data in made.sent:
        part = bytearray(data)
        if who == client:
            if 0 <= at < len(part):
                part[at] = part[at] ^ 1 if to is None else to
            at -= len(part)
        out.sent.append((who, bytes(part)))
    return out


def test_what_cannot_be_opened_has_a_reason() -> None:
    made = talk(V12, ASKED)
    # RFC 5246 7.4.1.3: behind record and message header version, random, session_id, suite, compression
    suite = 9 + 2 + 32 + 1 + made.stream(False)[9 + 2 + 32]
    rc4 = corrupted(corrupted(made, suite, client=False, to=0), suite + 1, client=False, to=5)
    assert read(rc4).ended() == {"cipher_suite": 2}
    assert read(corrupted(made, 10, client=False, to=0)).ended() == {"version": 2}
    assert read(corrupted(made, suite + 2, client=False, to=1)).ended() == {"compression": 2}
    # A record of a type that there is none of.
    last = len(made.stream(True)) - 1
    sizes = [5 + made.stream(True)[3] * 256 + made.stream(True)[4]]
    assert sizes[0] < last
    assert read(corrupted(made, sizes[0], to=99)).ended()["record_header"] == 1
    # Nothing of the server's is here.
    items = [item for item in made.segments() if item["src_port"] == 40000]
    assert Read(items, made.key_log).ended() == {"no_server_hello": 1}


def test_a_resumed_session_has_the_secrets_of_its_own_random() -> None:
    for version in (V12, V13):
        made = contexts(version)
        first = talk(version, ASKED, made=made)
        second = talk(version, ASKED, made=made, session=first.session)
        assert second.resumed
        whole(read(second))


def test_a_hello_retry_request() -> None:
    made = contexts(V13)
    made[1].set_ecdh_curve("secp521r1")  # the client's first key share is of another
    connection = talk(V13, ASKED, made=made)
    assert connection.stream(True).count(b"\x16\x03") >= 2
    whole(read(connection))


GET = b"GET / HTTP/1.0\r\n\r\n"
BOTH = ["tls_decrypt_http", "tls_decrypt_http_server"]


@needs_openssl
@pytest.mark.parametrize(
    "suite", ["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_CCM_SHA256"]
)
def test_the_suites_of_tls13(suite: str) -> None:
    (made,) = openssl_talks([["-ciphersuites", suite]], ["-ciphersuites", suite, "-www"], [GET])
    found = read(made)
    assert [event["type"] for event in found.events] == BOTH
    assert found.ended() == {}


@needs_openssl
def test_key_updates_of_both_ends() -> None:
    # K: the client's keys change, and it asks the server to change its own; k: the client's alone.
    (made,) = openssl_talks([["-tls1_3"]], ["-www"], [b"K\n", b"k\n", GET])
    (without,) = openssl_talks([["-tls1_3"]], ["-www"], [GET])
    found = read(made)
    assert [event["type"] for event in found.events] == BOTH
    assert found.ended() == {}
    # Three records more: two of the client's and the server's answer to the first.
    more = ("tls_records_decrypted",)
    assert found.counts[more] == read(without).counts[more] + 3


@needs_openssl
def test_early_data_is_passed_over(tmp_path: Path) -> None:
    early, session = tmp_path / "early", tmp_path / "session"
    early.write_bytes(b"GET /early HTTP/1.0\r\n\r\n")
    kept, used = ["-sess_out", str(session)], ["-sess_in", str(session), "-early_data", str(early)]
    first, second = openssl_talks([kept, used], ["-early_data"], [GET])
    found = [read(first), read(second)]
    assert [each.counts["tls_early_data_skipped",] > 0 for each in found] == [False, True]
    for each in found:
        assert [event["type"] for event in each.events] == ["tls_decrypt_http"]
        assert each.ended() == {}


def h2_talk() -> Talk:
    """Streams beside one another, blocks in several frames, a push, a table that grows, trailers."""
    client, server = Speaker(), Speaker()
    ask = HELLO + client.headers(1, request("/1")) + client.continued(3, request("/3", ("x-long", "y" * 200)))
    first = HELLO_SERVER + ACK + server.pushed(1, 2, request("/2")) + server.headers(3, response())
    server.encoder.header_table_size = 65536
    second = server.continued(1, response(("x-long", "z" * 50), ("x-first", "1"))) + frame(
        DATA, 0, 1, bytes(16_000)
    )
    third = (
        frame(DATA, 0, 3, bytes(9))
        + server.headers(2, response())
        + server.headers(1, [("grpc-status", "0")])
    )
    return talk(V13, [(True, ask), (False, first), (False, second), (True, client.headers(5, request("/5"))),
                      (False, third)])  # fmt: skip


def test_http2() -> None:
    found = read(h2_talk())
    assert found.ended() == {}
    shown = [
        (event["type"], event[event["type"]]["stream"], event[event["type"]]["headers"][-1]["value"])
        for event in found.events
    ]
    assert shown == [
        ("tls_decrypt_h2", 1, "test"), ("tls_decrypt_h2", 3, "y" * 200),
        ("tls_decrypt_h2_server", 1, "test"), ("tls_decrypt_h2_server", 3, "test"),
        ("tls_decrypt_h2_server", 1, "1"), ("tls_decrypt_h2", 5, "test"),
        ("tls_decrypt_h2_server", 2, "test"), ("tls_decrypt_h2_server", 1, "0"),
    ]  # fmt: skip
    assert found.events[2]["tls_decrypt_h2_server"]["promised"] == 2
    assert found.events[0]["readable"] == {
        "tls_decrypt_h2": [{name: value} for name, value in request("/1")],
    }


def test_neither_is_counted_and_left_alone() -> None:
    found = read(talk(V13, [(True, b"\x00\x01binary"), (False, b"SSH-2.0-x\r\n"), (True, REQUEST)]))
    assert found.events == []
    assert found.ended() == {"not_http": 2}


def test_events_tell_where_a_message_began() -> None:
    request_ = REQUEST[:-4] + b"\r\nX-Long: " + b"y" * 3000 + b"\r\n\r\n"
    made = talk(V13, [(True, request_[:20]), (True, request_[20:])])
    found = read(made, 1000)
    (event,) = found.events
    assert event["reassembled"]
    # The segment with the first byte of the record in which the request begins.
    sent = [item for item in made.segments(1000) if item["src_port"] == 40000 and item["payload"]]
    times = [item["time"] for item in sent]
    assert event["event_start"] in times[2:-4]
    assert read(talk(V13, ASKED)).events[0]["reassembled"] is False
    ids = [each["event_id"] for each in read(talk(V13, ASKED)).events]
    assert len(set(ids)) == 4


def test_whatever_is_not_here_ends_its_direction_alone() -> None:
    made = talk(V13, [(True, REQUEST), (False, RESPONSE), *[(False, RESPONSE)] * 9])
    whole_ = read(made).told()
    cut = made.segments()
    mine = [i for i, item in enumerate(cut) if item["src_port"] == 443 and item["payload"]]
    lost = [item for i, item in enumerate(cut) if i != mine[-4]]
    found = Read(lost, made.key_log)
    assert found.ended() == {"gap": 1}
    assert found.told() == [each for each in whole_ if found.told().count(each)][: len(found.told())]
    clipped: list[Any] = list(cut)
    item = clipped[mine[-4]]
    clipped[mine[-4]] = {**item, "payload": item["payload"][:10], "missing": len(item["payload"]) - 10}
    found = Read(clipped, made.key_log)
    assert found.ended() == {"missing": 1}
    assert 1 < len(found.events) < len(whole_)
    # Of a head alone, as a sensor publishes that keeps 16 KiB, what is in it.
    large = talk(V13, [(True, REQUEST), (False, RESPONSE[:-5].replace(b" 5", b" 90000") + bytes(90_000))])
    head: list[Any] = []
    sent = 0
    for item in large.segments():
        if item["src_port"] == 443 and item["payload"]:
            sent += len(item["payload"])
        beyond = sent > 16_384 and item["src_port"] == 443
        head.append({**item, "payload": b"", "missing": len(item["payload"])} if beyond else item)
    assert Read(head, large.key_log).ended() == {"missing": 1}


@pytest.mark.parametrize("seed", range(3))
def test_any_order_and_repetition_gives_the_same(seed: int) -> None:
    made = h2_talk()
    draw = random.Random(seed)
    items = made.segments(300)
    copies = [(i + draw.uniform(0, 8), item) for i, item in enumerate(items[2:])]
    copies += [(i + draw.uniform(0, 8), item) for i, item in enumerate(items[2:]) if draw.random() < 0.3]
    shuffled = [item for _, item in sorted(copies, key=lambda pair: pair[0])]
    found = Read(items[:2] + shuffled, made.key_log)
    assert sorted(found.told()) == sorted(read(made).told())
    assert found.ended() == {}


def test_without_secrets_it_is_waited_for_a_while_and_counted() -> None:
    made = talk(V13, ASKED)
    items = made.segments()
    found = Read(items, KeyLog())
    assert found.events == []
    assert found.ended() == {"no_secret": 2}
    # It waits though both ends have closed, and no longer than it may.
    assert found.left == 1
    late = Read([*items, mark(items[-1]["time"] + 6 * SECOND)], KeyLog())
    assert (late.left, late.ended()) == (0, {"no_secret": 2})
    many = talk(V13, [(True, REQUEST), *[(False, bytes(16_000))] * 40])
    items = many.segments()[:-2]
    table_of = Read(items, KeyLog())
    assert table_of.ended() == {"no_secret": 2}


def test_secrets_may_come_after_the_records() -> None:
    made = talk(V13, ASKED)
    items = made.segments()
    lines = made.keys.splitlines()
    for late in range(3, len(items) + 1):
        keys = KeyLog()
        table = FlowTable(Limits(), Recognised(), decrypting=Decrypting(keys))
        for offset, item in enumerate(items):
            if offset == late:
                for line in lines:
                    keys.add(line)
            table.segment(offset, dict(item))
        if late == len(items):
            for line in lines:
                keys.add(line)
        table.mark(len(items), "sensor", "run", items[-1]["time"] + SECOND)
        assert table.flows == 0
        found = [event["type"] for event in table.events if event["type"].startswith("tls_decrypt")]
        assert Counter(found) == {"tls_decrypt_http": 2, "tls_decrypt_http_server": 2}


def test_rebuilding_from_the_low_water_mark_gives_the_same_events() -> None:
    connections = [talk(V13, ASKED), h2_talk(), talk(V12, ASKED), talk(V13, ASKED)]
    keys = KeyLog()
    flows: list[list[Payload]] = []
    for number, made in enumerate(connections):
        for line in made.keys.splitlines():
            keys.add(line)
        ports = {40000: 41000 + number, 443: 443}
        flows.append([
            {**item, "src_port": ports[item["src_port"]], "dst_port": ports[item["dst_port"]],
             "time": item["time"] + number}
            for item in made.segments(500)
        ])  # fmt: skip
    draw = random.Random(7)
    log: list[Payload] = []
    while any(flows):
        log.append(draw.choice([flow for flow in flows if flow]).pop(0))
    log.append(end())

    def handled(table: FlowTable, first: int, last: int) -> list[str]:
        table.events.clear()
        for offset in range(first, last):
            item = log[offset]
            if item["kind"] == "SEGMENT":
                table.segment(offset, dict(item))
            else:
                table.end(item["sensor"], item["run"])
        return [event["event_id"] for event in table.events]

    def fresh() -> FlowTable:
        return FlowTable(Limits(), Recognised(), decrypting=Decrypting(keys))

    expected = handled(fresh(), 0, len(log))
    assert len(set(expected)) == len(expected)
    for _ in range(15):
        told: list[str] = []
        table, at = fresh(), 0
        while at < len(log):
            stop = min(len(log), at + draw.randint(1, 40))
            told += handled(table, at, stop)
            low, at = table.low_water(), stop
            if (
                draw.random() < 0.5
            ):  # it dies: a successor reads from the low-water mark, silent before ``at``
                table = fresh()
                handled(table, at if low is None else low, at)
        assert told == expected


def test_more_than_there_is_room_for_costs_the_oldest_its_decryption() -> None:
    connections = [talk(V13, ASKED) for _ in range(4)]
    keys = KeyLog()
    flows: list[list[Payload]] = []
    for number, made in enumerate(connections):
        for line in made.keys.splitlines():
            keys.add(line)
        ports = {40000: 41000 + number, 443: 443}
        flows.append([
            {**item, "src_port": ports[item["src_port"]], "dst_port": ports[item["dst_port"]]}
            for item in made.segments()
        ])  # fmt: skip
    # All four are under way at once.
    together = [item for turn in zip_longest(*flows) for item in turn if item is not None]
    found = Read(together, keys, limit=30_000)
    # Each was dropped when the next but one began: so far the client alone had spoken.
    assert found.ended() == {"memory": 2}
    assert {event["src_port"] for event in found.events} == {41002, 41003, 443}
    assert len(found.events) == 8


def test_of_too_many_those_without_secrets_go_first() -> None:
    connections = [talk(V13, ASKED) for _ in range(6)]
    flows: list[list[Payload]] = []
    for number, made in enumerate(connections):
        ports = {40000: 41000 + number, 443: 443}
        flows.append([
            {**item, "src_port": ports[item["src_port"]], "dst_port": ports[item["dst_port"]]}
            for item in made.segments()
        ])  # fmt: skip
    known, *others = flows
    items = [*known[:-8], *chain(*others), *known[-8:]]
    found = Read(items, connections[0].key_log, limit=40_000)
    assert len(found.events) == 4
    assert found.ended().keys() == {"memory", "no_secret"}


def test_a_long_connection_takes_no_more_memory() -> None:
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n" + bytes(4_000_000)
    made = talk(V13, [(True, REQUEST), *((False, body[i : i + 16_000]) for i in range(0, len(body), 16_000))])
    decrypting = Decrypting(made.key_log)
    table = FlowTable(Limits(), Recognised(), decrypting=decrypting)
    highest = 0
    for offset, item in enumerate(made.segments()):
        table.segment(offset, dict(item))
        highest = max(highest, decrypting.held)
    assert highest < 60_000
    assert [event["type"] for event in table.events][-2:] == ["tls_decrypt_http", "tls_decrypt_http_server"]


def test_tls_behind_connect() -> None:
    made = talk(V13, ASKED)
    ask = b"CONNECT www.example.com:443 HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
    made.sent[:0] = [(True, ask), (False, b"HTTP/1.1 200 OK\r\n\r\n")]
    whole(read(made))
    whole_ = read(made, 9)
    assert len(whole_.events) == 4


@needs_openssl
def test_renegotiation_is_under_the_keys_of_the_newer_hellos() -> None:
    (made,) = openssl_talks([["-tls1_2"]], ["-www", "-client_renegotiation"], [b"R\n", GET])
    found = read(made)
    assert [event["type"] for event in found.events] == BOTH
    assert found.ended() == {}
    # The other way round: all that the client sent is here before anything of the server's is.
    items = made.segments()
    ordered = sorted(items[2:], key=lambda item: item["src_port"] == 443)
    assert Read(items[:2] + ordered, made.key_log).told() == found.told()


def test_what_is_told_has_no_secret() -> None:
    made = talk(V13, ASKED)
    found = read(made)
    text = repr(found.events) + repr(found.counts) + repr(found.table)
    for line in made.keys.split():
        if len(line) >= 64:
            assert line.decode() not in text


def test_secrets_of_another_connection_do_not_verify() -> None:
    made, other = talk(V13, ASKED), talk(V13, ASKED)
    keys = KeyLog()
    for line, wrong in zip(sorted(made.keys.splitlines()), sorted(other.keys.splitlines()), strict=True):
        keys.add(line[: line.rindex(b" ")] + wrong[wrong.rindex(b" ") :])
    found = Read(made.segments(), keys)
    assert found.events == []
    assert found.ended() == {"not_verified": 2}
    assert keys.secret(made.stream(True)[11:43], Label.CLIENT_TRAFFIC) is not None


def test_times_are_the_captures() -> None:
    assert {START <= event["event_start"] < START + SECOND for event in read(talk(V13, ASKED)).events} == {
        True
    }
