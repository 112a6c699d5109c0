"""Services on a real Apache Kafka, on topics of each test's own."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from e2e.services import Service


@pytest.fixture
def prefix() -> str:
    """Give the prefix of this test's topics."""
    return f"e2e-{uuid.uuid4().hex[:8]}."


@pytest.fixture
def start(kafka_bootstrap: str, prefix: str, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Give a function that starts a service, to be killed at the end."""
    with ExitStack() as stack:

        def begin(name: str, number: int = 0, *more: str) -> Service:
            service = Service(name, kafka_bootstrap, prefix, tmp_path, number, more)
            stack.callback(service.kill)
            return service

        yield begin
