"""The chain on a real Kafka tells of a monitor link what it tells of tcpdump's file of that link."""

import json
import uuid
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from cli.command import vermilion
from e2e.services import Service
from e2e.services import wait_for as wait_for_service
from wire.clients import LONG_NAME, NAME, run_all
from wire.mirrors import MIRRORS, TUNNELS
from wire.netns import wait_for, why_not
from wire.observers import Event, Marks, is_mark, recording, telling
from wire.rounds import ROUGH, copies, scan_file
from wire.servers import serving
from wire.topology import SERVER, town

# What tells one sensor's look at a frame from another's.
OWN = {"event_id", "sensor", "run", "replayed"}
# What an event tells beyond what scan tells.
BEYOND = OWN | {"type", "community_id", "vlans", "vni", "syn"}
# Each looks at the same link, with so many workers: of tunnels over UDP one, as the kernel sees outer ports.
SENSORS = {"one worker": 1, "two workers": 2}
ALONE = {"one worker": 1}

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


# Frames with two tags are cut before they are sent (vlan_features_check in linux/if_vlan.h): merged have one.
@pytest.mark.parametrize(
    ("around", "merged", "sensors"),
    [("802.1ad", False, SENSORS), ("802.1Q", True, SENSORS), ("tunnels", False, ALONE)],
)
def test_live_capture_equals_tcpdumps_file(
    around: str, merged: bool, sensors: dict[str, int], kafka_bootstrap: str, tmp_path: Path
) -> None:
    mirror, vlans = MIRRORS[around]
    file = tmp_path / "monitor.pcap"
    here = ("-b", kafka_bootstrap, "--topic-prefix", f"wire-{uuid.uuid4().hex[:8]}.")
    _, bootstrap, _, prefix = here
    made = vermilion("topics", "create", *here, "--partitions", "3")
    assert made.returncode == 0, made.stderr
    with ExitStack() as stack:

        def start(name: str, number: int, *more: str) -> Service:
            service = Service(name, bootstrap, prefix, tmp_path, number, more)
            stack.callback(service.kill)
            return service

        answering = [start(name, 0) for name in ("fingerprint", "classify")]
        place = stack.enter_context(town(576, ROUGH, 1, mirror, offloads=merged))
        stack.enter_context(serving(place.servers, tmp_path, [NAME, LONG_NAME]))
        recorder = stack.enter_context(recording(place.monitor, file))
        if recorder is None:
            pytest.skip("tcpdump is not installed")
        capturing = [
            start("capture", number, "-i", place.monitor, "--sensor", sensor, "--workers", str(workers))
            for number, (sensor, workers) in enumerate(sensors.items())
        ]
        wait_for_service(
            lambda: [service.metric("partitions_assigned") for service in answering] == [3, 3],
            "the partitions to be given",
        )
        told = stack.enter_context(telling("tail", "--format", "json", "--from", "beginning", *here))
        marks = Marks(place.wire.tell, told, recorder, sensors)
        marks.begin()
        place.wire.start()
        run_all(place.clients, SERVER, tmp_path, copies())
        place.wire.settle()
        place.wire.stop()
        marks.end()
        assert recorder.stop() == place.wire.report.counts["mirrored"]
        # Workers tell their numbers now and then.
        wait_for_service(
            lambda: (
                [service.metric("capture_merged_total") > 0 for service in capturing]
                == [merged] * len(sensors)
            ),
            "merged frames to be counted",
        )
        assert [service.stop() for service in capturing] == [0] * len(sensors)
        published = vermilion("capture", file, "--sensor", "file", *here)
        assert published.returncode == 0, published.stderr
        scanned = scan_file(file)
        wait_for(
            lambda: told.alive() and sum(e["sensor"] == "file" for e in told.events) >= len(scanned),
            "the file's events",
        )
        assert [service.stop() for service in answering] == [0, 0]
        told.stop()
    for sensor, workers in sensors.items():
        # Each worker is a run, and has some of the flows.
        assert len({event["run"] for event in told.events if event["sensor"] == sensor}) == workers
        assert of(told.events, sensor) == of(told.events, "file")
    assert Counter(canonical(e, BEYOND) for e in told.events if e["sensor"] == "file") == Counter(
        canonical(e, set()) for e in scanned
    )
    if around == "tunnels":
        kinds = {each["kind"] for event in told.events for each in event["tunnels"]}
        assert kinds == {each["kind"] for _, each_around, _ in TUNNELS.values() for each in each_around}
    else:
        assert all(event["vlans"] == vlans for event in told.events)
    assert {(event["sensor"], event["replayed"]) for event in told.events} == {
        ("file", True), *((sensor, False) for sensor in sensors),
    }  # fmt: skip


def of(events: list[Event], sensor: str) -> Counter[str]:
    """Without the marks: who begins to listen in their midst does not see all."""
    return Counter(canonical(e, OWN) for e in events if e["sensor"] == sensor and not is_mark(e))


def canonical(event: Event, without: set[str]) -> str:
    return json.dumps({name: value for name, value in event.items() if name not in without}, sort_keys=True)
