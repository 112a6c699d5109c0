"""How an event looks to a person."""

import orjson
import pytest
from fingerprint.flowrecords import record

from vermilion.events import line_of, payload_json, printable, row, sensor_json

EVENT = {
    "src_ip": "192.0.2.1", "dst_ip": "192.0.2.2", "src_port": 1, "dst_port": 443, "type": "tls",
    "tls": {"server_name": "\x1b[2J\u202egro.live"},
    "analysis": {"process": "a\nb", "score": 0.5, "match": "exact"},
}  # fmt: skip


def test_what_a_stranger_sends_cannot_drive_the_terminal() -> None:
    cells = row(EVENT)
    assert all(cell.isprintable() for cell in cells)
    assert r"\x1b[2J\x202egro.live" in cells
    assert r"a\x0ab" in cells


@pytest.mark.parametrize("text", ["x" * 1000, "\x1b" * 1000])
def test_it_is_bounded(text: str) -> None:
    assert len(printable(text)) <= 60


def test_a_heartbeat_tells_seconds() -> None:
    assert sensor_json({"time": 1_500_000, "interval": 10_000_000, "packets": 3, "blind": 250_000}) == (
        b'{"time":1.5,"interval":10.0,"packets":3,"blind":0.25}\n'
    )


def test_tunnels_are_told_where_there_are_any_without_what_they_do_not_have() -> None:
    event = {
        **EVENT,
        "protocol": 6,
        "event_start": 0,
        "fingerprints": {},
        "reassembled": False,
        "truncated": False,
    }
    assert "tunnels" not in line_of({**event, "tunnels": []})
    told = line_of({
        **event,
        "tunnels": [
            {"kind": "ipip", "src_ip": "192.0.2.3", "dst_ip": "192.0.2.4", "id": None},
            {"kind": "mpls", "src_ip": "", "dst_ip": "", "id": 0},
        ],
    })  # fmt: skip
    assert told["tunnels"] == [
        {"kind": "ipip", "src_ip": "192.0.2.3", "dst_ip": "192.0.2.4"},
        {"kind": "mpls", "id": 0},
    ]


def test_a_payload_record_s_addresses_are_text_those_of_its_tunnels_too() -> None:
    tunnel = {"kind": "gre", "src_ip": b"\xc0\0\2\3", "dst_ip": b"\xc0\0\2\4", "id": 5}
    line = orjson.loads(payload_json(record(1, b"\1\2", tunnels=[tunnel])))
    assert (line["src_ip"], line["payload"]) == ("192.0.2.1", "0102")
    assert line["tunnels"] == [{"kind": "gre", "src_ip": "192.0.2.3", "dst_ip": "192.0.2.4", "id": 5}]
