"""Decrypted HTTP/2 of mercury's capture: as many messages as tshark has, and pmercury's strings."""

import json
import shutil
import subprocess
from collections import Counter
from functools import cache
from typing import Any

import pytest
from cli.command import vermilion
from reference.goldens import DATA, Told, lines, needs_reference, told

CAPTURE = DATA / "pcaps/mercury_test_decrypt.pcap"
KEYS = DATA / "pcaps/mercury_test_decrypt.sslkeylog"
PMERCURY = DATA / "golden/pmercury-0.2.1.3"
# HEADERS and PUSH_PROMISE (RFC 9113 sections 6.2 and 6.6).
TSHARK = (
    "tshark -r {capture} -o tls.keylog_file:{keys} -T fields"
    " -e http2.type -e http.request.method -e http.response.code"
)

pytestmark = [pytest.mark.reference, needs_reference]


@cache
def scanned(*flags: str) -> tuple[list[dict[str, Any]], str]:
    """What ``scan`` tells with the key log."""
    done = vermilion("scan", *flags, "-s", KEYS, CAPTURE)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def decrypted(events: list[dict[str, Any]]) -> Counter[Told]:
    return Counter(
        # 2.8: with several records in a packet pmercury writes its type twice
        told(event, form.replace("h2h2", "h2"), text)
        for event in events
        for form, text in event["fingerprints"].items()
        if form.startswith("tls_decrypt_")
    )


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_as_many_messages_as_tshark() -> None:
    command = TSHARK.format(capture=CAPTURE, keys=KEYS).split()
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    theirs: Counter[str] = Counter()
    for row in done.stdout.splitlines():
        types, requests, responses = row.split("\t")
        theirs["h2"] += sum(kind in ("1", "5") for kind in types.split(","))
        theirs["http"] += sum(bool(each) for cell in (requests, responses) for each in cell.split(","))
    events, said = scanned("-e")
    ours = Counter(each.form.split("_")[2] for each in decrypted(events).elements())
    assert ours == +theirs
    assert ours == {"h2": 38}
    # Every record was verified: nothing ended but for connections that the key log does not have.
    assert "16 TLS connections decrypted" in said
    assert "directions not decrypted to their end: 8 no_secret" in said


@pytest.mark.parametrize("variant", ["es", "ews", "egs"])
def test_every_header_of_pmercury(variant: str) -> None:
    theirs: list[dict[str, Any]] = []
    for event in lines(PMERCURY / variant / "mercury_test_decrypt.jsonl.gz"):
        parts = event["fingerprints"] if variant == "egs" else [event["fingerprints"]]
        for part in parts:
            strings = {form: text for form, text in part.items() if form.startswith("tls_decrypt_")}
            # A flow's events have no direction of their own: the server's side is in the type.
            swapped = variant == "egs" and any(form.endswith("_server") for form in strings)
            ends = ("dst", "src") if swapped else ("src", "dst")
            where = {
                f"{name}_{field}": event[f"{end}_{field}"]
                for name, end in zip(("src", "dst"), ends, strict=True)
                for field in ("ip", "port")
            }
            theirs.append({**where, "fingerprints": strings})
    found = decrypted(theirs)
    assert found.total() == 26
    events, _ = scanned("-e")
    assert found - decrypted(events) == Counter()


def test_the_first_request_in_words() -> None:
    """As pmercury shows it, but for nothing: values are whole, pseudo-fields are among them."""
    events, _ = scanned("-w")
    theirs = [
        event
        for event in lines(PMERCURY / "ews/mercury_test_decrypt.jsonl.gz")
        if any(form.startswith("tls_decrypt_h2") for form in event["fingerprints"])
    ]
    first = next(event for event in events if "tls_decrypt_h2" in event["fingerprints"])
    assert first["readable"] == theirs[0]["readable"]
    assert first["tls_decrypt_h2"]["host"] == "clientservices.googleapis.com"
    shown = {(e["src_port"], json.dumps(words)) for e in events for words in e["readable"].values()}
    for event in theirs:
        for words in event["readable"].values():
            # 9.12: in some of them the last is missing
            assert (event["src_port"], json.dumps(words)) in shown
