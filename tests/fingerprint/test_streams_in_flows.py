"""Flows of several messages: holes in bodies, resets, old connections, windows that fill."""

from typing import Any

from fingerprint.flowrecords import CLIENT, SECOND, SERVER, START, events, fresh, mark, numbered, record
from fingerprint.hellos import recorded

from vermilion_fingerprint.limits import Limits
from vermilion_pipeline.stage import Incoming

FIN, SYN, RST, ACK = 1, 2, 4, 16
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
GONE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def from_server(seq: int, payload: bytes = b"", flags: int = ACK, **more: Any) -> Any:
    return record(seq, payload, flags, source=SERVER, target=CLIENT, **more)


def statuses(found: list[dict[str, Any]]) -> list[str]:
    return [bytes.fromhex(event["fingerprints"]["http_server"].split(")(")[1]).decode() for event in found]


def test_a_hole_in_a_body_is_passed_however_it_is_cut() -> None:
    """A snap length cuts bodies; the next message is whole."""
    head = OK % 1000
    after = from_server(1 + len(head) + 1000, GONE)
    for here in (0, 1, 100):
        first = from_server(1, head + bytes(here), missing=1000 - here)
        assert statuses(events(numbered([from_server(0, flags=SYN | ACK), first, after]))) == ["200", "404"]
    cut_short = from_server(1, (OK % 10)[:20], missing=30)
    (event,) = events(numbered([from_server(0, flags=SYN | ACK), cut_short, from_server(100, GONE)]))
    assert event["truncated"]


def test_a_reset_closes_its_flow_soon_and_its_text_is_no_data() -> None:
    task = fresh()
    reset = numbered([record(0, flags=SYN), from_server(0, b"go away", RST | ACK)])
    batch = [*reset, mark(START + 3 * SECOND)]
    handled = task.handle([Incoming(i, None, item) for i, item in enumerate(batch)])
    assert handled.counts == {("flows_timed_out", "reset"): 1}
    assert task.low_water() is None


def test_segments_that_follow_a_reset_are_still_read() -> None:
    """It was forged, or overtook them."""
    stream = recorded()[0]
    late = [record(0, flags=SYN), from_server(0, flags=RST), record(1, stream)]
    assert [event["type"] for event in events(numbered(late))] == ["tls"]


def test_many_messages_in_large_segments_are_all_told() -> None:
    """What is stepped over costs no credit, and a window that one message fills is no end of the others."""
    responses = b"".join((OK % 40_000) + bytes(40_000) for _ in range(60))
    pieces = [from_server(1 + at, responses[at : at + 60_000]) for at in range(0, len(responses), 60_000)]
    opening = from_server(0, flags=SYN | ACK)
    assert len(events(numbered([opening, *pieces]))) == 60
    request = b"GET / HTTP/1.1\r\nX: " + b"x" * 980 + b"\r\n\r\n"
    whole = request * 200
    pieces = [record(1 + at, whole[at : at + 16_000]) for at in range(0, len(whole), 16_000)]
    found = events(numbered([record(0, flags=SYN), *pieces]))
    assert [event["truncated"] for event in found] == [False] * 200


def test_a_message_longer_than_the_window_is_counted() -> None:
    task = fresh(Limits(head=4096))
    stream = b"GET / HTTP/1.1\r\nX: " + bytes(5000)
    batch = numbered([record(0, flags=SYN), record(1, stream)])
    handled = task.handle([Incoming(i, None, item) for i, item in enumerate(batch)])
    assert handled.counts["windows_full",] == 1


def test_a_tunnel_is_looked_into() -> None:
    """RFC 9110 9.3.6."""
    asked, agreed = (
        b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"HTTP/1.1 200 Connection established\r\n\r\n",
    )
    hello = recorded()[0]
    flow = [record(0, flags=SYN), from_server(0, flags=SYN | ACK), record(1, asked), from_server(1, agreed),
            record(1 + len(asked), hello)]  # fmt: skip
    assert [event["type"] for event in events(numbered(flow))] == ["http", "http_server", "tls"]
