"""What tests of the wire share: which rounds are played, whose connections events are of, and comparisons."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping

import pytest
from wire.clients import Client
from wire.forwarder import Carried
from wire.observers import Event, is_mark
from wire.rounds import Observation, Situation

FIRST = int(os.environ.get("VERMILION_WIRE_SEED", "1"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("VERMILION_WIRE_ROUNDS", "1")))


def every(situations: Mapping[str, Situation]) -> pytest.MarkDecorator:
    """Each situation with each seed, as ``situation`` and ``seed``."""
    return pytest.mark.parametrize(
        ("situation", "seed"),
        [
            pytest.param(situation, seed, id=f"{name}-{seed}")
            for seed in SEEDS
            for name, situation in situations.items()
        ],
    )


def kind(event: Event) -> str:
    """The type of an event, which is its first form of fingerprint."""
    return str(next(iter(event["fingerprints"])))


def connections(seen: Observation, client: Client) -> Iterator[tuple[Carried, list[tuple[str, Event]]]]:
    """A client's connections that the wire carried, each with who said what was told of."""
    for flow in seen.report.flows.values():
        if flow.server[1] == client.port:
            yield (
                flow,
                [
                    ("client" if (event["src_ip"], event["src_port"]) == flow.client else "server", event)
                    for event in seen.events
                    if {(event["src_ip"], event["src_port"]), (event["dst_ip"], event["dst_port"])}
                    == {flow.client, flow.server}
                ],
            )


def canonical(events: list[Event]) -> Counter[str]:
    """Without the marks: who begins to listen in their midst does not see all."""
    return Counter(json.dumps(event, sort_keys=True) for event in events if not is_mark(event))


def compare(seen: Observation) -> None:
    """What was told live is what a scan of tcpdump's file tells."""
    if seen.scanned is None:
        pytest.skip("tcpdump is not installed")
    assert seen.recorded == seen.report.counts["mirrored"]
    assert canonical(seen.events) == canonical(seen.scanned)
    assert canonical(seen.events)
