"""The chain with a key log tells what ``scan -s`` tells; no secret is in logs, metrics or topics."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.command import vermilion
from e2e.services import Service, wait_for
from e2e.test_equals_scan import canonical
from fingerprint.hellos import ROOT
from fingerprint.test_decryption import ASKED, V12, V13, h2_talk
from fingerprint.tls_talk import talk

PEER = ROOT.parent / "shared/data/pcaps/mercury_test_decrypt.pcap"

pytestmark = pytest.mark.kafka


def test_the_chain_decrypts_as_scan_does(
    start: Callable[..., Service], kafka_bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    here = ("-b", kafka_bootstrap, "--topic-prefix", prefix)
    assert vermilion("topics", "create", *here, "--partitions", "3").returncode == 0
    talks = [talk(V13, ASKED), h2_talk(), talk(V12, ASKED, "ECDHE-ECDSA-AES128-SHA")]
    captures = []
    for number, made in enumerate(talks):
        captures.append(tmp_path / f"{number}.pcap")
        captures[-1].write_bytes(made.pcap())
    keys = tmp_path / "keys"
    lines = b"".join(made.keys for made in talks)
    if PEER.exists():
        captures.append(PEER)
        lines += PEER.with_suffix(".sslkeylog").read_bytes()
    # The service begins before there is a key log.
    services = [start("fingerprint", 0, "--key-log", str(keys)), start("classify", 0)]
    wait_for(lambda: sum(each.metric("partitions_assigned") for each in services) == 6, "partitions")
    assert services[0].metric("key_log_readable") == 0
    keys.write_bytes(lines)
    expected: Counter[str] = Counter()
    for capture in captures:
        done = vermilion("scan", "-a", "-e", "-s", keys, capture)
        expected += Counter(canonical(json.loads(line)) for line in done.stdout.splitlines())
    assert sum("tls_decrypt_" in event for event in expected.elements()) >= 16
    published = vermilion("capture", *captures, "--depth", "0", *here)
    assert published.returncode == 0, published.stderr
    total = expected.total()
    done = vermilion("tail", "--format", "json", "--from", "beginning", "--limit", str(total), *here)
    assert Counter(canonical(json.loads(line)) for line in done.stdout.splitlines()) == expected
    rest = vermilion("tail", "--format", "json", "--from", "beginning", "--quiet-for", "2", *here)
    assert len(rest.stdout.splitlines()) == total
    shown = services[0].metrics()
    assert services[0].metric("key_log_readable") == 1
    assert services[0].metric("tls_connections_decrypted_total") >= 3
    for service in services:
        assert service.stop() == 0
        shown += service.log.read_text()
    shown += rest.stdout
    for word in lines.split():
        if len(word) >= 64:
            assert word.decode() not in shown
