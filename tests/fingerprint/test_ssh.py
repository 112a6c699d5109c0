"""The SSH parser: what it reads, what it leaves to others, and what the peers make of the same streams."""

import gzip
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vermilion_capture.capturefile import CaptureFile
from vermilion_capture.packet import Segment, segment
from vermilion_fingerprint import ssh
from vermilion_fingerprint.cursor import Cursor, Malformed, NeedMore
from vermilion_fingerprint.streams import in_order

ROOT = Path(__file__).parent.parent.parent
OWN = (ROOT / "tests/data/ssh_openssh.pcap", ROOT / "cli/src/vermilion/recordings/programs.pcap")
DATA = Path(__file__).parents[3] / "shared" / "data"

Ends = tuple[bytes, int, bytes, int]
LISTS = (b"kex,k2", b"host", b"enc-c", b"enc-s", b"mac-c", b"mac-s", b"comp-c", b"comp-s", b"", b"en")
BANNER = b"SSH-2.0-Test_1.0 a comment\r\n"


def streams(path: Path) -> dict[Ends, bytes]:
    """Each direction's stream in a capture, as far as it has no gap."""
    found: dict[Ends, list[tuple[int, bytes]]] = {}
    with CaptureFile(path) as capture:
        for frame in capture:
            part = segment(frame.data)
            if isinstance(part, Segment) and part.payload:
                ends = (part.src_ip, part.src_port, part.dst_ip, part.dst_port)
                found.setdefault(ends, []).append((part.seq, part.payload))
    return {ends: in_order(parts) for ends, parts in found.items()}


@lru_cache
def recorded() -> tuple[tuple[bytes, bool], ...]:
    """The project's recordings: each side's bytes up to its KEXINIT's last, and whether it is the client."""
    out = []
    for path in OWN:
        for (_, _, _, dst_port), stream in streams(path).items():
            if stream.startswith(b"SSH-"):
                out.append((stream[: ssh.parse(Cursor(stream)).end], dst_port == 22))
    assert len(out) >= 10
    return tuple(out)


def packet(payload: bytes, padding: int = 4) -> bytes:
    """A binary packet without keys."""
    return (len(payload) + padding + 1).to_bytes(4, "big") + bytes([padding]) + payload + bytes(padding)


def kexinit(lists: Iterable[bytes] = LISTS, tail: bytes = bytes(5)) -> bytes:
    """A KEXINIT's payload."""
    body = b"".join(len(each).to_bytes(4, "big") + each for each in lists)
    return b"\x14" + b"c" * 16 + body + tail


STREAM = BANNER + packet(kexinit())


def told(message: ssh.SshInit, client: bool = True) -> dict[str, str]:
    name, write = ("hassh", ssh.hassh) if client else ("hassh_server", ssh.hassh_server)
    return {"ssh": ssh.fingerprint(message), name: write(message)}


def forms(stream: bytes, client: bool = True) -> dict[str, str]:
    return told(ssh.parse(Cursor(stream)), client)


def md5(text: bytes) -> str:
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


def test_the_strings() -> None:
    groups = "".join(f"({field.hex()})" for field in (BANNER[:-2], *LISTS))
    hassh, hassh_server = md5(b"kex,k2;enc-c;mac-c;comp-c"), md5(b"kex,k2;enc-s;mac-s;comp-s")
    assert forms(STREAM, True) == {"ssh": groups, "hassh": hassh}
    assert forms(STREAM, False) == {"ssh": groups, "hassh_server": hassh_server}


def test_the_message() -> None:
    message = ssh.parse(Cursor(STREAM + b"more"))
    assert message.end == len(STREAM)
    assert not message.truncated
    assert message.context() == {"protocol": "SSH-2.0-Test_1.0 a comment"}
    assert message.name_lists == list(LISTS)
    assert message.readable() == {
        "protocol": ["SSH-2.0-Test_1.0 a comment"],
        "kex_algos": ["kex", "k2"],
        "s_host_key_algos": ["host"],
        "c_enc_algos": ["enc-c"],
        "s_enc_algos": ["enc-s"],
        "c_mac_algos": ["mac-c"],
        "s_mac_algos": ["mac-s"],
        "c_comp_algos": ["comp-c"],
        "s_comp_algos": ["comp-s"],
        "c_languages": [],
        "s_languages": ["en"],
    }


@pytest.mark.parametrize("ending", [b"\r\n", b"\n"])
def test_the_line_ends_with_or_without_a_carriage_return(ending: bytes) -> None:
    message = ssh.parse(Cursor(b"SSH-1.99-x y" + ending + packet(kexinit())))
    assert message.protocol == "SSH-1.99-x y"


def test_other_bytes_than_text_are_shown_and_no_error() -> None:
    message = ssh.parse(Cursor(b"SSH-2.0-\xff\xc3\xa9\n" + packet(kexinit([b"a,\xff"] * 10))))
    assert message.context() == {"protocol": "SSH-2.0-\\xff\u00e9"}
    assert message.readable()["kex_algos"] == ["a", "\\xff"]


@pytest.mark.parametrize("lines", [b"\r\n", b"Welcome\r\n", b"** no access **\n\nGr\xc3\xbc\xc3\x9fe\n" * 16])
def test_lines_before_the_identification_string(lines: bytes) -> None:
    stream = lines + STREAM
    assert ssh.matches(Cursor(stream))
    message = ssh.parse(Cursor(stream))
    assert message.end == len(stream)
    assert told(message) == forms(STREAM)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (b"x\n" * 50, True),
        (b"x\n" * 51, False),
        (b"x" * 1015 + b"\n", True),
        (b"x" * 1016 + b"\n", False),
        (b"x" * 5000, False),
        (b"SSH-3.0-other\n", False),
        (b"SSH\n", True),
    ],
)
def test_such_lines_are_bounded(lines: bytes, found: bool) -> None:
    # What begins with SSH- itself is matched at once: parse() then looks for its KEXINIT.
    assert ssh.matches(Cursor(lines + STREAM)) == (found or lines.startswith(b"SSH-"))


@pytest.mark.parametrize(("lines", "found"), [(b"x" * 8183 + b"\n", True), (b"x" * 8192 + b"\n", False)])
def test_parse_reads_8_kib_of_such_lines(lines: bytes, found: bool) -> None:
    if found:
        assert ssh.parse(Cursor(lines + STREAM)).end == len(lines) + len(STREAM)
        return
    with pytest.raises(Malformed) as bad:
        ssh.parse(Cursor(lines + STREAM))
    assert bad.value.field == "identification string"


@pytest.mark.parametrize(
    "start",
    [
        b"220 mail.example ESMTP\r\n",
        b"220-ftp.example\r\n",
        b"200 news.example\r\n",
        b"* OK IMAP4rev1 ready\r\n",
        b"* PREAUTH ready\r\n",
        b"+OK POP3 ready\r\n",
        b"-ERR no\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"GET ",
        b"POST /\r\n",
        b"PROPFIND /dav HTTP/1.1\r\n",
        b"OPTIONS rtsp://example RTSP/1.0\r\n",
        b"INVITE sip:a@example SIP/2.0\r\n",
        b"EHLO client.example\r\n",
        b"USER name\r\n",
        b"<?xml version='1.0'?>",
        b'{"jsonrpc"',
        b"\x16\x03\x01",
        b"text and then\0",
        b"\x80\x2e\x01",
    ],
)
def test_other_protocols_are_none_at_once(start: bytes) -> None:
    assert not ssh.matches(Cursor(start))
    assert not ssh.matches(Cursor(start + b"\r\n" + STREAM))


@given(st.binary(max_size=1100) | st.text(max_size=600).map(str.encode), st.binary(max_size=40))
def test_matches_waits_no_longer_than_its_bound_and_keeps_its_word(head: bytes, tail: bytes) -> None:
    """NeedMore is exact: no stream with fewer bytes is an SSH one; an answer never changes."""
    try:
        first = ssh.matches(Cursor(head))
    except NeedMore as more:
        assert len(head) < more.total <= 1024
        for end in range(len(head) + 1, min(more.total, len(head + tail))):
            try:
                assert not ssh.matches(Cursor((head + tail)[:end]))
            except NeedMore:
                continue
    else:
        assert ssh.matches(Cursor(head + tail)) == first


@pytest.mark.parametrize("ignored", [0, 1, 8])
def test_data_to_ignore_may_come_first(ignored: int) -> None:
    """RFC 4253 11.2 and 11.3: at any time after the identification string."""
    before = [packet(b"\2\0\0\0\1x"), packet(b"\4\1\0\0\0\0\0\0\0\0")]
    stream = BANNER + b"".join(before[i % 2] for i in range(ignored)) + packet(kexinit())
    assert forms(stream) == forms(STREAM)
    assert ssh.parse(Cursor(stream)).end == len(stream)


@pytest.mark.parametrize(
    ("stream", "field"),
    [
        (b"SSH-1.5-OpenSSH_6.6\n" + bytes(20), "protoversion"),
        (b"SSH-2.0-" + b"x" * 247, "identification string"),
        (b"SSH-2.0-a\0b\r\n", "identification string"),
        (b"HTTP/1.1 200 OK\r\n", "identification string"),
        (BANNER + bytes(6), "packet_length"),
        (BANNER + b"\0\0\x88\xb5" + b"\4\x14", "packet_length"),
        (BANNER + b"\xff\xff\xff\xff\4\x14", "packet_length"),
        (BANNER + b"\0\0\0\x50\x4f\x14", "padding_length"),
        (BANNER + packet(b"\1" + bytes(12)), "SSH_MSG_KEXINIT"),
        (BANNER + packet(b"\2\0\0\0\0") * 9 + packet(kexinit()), "SSH_MSG_KEXINIT"),
        (BANNER + packet(kexinit()[:12]), "cookie"),
        (BANNER + packet(kexinit(LISTS[:-1], b"")), "languages_server_to_client"),
        (BANNER + packet(kexinit(LISTS[:2], b"\xff\xff\xff\xff")), "encryption_algorithms_client_to_server"),
        (BANNER + packet(kexinit(tail=b"")), "first_kex_packet_follows"),
        (BANNER + packet(kexinit(tail=b"\0\0")), "reserved"),
    ],
)
@pytest.mark.parametrize("final", [False, True])
def test_malformed_names_its_field(stream: bytes, field: str, final: bool) -> None:
    with pytest.raises(Malformed) as bad:
        ssh.parse(Cursor(stream), final)
    assert bad.value.field == field
    assert 0 <= bad.value.offset <= len(stream)


def test_the_longest_identification_string() -> None:
    stream = b"SSH-2.0-" + b"x" * 245 + b"\r\n" + packet(kexinit())
    assert len(ssh.parse(Cursor(stream)).protocol) == 253


def test_the_guess_of_the_key_exchange_says_nothing() -> None:
    assert forms(BANNER + packet(kexinit(tail=b"\1" + bytes(4)))) == forms(STREAM)


@pytest.mark.parametrize("number", range(len(recorded())))
def test_every_truncation_of_every_recorded_side(number: int) -> None:
    """A cut stream needs more, exactly; at the end it has its fingerprint when the lists are whole."""
    stream, client = recorded()[number]
    whole = forms(stream, client)
    kinds = Counter[str]()
    for end in range(len(stream)):
        with pytest.raises(NeedMore) as more:
            ssh.parse(Cursor(stream[:end]))
        assert end < more.value.total <= len(stream)
        try:
            cut = ssh.parse(Cursor(stream[:end]), True)
        except Malformed:
            kinds["none"] += 1
        else:
            assert (cut.truncated, cut.end) == (True, end)
            assert told(cut, client) == whole
            kinds["truncated"] += 1
    padding = stream[stream.index(b"\n") + 5]
    assert kinds["truncated"] == padding + 5


@pytest.mark.parametrize("lines", [b"", b"A line.\r\nAnother.\r\n"])
def test_byte_at_a_time_equals_whole_and_is_not_quadratic(lines: bytes) -> None:
    stream, client = recorded()[0]
    stream = lines + stream
    tries = needed = 0
    matched = False
    for end in range(1, len(stream) + 1):
        if end < needed:
            continue
        tries += 1
        part = Cursor(stream[:end])
        try:
            if not matched:
                assert ssh.matches(part)
                matched, part = True, Cursor(stream[:end])
            message = ssh.parse(part)
        except NeedMore as more:
            needed = more.total
    assert message.end == len(stream)
    assert told(message, client) == forms(recorded()[0][0], client)
    assert tries < 60


def test_every_byte_corrupted() -> None:
    stream = bytearray(recorded()[0][0])
    for at in range(len(stream)):
        old = stream[at]
        for value in {0, 1, 0x0A, 0x7F, 0x80, 0xFF, old ^ 1}:
            stream[at] = value
            for final in (False, True):
                outcome(bytes(stream), final)
        stream[at] = old


def outcome(stream: bytes, final: bool) -> None:
    """Nothing but the parser's own outcomes, and a message lies within its stream."""
    try:
        message = ssh.parse(Cursor(stream), final)
    except Malformed as bad:
        assert bad.field
    except NeedMore as more:
        assert not final
        assert more.total > len(stream)
    else:
        assert message.end <= len(stream)
        assert sum(map(len, message.name_lists)) < message.end
        assert told(message)["ssh"].count("(") == 11
        assert message.readable()["protocol"] == [message.protocol]
        json.dumps([message.readable(), message.context()])


@given(
    st.binary(max_size=300), st.booleans(), st.sampled_from([b"", b"SSH-2.0-", BANNER, b"a line\n" + BANNER])
)
def test_any_bytes(stream: bytes, final: bool, head: bytes) -> None:
    outcome(head + stream, final)


@given(st.data())
def test_corrupted_streams_raise_only_the_parsers_own(data: st.DataObject) -> None:
    stream = bytearray(data.draw(st.sampled_from([each for each, _ in recorded()])))
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    outcome(bytes(stream[: data.draw(st.integers(0, len(stream)))]), data.draw(st.booleans()))


@pytest.mark.parametrize(
    "stream",
    [
        b"a" * 65536,
        b"\n" * 65536,
        b"a " * 32768,
        b"! " + b"!" * 65534,
        b"SSH-" * 16384,
        b"SSH\n" * 16384,
        BANNER + packet(b"\2\0") * 9000,
        BANNER + packet(kexinit([b"," * 3400] * 10)) + bytes(30000),
        BANNER + packet(kexinit([b"," * 34000, *[b""] * 9])) + bytes(30000),
        b"x\n" * 49 + b"x" * 8000 + b"\n" + STREAM * 300,
    ],
)
def test_64_kib_of_malice_cost_5_ms_at_most(stream: bytes) -> None:
    def once() -> float:
        start = time.perf_counter()
        try:
            ssh.matches(Cursor(stream))
            message = ssh.parse(Cursor(stream), True)
            told(message)
            message.readable()
        except (NeedMore, Malformed):
            pass
        return time.perf_counter() - start

    assert min(once() for _ in range(5)) < 0.005


# What the peers and suricata-verify's published values say of the same captures.

reference = pytest.mark.skipif(
    not DATA.is_dir(), reason="the peers' recorded outputs are not here (../shared/data)"
)


def sides(name: str) -> dict[tuple[int, int], tuple[dict[str, str], ssh.SshInit]]:
    """(source port, destination port) -> the forms and the message of each side of a capture."""
    out = {}
    for (_, src_port, _, dst_port), stream in streams(DATA / "pcaps" / name).items():
        try:
            if ssh.matches(Cursor(stream)):
                message = ssh.parse(Cursor(stream), True)
                out[src_port, dst_port] = (told(message, dst_port < src_port), message)
        except (NeedMore, Malformed):
            continue
    return out


def golden(peer: str, name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / "golden" / peer / f"{name}.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


@pytest.mark.reference
@reference
def test_ssh_1_is_told_by_its_error() -> None:
    kinds = Counter[str]()
    for stream in streams(DATA / "pcaps/zeek_ssh1_ssh2.pcap").values():
        assert ssh.matches(Cursor(stream))
        try:
            ssh.parse(Cursor(stream))
            kinds["message"] += 1
        except Malformed as bad:
            kinds[bad.field] += 1
    assert kinds == {"message": 2, "protoversion": 2}


@pytest.mark.reference
@reference
def test_no_other_stream_of_the_captures_is_taken_for_ssh() -> None:
    wrong = []
    for path in sorted((DATA / "pcaps").glob("*.pcap")):
        if "rawip" in path.name or "_sll" in path.name:  # other link types
            continue
        for stream in streams(path).values():
            try:
                if ssh.matches(Cursor(stream)) and not stream.startswith(b"SSH-"):
                    wrong.append((path.name, stream[:20]))
            except NeedMore:
                continue
    assert wrong == []
