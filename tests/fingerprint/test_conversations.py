"""HTTP conversations of any messages in any segmentation give what the whole gives."""

import random
from time import process_time
from typing import Any

import pytest
from fingerprint.flowrecords import CLIENT, SERVER, end, fresh, handle, numbered, record

FIN, SYN, ACK = 1, 2, 16
FROM_SERVER: dict[str, Any] = {"source": SERVER, "target": CLIENT}


def body(draw: random.Random, most: int = 3000) -> bytes:
    return draw.randbytes(draw.choice((0, 1, 5, 300, most)))


def chunked(draw: random.Random) -> bytes:
    chunks = [body(draw, 200) for _ in range(draw.randrange(4))]
    lines = [b"%x;x=y\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks if chunk]
    return b"".join(lines) + b"0\r\n" + draw.choice((b"", b"Trailer: t\r\n")) + b"\r\n"


def message(draw: random.Random, server: bool) -> bytes:
    status = draw.choice((b"200", b"404", b"100", b"204", b"304"))
    start = b"HTTP/1.1 %b OK\r\n" % status if server else draw.choice((b"GET", b"POST")) + b" / HTTP/1.1\r\n"
    bodyless = server and status in (b"100", b"204", b"304")
    if draw.random() < 0.4:
        coded = b"" if bodyless else chunked(draw)
        return start + b"Transfer-Encoding: chunked\r\n\r\n" + coded
    content = b"" if bodyless else body(draw)
    return start + b"Content-Length: %d\r\n\r\n" % len(content) + content


def cut(draw: random.Random, stream: bytes) -> list[tuple[int, bytes]]:
    """Pieces of a stream, shuffled within a window, some of them twice."""
    size, window, pieces, at = draw.choice((1, 7, 50, 536)), draw.choice((0, 0, 3, 30)), [], 0
    while at < len(stream):
        step = draw.randint(1, 2 * size - 1)
        pieces.append((at, stream[at : at + step]))
        at += step
    order = sorted(range(len(pieces)), key=lambda i: i + draw.uniform(0, window))
    shuffled = [pieces[i] for i in order]
    for piece in draw.choices(shuffled, k=len(shuffled) // 5):
        shuffled.insert(draw.randrange(len(shuffled)), piece)
    return shuffled


def told(records: list[Any]) -> list[Any]:
    task = fresh()
    found = handle(task, [*numbered(records), end()])
    assert task.low_water() is None
    return [(event["type"], event["truncated"], event["fingerprints"]) for event in found]


@pytest.mark.parametrize("block", range(10))
def test_any_segmentation_gives_every_message(block: int) -> None:
    for seed in range(block * 40, block * 40 + 40):
        draw = random.Random(seed)
        server = draw.random() < 0.6
        ends: dict[str, Any] = FROM_SERVER if server else {}
        messages = [message(draw, server) for _ in range(draw.randint(1, 4))]
        stream, isn = b"".join(messages), draw.choice((0, 0xFFFFFF00, 5000))
        syn = record(isn, flags=SYN | ACK if server else SYN, **ends)
        fin = record(isn + 1 + len(stream), flags=FIN | ACK, **ends)
        whole = told([syn, record(isn + 1, stream, **ends), fin])
        assert len(whole) == len(messages), seed
        pieces = [record(isn + 1 + at, data, **ends) for at, data in cut(draw, stream)]
        assert told([syn, *pieces, fin]) == whole, seed


def test_many_messages_before_many_pieces_that_wait_cost_little() -> None:
    """Stepping over a message must not cost what waits behind it."""

    def cost() -> float:
        task = fresh()
        waiting = [record(20_000 + 4 * i, b"x") for i in range(4000)]
        handle(task, numbered([record(0, flags=SYN), *waiting]))
        requests = record(1, b"GET / HTTP/1.1\r\n\r\n" * 250, ordinal=9)
        before = process_time()
        assert len(handle(task, [requests])) == 250
        return process_time() - before

    alone = fresh()
    handle(alone, numbered([record(0, flags=SYN)]))
    before = process_time()
    handle(alone, [record(1, b"GET / HTTP/1.1\r\n\r\n" * 250, ordinal=9)])
    base = process_time() - before
    assert min(cost() for _ in range(3)) < 5 * base + 0.005
