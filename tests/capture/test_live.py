"""A real interface in a network namespace of the test's own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli.command import told, vermilion

TESTS = Path(__file__).parent.parent


def namespaces() -> bool:
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return done.returncode == 0


needs_namespaces = pytest.mark.skipif(not namespaces(), reason="network namespaces are not allowed here")


def inside(what: str) -> Any:
    command = ["unshare", "--net", sys.executable, str(TESTS / "capture/inside.py"), what]
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
