"""TLS that begins in the clear: found behind what is said before it, and nowhere else."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cli.command import vermilion
from fingerprint.flowrecords import CLIENT, SERVER, end, events, numbered, record
from fingerprint.hellos import RECORDING
from fingerprint.test_ssh import streams
from hypothesis import given
from hypothesis import strategies as st
from orjson import loads

from vermilion_fingerprint import starttls
from vermilion_fingerprint.cursor import Cursor, Malformed, NeedMore

STARTTLS = Path(__file__).parent.parent / "data" / "starttls.pcap"
HELLO = next(stream for stream in streams(RECORDING).values() if stream.startswith(b"\x16\x03\x01"))
ALERT = b"\x15\x03\x03\0\2\2\x28"
SSL_REQUEST = bytes.fromhex("0000000804d2162f")

CLIENTS = {
    "smtp": b"EHLO host.example\r\nSTARTTLS\r\n",
    "lmtp": b"LHLO host.example\r\nstarttls\r\n",
    "imap": b". CAPABILITY\r\n. STARTTLS\r\n",
    "imap with an id": b'a1 ID ("name" "x")\r\na2 STARTTLS\r\n',
    "pop3": b"CAPA\r\nSTLS\r\n",
    "pop3 at once": b"STLS\r\n",
    "ftp": b"FEAT\r\nAUTH TLS\r\n",
    "nntp": b"CAPABILITIES\r\nSTARTTLS\r\n",
    "postgresql": SSL_REQUEST,
}
SERVERS = {
    "smtp": b"220 mx.example ESMTP\r\n250-mx.example\r\n250 STARTTLS\r\n220 2.0.0 ready\r\n",
    "imap": b"* OK ready\r\n* CAPABILITY IMAP4rev1 STARTTLS\r\na1 OK done\r\na2 OK begin\r\n",
    "pop3": b"+OK ready\r\n+OK\r\nSTLS\r\n.\r\n+OK begin\r\n",
    "ftp": b"220-Welcome\r\n  to all\r\n220 ready\r\n211-Features\r\n AUTH TLS\r\n211 End\r\n234 go\r\n",
    "nntp": b"200 news.example\r\n101 list\r\nSTARTTLS\r\n.\r\n382 go\r\n",
    "postgresql": b"S",
}
NOT_OURS = {
    "smtp without": b"EHLO host.example\r\nMAIL FROM:<a@host.example>\r\n",
    "pop3 with a password": b"CAPA\r\nUSER a\r\n",
    "imap with a password": b"a1 CAPABILITY\r\na2 LOGIN a b\r\n",
    "smtp with a password": b"EHLO x\r\nAUTH PLAIN AAAA\r\n",
    "irc": b"NICK somebody\r\nUSER a b c d\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "binary": b"\0\1\2\3\r\n",
    "binary behind a command": b"EHLO x\r\n\0\1\2\r\n",
    "server refusing": b"S\0",
    "a greeting with TLS at once": b"220 x\r\n" + ALERT + b"\r\n",
    "no line": b"x" * 600,
    "too long": b"220 x\r\n" + b"250 y\r\n" * 1200,
}


@pytest.mark.parametrize("text", CLIENTS.values(), ids=CLIENTS)
def test_a_client_that_asks(text: bytes) -> None:
    found = starttls.parse(Cursor(text + HELLO))
    assert starttls.matches(Cursor(text + HELLO))
    assert (found.end, found.followed_by[0]) == (len(text), "tls")


@pytest.mark.parametrize("text", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize("record_begins", [b"\x16\x03\x03", ALERT])
def test_a_server_that_agrees(text: bytes, record_begins: bytes) -> None:
    assert starttls.matches(Cursor(text + record_begins))
    found = starttls.parse(Cursor(text + record_begins))
    assert (found.end, found.followed_by) == (len(text), ("tls_server",))


@pytest.mark.parametrize("text", NOT_OURS.values(), ids=NOT_OURS)
def test_what_does_not_lead_to_tls(text: bytes) -> None:
    assert not starttls.matches(Cursor(text))
    with pytest.raises(Malformed):
        starttls.parse(Cursor(text))


@pytest.mark.parametrize("text", [*CLIENTS.values(), *SERVERS.values()])
def test_every_truncation_waits_and_what_it_asks_for_comes(text: bytes) -> None:
    whole = text + HELLO
    end_of_text = starttls.parse(Cursor(whole)).end
    for length in range(len(text)):
        with pytest.raises(NeedMore) as more:
            starttls.parse(Cursor(whole[:length]))
        assert length < more.value.total <= end_of_text + 1
        with pytest.raises(Malformed):
            starttls.parse(Cursor(whole[:length]), True)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for prefix in (b"", b"EHLO x\r\n", b"220 x\r\n", SSL_REQUEST):
        try:
            found = starttls.parse(Cursor(prefix + data))
        except (NeedMore, Malformed):
            continue
        assert 0 < found.end <= len(prefix + data)


@pytest.mark.parametrize(
    "line", [b"a" * 8000 + b"\r\n", b" " * 8000 + b"x\r\n", b"STARTTLS" + b" " * 8000, b"x\n" * 4000]
)
def test_hostile_lines_cost_little(line: bytes) -> None:
    started = time.process_time()
    for prefix in (b"EHLO x\r\n", b"220 x\r\n", b"a "):
        for text in (prefix + line, prefix + line + b"\r\n"):
            with suppress(NeedMore):
                starttls.matches(Cursor(text))
    assert time.process_time() - started < 1


def conversation(client: bytes, server: bytes, size: int) -> list[Any]:
    """Both streams, in segments of ``size`` bytes, as records of a flow whose beginning was not seen."""
    back: dict[str, Any] = {"source": SERVER, "target": CLIENT}
    records = [
        record(1000 + at, stream[at : at + size], **ends)
        for stream, ends in ((client, {}), (server, back))
        for at in range(0, len(stream), size)
    ]
    return [*numbered(records), end()]


@pytest.mark.parametrize("size", [1, 7, 1460])
def test_a_hello_behind_it_is_told_once(size: int) -> None:
    expected = events(conversation(HELLO, b"", 1460))
    for text in CLIENTS.values():
        found = events(conversation(text + HELLO, b"", size))
        assert [event["fingerprints"] for event in found] == [event["fingerprints"] for event in expected]
        assert found[0]["tls"] == expected[0]["tls"]


def test_a_client_that_is_refused_may_ask_otherwise() -> None:
    found = events(conversation(b"AUTH SSL\r\nAUTH TLS\r\n" + HELLO, b"", 100))
    assert [event["type"] for event in found] == ["tls"]


def test_real_programs_are_told_with_their_server_and_its_certificate() -> None:
    done = vermilion("scan", "-e", "--types", "tls,tls_server,tls_certificate", "-r", STARTTLS)
    assert (done.returncode, done.stderr) == (0, "")
    found = [loads(line) for line in done.stdout.splitlines()]
    clients = {(event["src_ip"], event["src_port"]) for event in found if "tls" in event["fingerprints"]}
    labels = loads((STARTTLS.parent / "recorded.json").read_bytes())["starttls.pcap"]
    assert clients == {(each["src_ip"], each["src_port"]) for each in labels}
    assert {each["protocol"] for each in labels} == {"smtp", "imap", "pop3", "ftp", "postgresql"}
    assert len([event for event in found if "tls_server" in event["fingerprints"]]) == len(labels)
