"""The fuzzers' targets on their seeds and on what is near them; and that they can fail."""

import random
from collections.abc import Iterator

import pytest
from fuzz.targets import TARGETS, Broken, parse

from vermilion_fingerprint import http
from vermilion_fingerprint.cursor import Cursor, Malformed, NeedMore
from vermilion_fingerprint.protocols import DATAGRAM_PROTOCOLS, PROTOCOLS, Protocol

MUTANTS = 300


def near(seed: bytes, draw: random.Random) -> bytes:
    """A seed with some bytes changed, and perhaps cut, or two of its pieces swapped."""
    data = bytearray(seed)
    for _ in range(draw.randint(1, 4)):
        if data:
            data[draw.randrange(len(data))] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
    if draw.random() < 0.3:
        del data[draw.randint(0, len(data)) :]
    if draw.random() < 0.2:
        at = draw.randint(0, len(data))
        data = data[at:] + data[:at]
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_on_its_seeds_and_near_them(name: str) -> None:
    target = TARGETS[name]
    seeds = list(target.seeds())
    assert seeds
    draw = random.Random(name)
    for seed in (b"", *seeds):
        target.run(seed)
    for _ in range(MUTANTS):
        target.run(near(draw.choice(seeds), draw))


def test_every_protocol_is_a_target() -> None:
    names = {protocol.name for protocol in PROTOCOLS} | {
        name for protocol in DATAGRAM_PROTOCOLS for name in protocol.forms
    }
    assert all(any(target.startswith(name.removesuffix("_server")) for target in TARGETS) for name in names)


def mutants() -> Iterator[Protocol]:
    """Protocols with a defect each."""
    good = next(protocol for protocol in PROTOCOLS if protocol.name == "http")

    def raises(stream: Cursor, final: bool) -> http.Request:
        raise ValueError("a defect")

    def asks_for_too_little(stream: Cursor, final: bool) -> http.Request:
        try:
            return http.parse_request(stream, final)
        except NeedMore:
            raise NeedMore(0) from None

    def never_ends(stream: Cursor, final: bool) -> http.Request:
        return http.parse_request(stream, False)

    def gives_up(stream: Cursor, final: bool) -> http.Request:
        try:
            return http.parse_request(stream, final)
        except NeedMore:
            raise Malformed(0, "request-line", "gave up") from None

    for parse_defect in (raises, asks_for_too_little, never_ends, gives_up):
        yield good._replace(parse=parse_defect)
    yield good._replace(forms={"http": lambda message: message.target})  # bytes that are no text


@pytest.mark.parametrize("protocol", list(mutants()), ids=lambda protocol: protocol.parse.__name__)
def test_a_defect_is_found(protocol: Protocol) -> None:
    request = b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n"
    with pytest.raises((Broken, ValueError, TypeError)):
        for split in (0x00, 0x40, 0x80, 0xC0):
            parse(protocol, request + bytes([split]))
            parse(protocol, request[:20] + bytes([split]))
