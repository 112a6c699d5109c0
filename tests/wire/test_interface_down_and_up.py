"""The monitor's interface goes down during a capture, and comes back."""

from pathlib import Path

import pytest
from wire.clients import CLIENTS, NAME, run_all
from wire.forwarder import Conditions
from wire.mirrors import MIRRORS
from wire.netns import ip, wait_for, why_not
from wire.observers import Marks, Told, telling
from wire.servers import serving
from wire.topology import SERVER, town


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_what_passes_while_the_interface_is_up_is_told_of(tmp_path: Path) -> None:
    if missing := CLIENTS["curl-http"].missing():
        pytest.skip(missing)
    mirror, _ = MIRRORS["802.1Q"]
    with (
        town(576, Conditions(), 1, mirror) as here,
        serving(here.servers, tmp_path, [NAME]),
        telling("scan", "-e", "-c", here.monitor) as scan,
    ):
        Marks(here.wire.tell, scan, None).begin()
        here.wire.start()
        for state in ("up", "down", "up"):
            ip([f"link set {here.monitor} {state}"])
            run_all(here.clients, SERVER, tmp_path, {"curl-http": 1})
            here.wire.settle()
            if state == "up":
                # What the kernel has, and nobody has read, is lost when the interface goes down.
                last = [flow.client[1] for flow in here.wire.report.flows.values()][-1]
                wait_for(lambda: scan.alive() and last in ports(scan, "http"), "the connection to be told of")  # noqa: B023
        first, unseen, second = (flow.client[1] for flow in here.wire.report.flows.values())
        _, said = scan.stop()
    assert {first, second} <= ports(scan, "http") & ports(scan, "tcp")
    assert unseen not in ports(scan, "http") | ports(scan, "tcp")
    assert f"{here.monitor} is down" in said
    assert f"{here.monitor} is back" in said
    assert "Traceback" not in said


def ports(told: Told, kind: str) -> set[int]:
    """The clients' ports of the events of a type."""
    return {event["src_port"] for event in told.events if kind in event["fingerprints"]}
