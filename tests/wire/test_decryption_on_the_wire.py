"""curl's connections over a wire that loses and reorders, decrypted live while curl writes its key log."""

import json
from collections import Counter
from pathlib import Path

import pytest
from cli.command import vermilion
from wire.clients import CLIENTS, LONG_NAME, NAME, run_all
from wire.mirrors import MIRRORS
from wire.netns import why_not
from wire.observers import Event, Marks, is_mark, recording, telling
from wire.rounds import ROUGH
from wire.servers import serving
from wire.topology import SERVER, town

COPIES = {"curl": 2, "curl-tls1.2": 2, "curl-h2": 2}

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def decrypted(events: list[Event]) -> list[Event]:
    return [event for event in events if any("decrypt" in form for form in event["fingerprints"])]


def test_live_and_from_the_file(tmp_path: Path) -> None:
    copies = {name: often for name, often in COPIES.items() if CLIENTS[name].missing() is None}
    if not copies:
        pytest.skip("curl is not installed")
    keys, file = tmp_path / "keys", tmp_path / "monitor.pcap"
    mirror, _ = MIRRORS["untagged"]
    with (
        town(576, ROUGH, 1, mirror) as here,
        serving(here.servers, tmp_path, [NAME, LONG_NAME]),
        recording(here.monitor, file) as recorder,
        telling("scan", "-s", str(keys), "-c", here.monitor) as scan,
    ):
        marks = Marks(here.wire.tell, scan, recorder)
        marks.begin()
        assert not keys.exists()
        here.wire.start()
        run_all(here.clients, SERVER, tmp_path, copies, keys)
        here.wire.settle()
        here.wire.stop()
        marks.end()
        code, said = scan.stop()
        if recorder:
            recorder.stop()
    live = decrypted(scan.events)
    per_port = Counter(
        (port, form)
        for event in live
        for form in event["fingerprints"]
        for port in (event["src_port"], event["dst_port"])
    )
    for name, often in copies.items():
        kind = "tls_decrypt_h2" if name == "curl-h2" else "tls_decrypt_http"
        for form in (kind, f"{kind}_server"):
            assert per_port[CLIENTS[name].port, form] == often, said
    assert all(event[form]["headers"] for event in live for form in event["fingerprints"])
    assert f"{sum(copies.values())} TLS connections decrypted" in said
    assert "not decrypted to their end" not in said
    assert code in (0, 130)
    if recorder:
        done = vermilion("scan", "-s", keys, file)
        again = [json.loads(line) for line in done.stdout.splitlines()]
        assert Counter(map(canonical, decrypted(again))) == Counter(map(canonical, live))
        assert not any(is_mark(event) for event in live)


def canonical(event: Event) -> str:
    return json.dumps(event, sort_keys=True)
