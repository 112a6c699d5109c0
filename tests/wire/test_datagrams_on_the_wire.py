"""QUIC and DTLS of real programs over a wire that reorders and repeats, seen by ``scan -c``."""

from collections import Counter

import pytest
from wire.clients import DATAGRAM_CLIENTS, NAME, Client
from wire.conftest import Observe
from wire.forwarder import Conditions
from wire.judging import compare, connections, every, kind
from wire.rounds import Situation

# Nothing is lost: where it was, s_client and s_server were seen to wait for one another for minutes.
ROUGH = Conditions(reorder=0.25, duplicate=0.05, delay=0.001)
SITUATIONS = {
    "calm": Situation(Conditions(), mtu=1500, udp=True),
    "rough, tagged, IPv6": Situation(ROUGH, mirror="802.1Q", mtu=1500, ipv6=True, udp=True),
}

every_situation = every(SITUATIONS)
every_client = pytest.mark.parametrize("client", DATAGRAM_CLIENTS.values(), ids=list(DATAGRAM_CLIENTS))


@every_client
@every_situation
def test_every_flow_has_its_fingerprints(
    situation: Situation, seed: int, client: Client, observe: Observe
) -> None:
    if missing := client.missing():
        pytest.skip(missing)
    found = list(connections(observe(situation, seed), client))
    assert found
    for flow, told in found:
        messages = Counter((side, kind(event)) for side, event in told)
        unused = client.browser and not (flow.to_server and flow.to_client)
        assert unused or set(messages) == client.told, flow
        # A client says hello in DTLS again for a cookie; what is sent again is told once.
        assert not [m for m, times in messages.items() if times > 1 + (m == ("client", "dtls"))]
        for side, event in told:
            assert "truncated" not in event
            if side == "client":
                assert event[kind(event)]["server_name"] == NAME
                # Post-quantum keys and a small MTU see to that.
                assert event["reassembled"]


@every_situation
def test_live_equals_a_scan_of_what_tcpdump_recorded(
    situation: Situation, seed: int, observe: Observe
) -> None:
    seen = observe(situation, seed)
    assert (seen.code, seen.said) == (130, "")
    compare(seen)
