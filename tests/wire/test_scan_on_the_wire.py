"""Real clients and servers over a wire that loses and reorders, seen by ``scan -c`` on a monitor port."""

import json
import socket
from collections import Counter
from typing import Any

import pytest
from wire.clients import CLIENTS, LONG_NAME, NAME, Client
from wire.conftest import Observe
from wire.forwarder import Conditions
from wire.judging import FIRST, compare, connections, every, kind
from wire.mirrors import IN_TURN, TUNNELS
from wire.rounds import ROUGH, Observation, Situation, copies

CALM = Situation(Conditions())
SITUATIONS = {
    "calm": CALM,
    "rough": Situation(),
    # What is lost behind the switch its monitor port has seen, and sees again.
    "rough, mirrored as sent, tagged, IPv6": Situation(mirror="802.1Q", mirrored="sent", mtu=1280, ipv6=True),
    "rough, two tags": Situation(mirror="802.1ad"),
    "rough, merged frames": Situation(offloads=True),
    "rough, each flow in another tunnel": Situation(mirror="tunnels"),
}
every_situation = every(SITUATIONS)
every_client = pytest.mark.parametrize("client", CLIENTS.values(), ids=list(CLIENTS))


@every_client
@every_situation
def test_every_flow_has_its_fingerprints(
    situation: Situation, seed: int, client: Client, observe: Observe
) -> None:
    if missing := client.missing():
        pytest.skip(missing)
    found = list(connections(observe(situation, seed), client))
    assert len(found) >= 1 if client.browser else len(found) == copies()[client.name]
    for flow, told in found:
        messages = Counter((side, kind(event)) for side, event in told)
        unused = client.browser and not (flow.to_server and flow.to_client)
        assert unused or set(messages) == client.told, flow
        # Each SYN is told of, one that is sent again as well.
        assert [m for m, times in messages.items() if times > 1 and not m[1].startswith("tcp")] == []
        assert not any("truncated" in event for _, event in told)
    if client.browser:
        assert any(flow.to_client for flow, _ in found)


@every_client
@every_situation
def test_what_is_told_is_what_was_said(
    situation: Situation, seed: int, client: Client, observe: Observe
) -> None:
    if missing := client.missing():
        pytest.skip(missing)
    seen = observe(situation, seed)
    for _, told in connections(seen, client):
        for side, event in told:
            if kind(event) == "tls":
                assert event["tls"]["server_name"] == (LONG_NAME if client.name == "curl" else NAME)
            elif kind(event) == "http":
                assert event["http"]["host"] == NAME
                assert event["http"]["user_agent"].startswith("curl/")
            elif kind(event) == "ssh":
                assert event["ssh"]["protocol"].startswith("SSH-2.0-OpenSSH_"), side
            elif kind(event) == "tls_certificate":
                assert event["tls_certificate"]["certificates"][0]["sha256"] == seen.certificate


# A browser's hellos differ from one another.
@pytest.mark.parametrize(
    "client", [each for each in CLIENTS.values() if not each.browser], ids=lambda each: each.name
)
@every_situation
def test_fingerprints_are_those_of_a_calm_wire(
    situation: Situation, seed: int, client: Client, observe: Observe
) -> None:
    if missing := client.missing():
        pytest.skip(missing)
    calm = fingerprints(observe(CALM, FIRST), client)
    assert calm
    assert fingerprints(observe(situation, seed), client) == calm


def fingerprints(seen: Observation, client: Client) -> set[str]:
    """All that differ, but those that depend on the path's MTU and on certificates, new in each round."""
    return {
        json.dumps([side, event["fingerprints"]])
        for _, told in connections(seen, client)
        for side, event in told
        if not kind(event).startswith(("tcp", "tls_certificate"))
    }


@every_situation
def test_live_equals_a_scan_of_what_tcpdump_recorded(
    situation: Situation, seed: int, observe: Observe
) -> None:
    compare(observe(situation, seed))


@every_situation
def test_nothing_was_lost_on_the_monitor_link(situation: Situation, seed: int, observe: Observe) -> None:
    seen = observe(situation, seed)
    assert seen.code == 130
    # Frames with two tags are among them, which no protocol of the kernel's takes.
    assert seen.said == ""


@every_situation
def test_the_wire_was_as_it_says(situation: Situation, seed: int, observe: Observe) -> None:
    counts = observe(situation, seed).report.counts
    assert counts["delivered"] == counts["received"] - counts["lost"] + counts["doubled"]
    assert counts["mirrored"] == counts["received" if situation.mirrored == "sent" else "delivered"]
    if situation.conditions == ROUGH:
        assert 0.02 < counts["lost"] / counts["received"] < 0.08
        assert counts["overtaken"] > 0.1 * counts["delivered"]
        assert counts["doubled"]
    else:
        assert counts["lost"] == counts["overtaken"] == counts["doubled"] == 0
    assert bool(counts["merged"]) == situation.offloads


def test_hellos_are_split(observe: Observe) -> None:
    if missing := CLIENTS["curl"].missing():
        pytest.skip(missing)
    told: list[Any] = [told for _, told in connections(observe(Situation(), FIRST), CLIENTS["curl"])]
    assert told
    assert all(event["reassembled"] for events in told for _, event in events if kind(event) == "tls")


def test_each_event_tells_the_tunnel_that_its_flow_was_in(observe: Observe) -> None:
    seen = observe(Situation(mirror="tunnels"), FIRST)
    used = set()
    for event in seen.events:
        one, two = (
            socket.inet_aton(event[f"{side}_ip"]) + event[f"{side}_port"].to_bytes(2, "big")
            for side in ("src", "dst")
        )
        name = IN_TURN.chosen[min(one, two), max(one, two)]
        used.add(name)
        told = [(each["kind"], each.get("id")) for each in event["tunnels"]]
        assert told == [
            (each["kind"], each["id"][one < two] if isinstance(each["id"], dict) else each["id"])
            for each in TUNNELS[name][1]
        ]
    assert used == set(TUNNELS)
