"""``vermilion demo``: what a newcomer runs first."""

import pytest
from cli.command import vermilion


@pytest.mark.parametrize("broker", ["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def test_demo(broker: str) -> None:
    done = vermilion("demo", "--broker", broker)
    assert done.returncode == 0, done.stderr
    for word in (
        "who spoke to whom",
        "process",
        "score",
        "match",
        "fingerprint",
        "classify",
        "nothing lost",
        "curl 7.",
    ):
        assert word in done.stdout
