"""``vermilion scan``, and whatever it is given instead of a capture."""

import json
import os
import signal
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from capture.frames import pcap, write
from classify.databases import line, row
from classify.databases import write as write_database
from cli.command import COMMAND, told, vermilion
from fingerprint.hellos import RECORDING
from fingerprint.test_decryption import ASKED, REQUEST
from fingerprint.tls_talk import talk

from vermilion_fingerprint.decrypt.messages import FORMS
from vermilion_fingerprint.protocols import all_forms

DATA = Path(__file__).parent.parent / "data"
CONTEXTS = {"tls", "tls_certificate", "http", "http_server", "ssh"}
NOTES = json.loads(RECORDING.with_suffix(".json").read_text())


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(item) for item in text.splitlines()]


def test_every_tls_flow_of_our_recording_is_fingerprinted() -> None:
    done = vermilion("scan", "--types", "tls", "-r", RECORDING)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = events(done.stdout)
    wanted = {(flow["src_ip"], flow["src_port"]) for flow in NOTES if flow["protocol"] == "tls"}
    assert {(event["src_ip"], event["src_port"]) for event in found} == wanted
    assert len(found) == len(wanted)
    first = found[0]
    assert list(first) == [
        "src_ip",
        "dst_ip",
        "src_port",
        "dst_port",
        "protocol",
        "event_start",
        "fingerprints",
        "tls",
    ]
    assert (first["protocol"], first["dst_port"]) == (6, 443)
    assert isinstance(first["event_start"], float)
    assert first["tls"] == {"server_name": "www.example.com"}


def test_positional_files_and_out(tmp_path: Path) -> None:
    files = [DATA / "ipv6_curl.pcap", DATA / "tls13_pq_two_segments.pcap"]
    done = vermilion("scan", "--types", "tls", "-f", tmp_path / "out", "-r", files[0], files[1])
    assert (done.returncode, done.stdout) == (0, "")
    one, two = events((tmp_path / "out").read_text())
    assert one["src_ip"] == "2001:db8::10"
    assert two["reassembled"] is True


def test_a_database_of_ones_own(tmp_path: Path) -> None:
    fingerprint = events(vermilion("scan", "--types=tls", DATA / "ipv6_curl.pcap").stdout)[0]["fingerprints"][
        "tls"
    ]
    database = write_database(tmp_path / "mine.gz", [line([row("curl", 9), row("other", 1)], fingerprint)])
    (event,) = events(
        vermilion("scan", "--types=tls", "-a", "-n", "1", "-d", database, DATA / "ipv6_curl.pcap").stdout
    )
    analysis = event["analysis"]
    assert (analysis["process"], analysis["match"]) == ("curl", "exact")
    assert analysis["score"] == pytest.approx(0.9**3 / (0.9**3 + 0.1**3))
    assert [item["process"] for item in analysis["probable_processes"]] == ["curl"]
    assert analysis["knowledge"]["name"] == "mine.gz"


def test_an_answer_needs_no_form_to_be_told() -> None:
    whole = events(vermilion("scan", "-a", "--types", "tls,ja4", RECORDING).stdout)
    alone = events(vermilion("scan", "-a", "--types", "ja4", RECORDING).stdout)
    assert [list(event["fingerprints"]) for event in alone] == [["ja4"]] * len(whole)
    assert [event["analysis"] for event in alone] == [event["analysis"] for event in whole]
    tcp = events(vermilion("scan", "-a", "--types", "tcp", RECORDING).stdout)
    assert {tuple(event["fingerprints"]) for event in tcp} == {("tcp",)}


def test_without_analysis_no_answer_and_with_it_one_for_the_hello() -> None:
    plain = events(vermilion("scan", DATA / "ipv6_curl.pcap").stdout)
    asked = events(vermilion("scan", "-a", DATA / "ipv6_curl.pcap").stdout)
    assert [list(event["fingerprints"]) for event in plain] == [["tcp"], ["tls"], ["tls_server"]]
    assert not any("analysis" in event for event in plain)
    assert [event.get("analysis", {}).get("match") for event in asked] == [None, "approximate", None]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ["offset 0", "empty"]),
        (b"\x7fELF is another file" * 3, ["offset 0", "not a pcap"]),
        (b"\x0a\x0d\x0d\x0a" + bytes(50), ["offset 8", "byte-order magic"]),
        (pcap([])[:10], ["header is cut off"]),
        (pcap([], link=105), ["link type 105", "Ethernet (1)"]),
        (pcap([]) + struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 0xFFFFFFFF), ["offset 24", "claims 4294967295"]),
    ],
)
def test_no_capture(tmp_path: Path, data: bytes, words: list[str]) -> None:
    path = write(tmp_path, data)
    told(vermilion("scan", "-r", path), 1, str(path), *words)


@pytest.mark.parametrize("arguments", [["-"], ["-r", "-"]])
def test_standard_input(arguments: list[str]) -> None:
    with RECORDING.open("rb") as file:
        done = subprocess.run(
            [*COMMAND, "scan", *arguments],
            stdin=file,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert events(done.stdout) == events(vermilion("scan", RECORDING).stdout)
    told(vermilion("scan", "-", *arguments), 2, "standard input (-) can be read once")


def test_missing_file_directory_and_nothing(tmp_path: Path) -> None:
    told(vermilion("scan", "-r", tmp_path / "none.pcap"), 1, "none.pcap", "No such file")
    told(vermilion("scan", "-r", tmp_path), 2, "is a directory")
    told(vermilion("scan"), 2, "at least one capture file")
    told(vermilion("scan", "--no-such-flag"), 2)
    told(vermilion("scan", "-f", tmp_path / "no" / "out", RECORDING), 1, "out", "No such file")


def test_events_before_the_break_are_out_and_the_next_file_is_read(tmp_path: Path) -> None:
    whole = RECORDING.read_bytes()
    cut = write(tmp_path, whole[: len(whole) * 2 // 3])
    done = vermilion("scan", "--types=tls", "-r", cut, "-r", DATA / "ipv6_curl.pcap")
    told(done, 1, str(cut), "offset", "cut off")
    full = events(vermilion("scan", "--types=tls", RECORDING).stdout)
    found = events(done.stdout)
    assert 10 < len(found) < len(full)
    assert found[-1]["src_ip"] == "2001:db8::10"
    assert [event["fingerprints"] for event in found[:-1] if not event.get("truncated")] == [
        event["fingerprints"] for event in full[: len([e for e in found[:-1] if not e.get("truncated")])]
    ]


@pytest.mark.parametrize(
    ("data", "why"), [(b"no lines of JSON", "not JSON"), (b"\x1f\x8b", "cut off"), (None, "No such file")]
)
def test_a_database_that_is_none(tmp_path: Path, data: bytes | None, why: str) -> None:
    path = tmp_path / "db.json.gz"
    if data is not None:
        path.write_bytes(data)
    told(vermilion("scan", "-a", "-d", path, RECORDING), 1, str(path), why)


def test_a_database_with_a_bad_line(tmp_path: Path) -> None:
    path = write_database(tmp_path / "db.gz", [line([row("a", 1)]), b"{nonsense\n"])
    told(vermilion("scan", "-a", "-d", path, RECORDING), 1, f"{path}: line 2: not JSON")


def test_knowledge_not_fetched(tmp_path: Path) -> None:
    done = vermilion("scan", "-a", RECORDING, VERMILION_RESOURCE_DIR=str(tmp_path))
    told(done, 1, "vermilion db fetch")


def test_a_reader_that_has_enough() -> None:
    command = " ".join(COMMAND)
    done = subprocess.run(
        ["/bin/bash", "-c", f"{command} scan {RECORDING} | head -1; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert len(done.stdout.splitlines()) == 1
    assert (done.returncode, done.stderr) == (0, "")


def test_interrupted_it_tells_what_it_knows(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a capture that does not end (a pipe): unfinished messages come out."""
    fifo = tmp_path / "endless.pcap"
    os.mkfifo(fifo)
    with (
        subprocess.Popen([*COMMAND, "scan", fifo], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
        fifo.open("wb", buffering=0) as pipe,
    ):
        whole = RECORDING.read_bytes()
        pipe.write(whole[: len(whole) // 2])
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert len(events(out.decode())) > 5


def test_every_form_of_every_message() -> None:
    names = (
        "tls12_openssl.pcap",
        "ssh_openssh.pcap",
        "http_get_post.pcap",
        "quic_chromium.pcap",
        "dtls12_openssl.pcap",
    )
    done = vermilion("scan", "-e", *(DATA / name for name in names))
    forms = {form for event in events(done.stdout) for form in event["fingerprints"]}
    # Of today's programs none sends the first; the others need a key log.
    assert forms == {*all_forms()} - {"sslv2"} - FORMS.keys()
    contexts = {name: event[name] for event in events(done.stdout) for name in CONTEXTS if name in event}
    assert contexts["http"]["host"] == "api.example.org"
    assert contexts["ssh"]["protocol"].startswith("SSH-2.0-OpenSSH")
    (certificate,) = contexts["tls_certificate"]["certificates"]
    assert "www.example.com" in certificate["sans"]
    assert contexts.keys() == CONTEXTS - {"http_server"}  # of the recorded responses none has a Via


def test_types_choose_exactly() -> None:
    done = vermilion("scan", "-e", "--types", "ja4, tcp_server/npf", DATA / "ipv6_curl.pcap")
    assert [list(event["fingerprints"]) for event in events(done.stdout)] == [["tcp_server/npf"], ["ja4"]]
    told(vermilion("scan", "--types", "ja5", DATA / "ipv6_curl.pcap"), 2, "no such type: ja5", "ja4")


def test_in_words() -> None:
    found = events(vermilion("scan", "-e", "-w", DATA / "tls12_openssl.pcap").stdout)
    words = {name: value for event in found for name, value in event["readable"].items()}
    assert words["tcp"]["options"][0] == {"maximum_segment_size": 1460}
    assert words["tls"]["version"] == "TLS 1.2"
    assert words["tls_server"]["selected_cipher_suite"] == "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    assert words["tls_certificate"]["public_key"]["type"] == "ECPublicKey"


def test_grouped_by_flow() -> None:
    alone = events(vermilion("scan", "-a", "-e", "-w", RECORDING).stdout)
    flows = events(vermilion("scan", "-a", "-e", "-w", "-g", RECORDING).stdout)
    assert len(flows) == len({event["src_port"] for event in alone if "tcp" in event["fingerprints"]})
    assert sum(len(flow["fingerprints"]) for flow in flows) == len(alone)
    twice = events(vermilion("scan", "-e", "-g", RECORDING, RECORDING).stdout)
    assert len(twice) == 2 * len(flows)
    first = flows[0]
    assert list(first)[:8] == [
        "src_ip", "dst_ip", "src_port", "dst_port", "protocol", "event_start", "event_end", "fingerprints",
    ]  # fmt: skip
    assert first["event_start"] <= first["event_end"]
    hello = next(part for part in first["fingerprints"] if "tls" in part)
    assert hello["readable"]["version"] == "TLS 1.2"
    assert hello["analysis"]["match"] == "approximate"
    assert first["tls"]["server_name"]


def test_look_up() -> None:
    """The database's line as it stands, key by key, as the peer's manual shows it."""
    fingerprint = (
        "(0301)(c014c01300390035002fc00ac00900380032000a001300050004)"
        "((0000)(000a0006000400170018)(000b00020100)(0017)(ff01))"
    )
    entry = json.loads(vermilion("scan", "-l", fingerprint).stdout)
    assert list(entry)[:6] == [
        "str_repr", "first_seen", "last_seen", "max_implementation_date", "min_implementation_date",
        "total_count",
    ]  # fmt: skip
    assert (entry["str_repr"], entry["first_seen"], entry["total_count"]) == (fingerprint, "2019-07-22", 2)
    absent = vermilion("scan", "--lookup", "(0301)()()")
    assert (absent.returncode, absent.stdout) == (0, "")
    assert "no such fingerprint" in absent.stderr


def test_a_key_log_opens_connections(tmp_path: Path) -> None:
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n" + bytes(40_000)
    made = talk(said=[*ASKED, (True, REQUEST), (False, long), *ASKED])
    capture, keys = write(tmp_path, made.pcap()), write(tmp_path, made.keys + b"garbage\n", "keys")
    done = vermilion("scan", "-s", keys, "-w", capture)
    assert done.returncode == 0
    found = [event for event in events(done.stdout) if FORMS.keys() & event["fingerprints"].keys()]
    # Behind 40,000 bytes of a body, too: all of the flow is looked at.
    assert len(found) == 10
    first = found[0]
    assert first["fingerprints"]["tls_decrypt_http"].startswith("(474554)(485454502f312e31)")
    assert first["tls_decrypt_http"]["uri"] == "/page"
    assert first["readable"]["tls_decrypt_http"][:2] == [{"method": "GET"}, {"version": "HTTP/1.1"}]
    assert "1 TLS connections decrypted" in done.stderr
    assert f"{keys}: 1 lines are no key log's" in done.stderr
    assert not any(word.decode() in done.stderr + done.stdout for word in made.keys.split() if len(word) > 60)
    # A depth that is asked for is what is looked at; what is not is told.
    head = vermilion("scan", "-s", keys, "--depth", "16384", capture)
    assert len(events(head.stdout)) < len(events(done.stdout))
    assert "1 missing" in head.stderr
    without = events(vermilion("scan", "-w", capture).stdout)
    assert without == [e for e in events(done.stdout) if not FORMS.keys() & e["fingerprints"].keys()]
    chosen = events(vermilion("scan", "-s", keys, "--types", "tls_decrypt_http_server", capture).stdout)
    assert [list(event["fingerprints"]) for event in chosen] == [["tls_decrypt_http_server"]] * 5
    everything = events(vermilion("scan", "-s", keys, "-e", "-a", "-g", capture).stdout)
    assert len(everything) == 1


def test_a_key_log_that_cannot_be_read(tmp_path: Path) -> None:
    told(vermilion("scan", "-s", tmp_path / "none", RECORDING), 1, f"{tmp_path}/none", "No such file")
    told(vermilion("scan", "-s", tmp_path, RECORDING), 1, f"{tmp_path}: not a regular file")
    told(vermilion("scan", "-s", "/dev/null", RECORDING), 1, "/dev/null: not a regular file")
    told(vermilion("fingerprint", "--key-log", tmp_path), 1, f"{tmp_path}: not a regular file")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_no_room_for_the_output() -> None:
    told(vermilion("scan", "-f", "/dev/full", RECORDING), 1, "/dev/full: cannot be written", "No space left")
