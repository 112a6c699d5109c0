"""DTLS: the hellos of both sides, however they are cut, ordered, repeated or spoilt."""

import random
from collections import Counter
from hashlib import md5, sha256
from itertools import pairwise
from typing import Any

import pytest
from fingerprint.dtlsrecords import (
    DTLS10,
    DTLS12,
    DTLS13,
    FINISHED,
    client_hello,
    dtls_record,
    fragment,
    server_hello,
)
from fingerprint.flowrecords import CLIENT, SERVER, START, datagram, end, events, fresh, handle, numbered
from fingerprint.hellos import extension, u16s, vector
from hypothesis import given, settings
from hypothesis import strategies as st

from vermilion_fingerprint import dtls
from vermilion_pipeline.stage import Incoming

NAME = extension(0, vector(b"\0" + vector(b"dtls.example", 2), 2))
GROUPS = extension(10, vector(u16s(0x001D, 0x0017), 2))
HELLO = client_hello(u16s(0xC02C, 0xC030), GROUPS + NAME + extension(0x0A0A, b"x"))
HELLO_VERIFY = dtls_record(fragment(u16s(DTLS10) + vector(b"cookie", 1), kind=3))


def whole(body: bytes, number: int = 0, kind: int = 1) -> bytes:
    return dtls_record(fragment(body, kind=kind, number=number))


def from_server(payload: bytes, **fields: Any) -> Any:
    return datagram(payload, source=SERVER, target=CLIENT, **fields)


def told(*datagrams: bytes) -> list[dict[str, Any]]:
    """The events of a client's datagrams, and of the end of its run."""
    return events([*numbered(datagram(each) for each in datagrams), end()])


def counts(*datagrams: bytes, missing: int = 0) -> dict[tuple[str, ...], int]:
    batch = [*numbered(datagram(each, missing=missing) for each in datagrams), end()]
    return dict(fresh().handle([Incoming(i, None, each) for i, each in enumerate(batch)]).counts)


def test_strings_by_hand() -> None:
    (event,) = told(whole(HELLO))
    assert (event["type"], event["protocol"], event["event_start"]) == ("dtls", 17, START)
    assert event["fingerprints"] == {
        "dtls": "dtls/(fefd)(c02cc030)((000a00060004001d0017)(0000)(0a0a))",
        "dtls/1": "dtls/1/(fefd)(c02cc030)[(0000)(000a00060004001d0017)(0a0a)]",
        "ja3": md5(b"65277,49196-49200,10-0,29-23,", usedforsecurity=False).hexdigest(),
        "ja4": f"dd2d020200_{sha256(b'c02c,c030').hexdigest()[:12]}_{sha256(b'000a').hexdigest()[:12]}",
    }
    assert event["dtls"] == {"server_name": "dtls.example", "encrypted_client_hello": False}
    (event,) = events([*numbered([from_server(whole(server_hello(0xC030, extension(35)), kind=2))]), end()])
    assert event["type"] == "dtls_server"
    assert event["fingerprints"] == {
        "dtls_server": "dtls_server/(fefd)(c030)((0023))",
        "ja3s": md5(b"65277,49200,35", usedforsecurity=False).hexdigest(),
    }


@pytest.mark.parametrize(
    ("version", "offered", "name"),
    [
        (DTLS10, (), "d1"),
        (DTLS12, (), "d2"),
        (DTLS12, (DTLS13, DTLS12), "d3"),
        (DTLS12, (DTLS12, DTLS13), "d3"),
    ],
)
def test_versions(version: int, offered: tuple[int, ...], name: str) -> None:
    """Their numbers count down: the newest is the lowest."""
    versions = extension(43, vector(u16s(*offered), 1)) if offered else b""
    (event,) = told(whole(client_hello(extensions=versions, version=version)))
    assert event["fingerprints"]["ja4"].startswith(f"d{name}i01")


def test_a_hello_with_a_cookie_is_another_message() -> None:
    """RFC 6347 4.2.1."""
    conversation = [
        datagram(whole(HELLO)), datagram(whole(HELLO)), from_server(HELLO_VERIFY),
        datagram(whole(client_hello(cookie=b"cookie"), 1)), from_server(whole(server_hello(), 1, kind=2)),
    ]  # fmt: skip
    found = events(numbered(conversation))
    assert [event["type"] for event in found] == ["dtls", "dtls", "dtls_server"]
    assert len({event["event_id"] for event in found}) == 3


def test_a_hello_retry_request_is_a_server_hello() -> None:
    """RFC 9147 5.1: the cookie is in an extension then. RFC 8446 4.1.3: what it is known by."""
    retry = server_hello(0x1301, extension(43, u16s(DTLS13)) + extension(44, vector(b"cookie", 2)))
    retry = retry[:2] + sha256(b"HelloRetryRequest").digest() + retry[34:]
    found = events(
        numbered([from_server(whole(retry, kind=2)), from_server(whole(server_hello(), 1, kind=2))])
    )
    assert [event["fingerprints"]["dtls_server"] for event in found] == [
        "dtls_server/(fefd)(1301)((002b0002fefc)(002c))", "dtls_server/(fefd)(c02f)()",
    ]  # fmt: skip


@settings(max_examples=50)
@given(
    cuts=st.sets(st.integers(1, len(HELLO) - 1), max_size=10),
    together=st.integers(1, 4),
    repeat=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_any_fragments_order_and_repetition_give_the_hello(
    cuts: set[int], together: int, repeat: float, seed: int
) -> None:
    draw = random.Random(seed)
    bounds = [0, *sorted(cuts), len(HELLO)]
    parts = [fragment(HELLO, max(a - draw.randint(0, 5), 0), b) for a, b in pairwise(bounds)]
    parts += [part for part in parts if draw.random() < repeat]
    draw.shuffle(parts)
    # Several in a record, and several records in a datagram (RFC 6347 4.2.3 and 4.1.1).
    records = [dtls_record(b"".join(parts[i : i + together])) for i in range(0, len(parts), together)]
    datagrams = [b"".join(records[i : i + together]) for i in range(0, len(records), together)]
    (event,) = told(*datagrams)
    assert event["fingerprints"] == told(whole(HELLO))[0]["fingerprints"]
    assert not event["truncated"]
    if len(datagrams) == 1:
        assert not event["reassembled"]


def test_the_first_datagram_gives_the_time_and_more_than_one_is_reassembled() -> None:
    late = datagram(dtls_record(fragment(HELLO, 50)), time=START + 3)
    early = datagram(dtls_record(fragment(HELLO, 0, 50)), time=START + 7)
    (event,) = events(numbered([late, early]))
    assert event["event_start"] == START + 3
    assert event["reassembled"]


def test_both_sides_are_done_when_they_encrypt() -> None:
    task = fresh()
    batch = numbered([datagram(whole(HELLO)), from_server(whole(server_hello(), kind=2))])
    assert len(handle(task, batch)) == 2
    assert task.low_water() == 0
    changed = dtls_record(b"\1", kind=20) + FINISHED
    handle(task, [datagram(changed, ordinal=2), from_server(FINISHED, ordinal=3)], 2)
    assert task.low_water() is None
    # DTLS 1.3's records have another header (RFC 9147 4).
    task = fresh()
    handle(task, [datagram(whole(HELLO), ordinal=0), from_server(whole(server_hello(), kind=2))])
    handle(task, [datagram(b"\x2e" + bytes(40), ordinal=2), from_server(b"\x2f" + bytes(40), ordinal=3)], 2)
    assert task.low_water() is None


def test_what_is_encrypted_may_come_before_the_hello() -> None:
    found = events(numbered([from_server(b"\x2f" + bytes(40)), datagram(whole(HELLO))]))
    assert found == []  # a flow does not begin so
    first = [
        datagram(whole(HELLO)),
        from_server(b"\x2f" + bytes(40)),
        from_server(whole(server_hello(), kind=2)),
    ]
    assert [event["type"] for event in events(numbered(first))] == ["dtls", "dtls_server"]


def test_other_messages_are_stepped_over() -> None:
    flight = dtls_record(fragment(server_hello(), kind=2) + fragment(bytes(900), 0, 300, kind=11, number=1))
    (event,) = events(numbered([from_server(flight)]))
    assert event["type"] == "dtls_server"


def test_a_hello_of_which_the_end_never_comes() -> None:
    (event,) = told(dtls_record(fragment(HELLO, 0, 60)))
    assert event["truncated"]
    assert event["fingerprints"]["dtls"] == "dtls/(fefd)(c02cc030)((000a00060004001d0017))"
    assert counts(dtls_record(fragment(HELLO, 0, 20))) == {("parse_errors", "dtls", "ClientHello"): 1}
    assert counts(dtls_record(fragment(HELLO, 20))) == {("gaps_given_up", "age"): 1}


def test_what_is_spoilt_is_counted_by_name() -> None:
    good = whole(HELLO)
    assert counts(good[:-20]) == {("parse_errors", "dtls", "length"): 1}
    assert counts(good[:-20], missing=20) == {("datagrams_cut", "dtls"): 1}
    beyond = bytearray(fragment(HELLO))
    beyond[8] = 1
    assert counts(dtls_record(bytes(beyond))) == {("parse_errors", "dtls", "fragment_length"): 1}
    huge = b"\x01\xff\xff\xff" + bytes(5) + vector(b"x", 3)
    assert counts(dtls_record(huge)) == {("parse_errors", "dtls", "length"): 1}
    other = dtls_record(fragment(HELLO, 0, 60)), dtls_record(fragment(HELLO + b"x", 60))
    assert counts(*other)["parse_errors", "dtls", "length"] == 1
    many = [dtls_record(fragment(HELLO, 0, 60, number=n)) for n in range(5)]
    assert counts(*many)["parse_errors", "dtls", "message_seq"] == 1
    assert counts(whole(b"\x03\x03" + HELLO[2:])) == {("parse_errors", "dtls", "legacy_version"): 1}
    assert counts(whole(b"")) == {("parse_errors", "dtls", "legacy_version"): 1}


def test_no_datagram_is_too_strange() -> None:
    draw = random.Random(1)
    found: Counter[str] = Counter()
    datagrams = (
        dtls_record(fragment(HELLO, 0, 60)) + dtls_record(fragment(HELLO, 50)),
        whole(server_hello(), kind=2),
    )
    for data in datagrams:
        for at in range(len(data)):
            spoilt = data[:at] + bytes([data[at] ^ draw.randint(1, 255)]) + data[at + 1 :]
            for each in (data[:at], spoilt):
                association = dtls.Association(1 << 16)
                for message in association.take(each, 0, 1) + association.finish():
                    found[message.name] += 1
                    message.context(), message.readable()
                    (dtls.fingerprint if message.name == "dtls" else dtls.fingerprint_server)(message)
    assert min(found["dtls"], found["dtls_server"]) > 20


def test_in_words() -> None:
    (message,) = dtls.Association(1 << 16).take(whole(HELLO), 0, 0)
    assert message.readable()["version"] == "DTLS 1.2"


def test_what_begins_a_flow() -> None:
    assert dtls.begins(whole(HELLO))
    assert not dtls.begins(FINISHED)
    assert not dtls.begins(dtls_record(b"\1", kind=20))
    assert not dtls.begins(b"\x16\x03\x01" + bytes(60))
    assert not dtls.begins(b"")
