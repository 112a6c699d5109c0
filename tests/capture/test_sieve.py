"""What of the packets is left out, and under which name it is counted."""

from pathlib import Path
from typing import Any

import pytest
from capture.frames import ETHER, pcap, write
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from vermilion_capture.items import Origin
from vermilion_capture.sieve import Sieve
from vermilion_capture.source import FileSource, Policy

HERE, THERE, OTHER = "192.0.2.1", "192.0.2.200", "198.51.100.7"


def counted(frame: Any, **options: Any) -> str:
    """Why one frame was not published, or "kept"."""
    sieve = Sieve(**options)
    item = sieve.frame(bytes(ETHER / frame / b"x"), 1, 0, Origin("sensor", "run", False))
    (reason,) = set(sieve.counts) - {"packets"}
    assert (item is not None) == (reason == "kept")
    return reason


NET, NET6 = {"networks": ["192.0.2.0/25"]}, {"networks": ["2001:db8:1::/48"]}
ALL, PORTS, BROKER = {"networks": ["0.0.0.0/0"]}, {"ports": (443, 53)}, {"brokers": [(THERE, 9092)]}
V6 = IPv6(src="2001:db8::1", dst="2001:db8:1::1")


@pytest.mark.parametrize(
    ("frame", "options", "reason"),
    [
        (IP(src=HERE, dst=THERE) / TCP(sport=1000, dport=443), PORTS, "excluded_port"),
        (IP(src=HERE, dst=THERE) / UDP(sport=53, dport=1000), PORTS, "excluded_port"),
        (IP(src=HERE, dst=THERE) / TCP(sport=1000, dport=444), PORTS, "kept"),
        (IP(src=OTHER, dst=HERE) / TCP(), NET, "excluded_network"),
        (IP(src=HERE, dst=OTHER) / TCP(), NET, "excluded_network"),
        (IP(src=OTHER, dst=THERE) / TCP(), NET, "kept"),
        (IP(src=OTHER, dst=THERE) / TCP(), ALL, "excluded_network"),
        (V6 / TCP(), ALL, "kept"),
        (V6 / TCP(), NET6, "excluded_network"),
        (IP(src=HERE, dst=THERE) / TCP(sport=1000, dport=9092), BROKER, "excluded_kafka"),
        (IP(src=THERE, dst=HERE) / TCP(sport=9092, dport=1000), BROKER, "excluded_kafka"),
        # The broker's address with another port, its port at another address, its port of its peer's.
        (IP(src=HERE, dst=THERE) / TCP(sport=1000, dport=443), BROKER, "kept"),
        (IP(src=HERE, dst=OTHER) / TCP(sport=1000, dport=9092), BROKER, "kept"),
        (IP(src=THERE, dst=OTHER) / TCP(sport=1000, dport=9092), BROKER, "kept"),
        (V6 / TCP(sport=1000, dport=9092), {"brokers": [(THERE, 1), (V6.dst, 9092)]}, "excluded_kafka"),
    ],
)
def test_what_is_left_out(frame: Any, options: dict[str, Any], reason: str) -> None:
    assert counted(frame, **options) == reason


def test_there_is_an_end_of_networks_and_none_of_brokers() -> None:
    with pytest.raises(ValueError, match="257 networks: at most 256"):
        Sieve(networks=["192.0.2.0/24"] * 257)
    many = [*((OTHER, port) for port in range(1, 1000)), (THERE, 9092)]
    frame = IP(src=HERE, dst=THERE) / TCP(dport=9092)
    assert counted(frame, networks=["192.0.3.0/24"] * 256, brokers=many) == "excluded_kafka"


@pytest.mark.parametrize(
    ("wanted", "kinds"), [(("tcp", "udp"), [6, 17]), (("tcp",), [6]), (("udp",), [17]), ((), [])]
)
def test_only_the_transports_wanted_are_published(
    tmp_path: Path, wanted: tuple[str, ...], kinds: list[int]
) -> None:
    frames = [bytes(ETHER / IP() / layer / b"x") for layer in (TCP(seq=1), UDP())]
    source = FileSource(write(tmp_path, pcap(frames)), "sensor", Policy(transports=wanted))
    assert [item.record["transport"] for item in source if item.key] == kinds
    assert source.counts.get("excluded_transport", 0) == 2 - len(kinds)
    with pytest.raises(ValueError, match="sctp"):
        Sieve(transports=("sctp",))
