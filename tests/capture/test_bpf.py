"""Filter expressions: what they match, and what is refused."""

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from vermilion_capture.bpf import Filter, FilterError, compile_filter
from vermilion_capture.packet import LINK_TYPES

ETHERNET, RAW = 1, 101


def _frame(layer: object) -> bytes:
    return bytes(layer)  # type: ignore[call-overload, no-any-return]


HTTPS = _frame(Ether() / IP(src="192.0.2.1", dst="198.51.100.1") / TCP(sport=40000, dport=443))


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ("tcp port 443", True),
        ("dst port 443 and src net 192.0.2.0/24", True),
        ("not tcp", False),
        ("host 203.0.113.9", False),
        ("tcp[tcpflags] & tcp-syn != 0", True),
        ("", True),
    ],
)
def test_an_expression_decides(expression: str, matches: bool) -> None:
    assert compile_filter(expression, ETHERNET).matches(HTTPS, len(HTTPS)) is matches


def test_ip_version_transport_and_tags_are_told_apart() -> None:
    udp = _frame(Ether() / IPv6() / UDP(dport=443))
    tagged = _frame(Ether() / Dot1Q(vlan=7) / IP() / TCP(dport=443))
    assert Filter("ip6 and udp port 443", ETHERNET).matches(udp, len(udp))
    assert not Filter("tcp port 443", ETHERNET).matches(tagged, len(tagged))
    assert Filter("vlan 7 and tcp port 443", ETHERNET).matches(tagged, len(tagged))


def test_each_link_type_that_is_read_has_filters() -> None:
    packet = _frame(IP() / TCP(dport=443))
    assert Filter("tcp port 443", RAW).matches(packet, len(packet))
    for link_type in LINK_TYPES:
        assert Filter("tcp port 443", link_type).instructions


def test_the_length_on_the_wire_counts_and_not_what_was_captured() -> None:
    long = Filter("greater 1000", ETHERNET)
    assert long.matches(HTTPS, 1500)
    assert not long.matches(HTTPS, len(HTTPS))


@pytest.mark.parametrize("cut", range(0, len(HTTPS), 7))
def test_a_frame_cut_short_matches_only_what_does_not_look_further(cut: int) -> None:
    assert Filter("tcp port 443", ETHERNET).matches(HTTPS[:cut], len(HTTPS)) is (cut >= 14 + 20 + 4)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("tcp portt 443", "syntax error"),
        ("tcp\0 and nothing else", "NUL"),
        ("(" * 4000, "syntax error"),
        ("tcp or " * 1000 + "udp", "at most"),
        ("\ud800", "surrogates"),
        ("net 10.0.0.1/8", "non-network bits"),
    ],
)
def test_what_is_no_filter_is_refused_with_a_reason(expression: str, why: str) -> None:
    with pytest.raises(FilterError, match=why):
        compile_filter(expression, ETHERNET)


def test_instructions_are_as_the_kernel_takes_them() -> None:
    for code, if_true, if_false, operand in compile_filter("tcp port 443 or udp", ETHERNET).instructions:
        assert 0 <= code < 1 << 16
        assert 0 <= if_true < 1 << 8
        assert 0 <= if_false < 1 << 8
        assert 0 <= operand < 1 << 32
