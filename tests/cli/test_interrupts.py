"""A signal ends what a command does, whenever it comes."""

import os
import signal

import pytest

from vermilion.interrupts import interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_when_nothing_is_left_to_stop_still_ends_the_command(
    number: signal.Signals,
) -> None:
    stopped: list[bool] = []
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interrupts(lambda: stopped.append(True)):
        os.kill(os.getpid(), number)
    assert stopped == [True]
    assert signal.getsignal(number) is before


def test_what_is_raised_inside_is_what_is_told() -> None:
    with pytest.raises(ValueError, match="first"), interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        raise ValueError("first")


def test_without_a_signal_nothing_is_raised() -> None:
    with interrupts():
        pass
