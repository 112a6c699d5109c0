"""Both brokers answer the same tests: what passes here is what the runtime may rely on."""

import itertools
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from conformance.support import Tuning

from vermilion_pipeline.memory import MemoryBroker
from vermilion_pipeline.ports import Broker

Names = Callable[[str], str]


@pytest.fixture
def tuning() -> Tuning:
    """What a test may change, by ``parametrize("tuning", ...)``."""
    return Tuning()


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest, tuning: Tuning) -> Broker:
    if request.param == "memory":
        return MemoryBroker(
            session_timeout=0.3 if tuning.stalls else 30.0,
            transaction_timeout=tuning.transaction_timeout,
            queue_size=tuning.queue_size,
            linger=tuning.linger,
        )
    from vermilion_pipeline.kafka import KafkaBroker

    return KafkaBroker(
        {
            "bootstrap.servers": request.getfixturevalue("kafka_bootstrap"),
            "session.timeout.ms": "6000",
            "heartbeat.interval.ms": "200",
            "max.poll.interval.ms": "6000" if tuning.stalls else "60000",
            "transaction.timeout.ms": str(int(tuning.transaction_timeout * 1000)),
            "queue.buffering.max.messages": str(tuning.queue_size),
            "linger.ms": str(int(tuning.linger * 1000)),
        }
    )


_numbers = itertools.count()


@pytest.fixture
def unique() -> Names:
    """Makes names of topics, groups and producers that no other test uses."""
    run = uuid.uuid4().hex[:8]
    return lambda what: f"conformance.{what}.{run}.{next(_numbers)}"


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    """``closing.callback(client.close)``: what a test opened, closed in reverse order."""
    with ExitStack() as stack:
        yield stack
