"""How an event looks to a person."""

import pytest

from vermilion.events import printable, row, sensor_json

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
    assert sensor_json({"time": 1_500_000, "interval": 10_000_000, "packets": 3}) == (
        b'{"time":1.5,"interval":10.0,"packets":3}\n'
    )
