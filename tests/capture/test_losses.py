"""What an interface lost before anybody saw it."""

import socket

import pytest

from vermilion_capture import losses as module
from vermilion_capture.losses import Losses, losses


def test_what_no_protocol_wanted_is_not_lost() -> None:
    assert Losses(0, 1_500, 7).since(Losses(0, 10, 7)) == 0


def test_what_a_full_backlog_dropped_is() -> None:
    assert Losses(0, 1_500, 107).since(Losses(0, 10, 7)) == 100
    assert Losses(0, 60, 107).since(Losses(0, 10, 7)) == 50  # the rest were other interfaces'


def test_what_the_card_missed_is() -> None:
    assert Losses(12, 0, 0).since(Losses(2, 0, 0)) == 10


def test_counters_that_begin_anew_lose_nothing() -> None:
    assert Losses(0, 0, 5).since(Losses(9, 9, 9)) == 0


@pytest.mark.skipif(not hasattr(socket, "AF_NETLINK"), reason="netlink is Linux's")
def test_the_kernel_tells_of_each_interface() -> None:
    for index, name in socket.if_nameindex():
        assert len(module._statistics(index)) >= 16
        assert min(losses(name)) >= 0


def test_an_interface_that_is_not_there_has_lost_nothing() -> None:
    assert losses("nosuch0") == Losses()
