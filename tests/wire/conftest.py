"""Rounds are played once each, and each test looks at one side of what was observed."""

from collections.abc import Callable
from functools import cache

import pytest
from wire.netns import why_not
from wire.rounds import Observation, Situation, play

Observe = Callable[[Situation, int], Observation]


@pytest.fixture(scope="session")
def observe(tmp_path_factory: pytest.TempPathFactory) -> Observe:
    """Give what was observed in a situation with a seed."""
    if reason := why_not():
        pytest.skip(reason)

    @cache
    def once(situation: Situation, seed: int) -> Observation:
        return play(situation, seed, tmp_path_factory.mktemp("round"))

    return once
