"""``scan -g``: which messages are of one flow."""

from typing import Any

import orjson

from vermilion.grouping import Flows


def line(*tunnels: dict[str, Any], back: bool = False, time: float = 1.0) -> dict[str, Any]:
    ends = [("192.0.2.1", 1000), ("192.0.2.2", 443)]
    (src, sport), (dst, dport) = reversed(ends) if back else ends
    told: dict[str, Any] = {"tunnels": list(tunnels)} if tunnels else {}
    return {
        "src_ip": src, "dst_ip": dst, "src_port": sport, "dst_port": dport, "protocol": 6,
        **told, "event_start": time, "fingerprints": {"tls": "x"}, "tls": {"server_name": "y"},
    }  # fmt: skip


def around(kind: str, back: bool = False, number: int | None = None) -> dict[str, Any]:
    ends = ["203.0.113.1", "203.0.113.2"]
    src, dst = reversed(ends) if back else ends
    told = {"kind": kind, "src_ip": src, "dst_ip": dst}
    return told if number is None else {**told, "id": number}


def gathered(*lines: dict[str, Any]) -> list[dict[str, Any]]:
    flows = Flows()
    for each in lines:
        flows.add(each)
    return [orjson.loads(each) for each in flows.take(100.0)]


def test_both_directions_in_a_tunnel_are_one_flow_whose_first_message_tells_the_tunnel() -> None:
    out, answer = around("gtp-u", number=1), around("gtp-u", back=True, number=2)
    (flow,) = gathered(line(out), line(answer, back=True, time=2.0))
    assert (flow["tunnels"], flow["src_port"], flow["event_end"]) == ([out], 1000, 2.0)
    assert len(flow["fingerprints"]) == 2
    assert flow["tls"] == {"server_name": "y"}


def test_the_same_addresses_in_other_tunnels_are_other_flows() -> None:
    lines = [
        line(), line(around("vxlan", number=1)), line(around("vxlan", number=2)), line(around("ipip")),
        line(around("ipip"), around("ipip")), line({"kind": "mpls", "id": 3}),
    ]  # fmt: skip
    assert len(gathered(*lines, *lines)) == len(lines)
    assert "tunnels" not in gathered(line())[0]
