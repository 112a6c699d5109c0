"""A real interface in a network namespace of the test's own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli.command import told, vermilion

TESTS = Path(__file__).parent.parent


def namespaces() -> bool:
    done = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False)
    return done.returncode == 0


needs_namespaces = pytest.mark.skipif(not namespaces(), reason="network namespaces are not allowed here")


def inside(what: str) -> Any:
    command = ["unshare", "--net", "--mount", sys.executable, str(TESTS / "capture/inside.py"), what]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_namespaces
def test_scan_reads_an_interface_until_ctrl_c() -> None:
    code, errors, text = inside("scan")
    events = [json.loads(line) for line in text.splitlines()]
    assert (code, errors) == (130, "")
    kinds = [next(iter(event["fingerprints"])) for event in events]
    assert kinds == ["tcp", "tcp_server", "tls", "tcp", "tcp_server", "tcp", "tcp_server", "tls"]
    whole, cut = events[2], events[7]
    assert "truncated" not in whole
    assert cut["truncated"]
    assert {event["dst_port"] for event in (whole, cut)} == {4433}


@needs_namespaces
def test_tags_that_the_kernel_took_out_are_back() -> None:
    sent, found = inside("tags")
    assert found == sent


def test_no_such_interface() -> None:
    told(vermilion("scan", "-c", "absent0"), 1, "absent0")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up its rights")
def test_no_right_to_capture() -> None:
    opening = "from vermilion_capture.live import LiveCapture; LiveCapture(['lo'])"
    command = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", sys.executable, "-c", opening]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "CaptureError: no right to capture" in done.stderr


@needs_namespaces
@pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("setcap", "setpriv", "cc"))),
    reason="needs root, setcap (libcap2-bin), setpriv and a C compiler",
)
def test_the_launcher_has_the_right_and_the_interpreter_has_none() -> None:
    found = inside("launcher")
    code, errors = found["plain"]
    assert code == 1
    assert "no right to capture: run vermilion-capture" in errors
    code, errors = found["without"]
    assert code == 1
    assert "setcap cap_net_raw+ep" in errors
    assert found["program"] == [str(Path(sys.executable).with_name("vermilion")), "capture", "-i"]
    assert found["rights"] == [0, 0, 0, 0]
    assert found["no new ones"] == "1"
    assert found["user"] == "65534"


@needs_namespaces
@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_what_was_sent_is_seen_or_counted_as_dropped_exactly() -> None:
    sent, counts, drops, kinds = inside("flood")
    assert sent == 100_000
    assert drops["kernel"] > 0
    assert counts["packets"] + drops["kernel"] + drops["interface"] == sent
    assert counts["kept"] + counts["beyond_head"] == counts["packets"]
    assert kinds == {"SEGMENT": counts["kept"], "END_OF_RUN": 1}


@needs_namespaces
def test_an_interface_that_goes_and_comes_back() -> None:
    told, blind = inside("back")
    assert told == ["first" * 20, "second" * 20, "third" * 20]
    assert 1_000_000 < blind < 20_000_000
