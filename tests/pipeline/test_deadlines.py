"""Calls into librdkafka that never return cost a producer, and not the service."""

import threading
import time
from typing import Any

import pytest

from vermilion_pipeline.kafka import transactions
from vermilion_pipeline.kafka.deadlines import DidNotReturn, PatientThread
from vermilion_pipeline.kafka.settings import TRANSACTION_TIMEOUT
from vermilion_pipeline.ports import ProducerLost


def test_what_a_call_gives_and_raises_passes_through() -> None:
    thread = PatientThread("test")
    assert thread.call(lambda: 7, 5) == 7
    with pytest.raises(ZeroDivisionError):
        thread.call(lambda: 1 // 0, 5)
    assert thread.call(lambda: threading.current_thread().name, 5) == "test"
    thread.close()
    thread._thread.join(5)
    assert not thread._thread.is_alive()


def test_a_call_that_does_not_return_is_given_up() -> None:
    thread, end = PatientThread("test"), threading.Event()
    began = time.monotonic()
    with pytest.raises(DidNotReturn):
        thread.call(end.wait, 0.1)
    assert time.monotonic() - began < 2
    end.set()
    thread.close()
    thread._thread.join(5)
    assert not thread._thread.is_alive()


class Hanging:
    """librdkafka's producer, whose commit never returns, whatever its time-out."""

    def __init__(self) -> None:
        self.end = threading.Event()
        self.purged = False

    def init_transactions(self, _timeout: float) -> None:
        pass

    def begin_transaction(self) -> None:
        pass

    def poll(self, _timeout: float) -> int:
        return 0

    def commit_transaction(self, _timeout: float) -> None:
        self.end.wait()

    def purge(self) -> None:
        self.purged = True


def test_a_producer_whose_call_hangs_is_lost_and_can_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = Hanging()
    monkeypatch.setattr(transactions, "make_producer", lambda _: hanging)
    monkeypatch.setattr(transactions, "_GRACE", 0.1)
    monkeypatch.setattr(transactions, "_OVERDUE", 0.1)
    config: dict[str, Any] = {TRANSACTION_TIMEOUT: "100"}
    producer = transactions.KafkaTransactionalProducer(config, "id", lambda _: None)
    producer.begin()
    with pytest.raises(ProducerLost, match="committing: no return within"):
        producer.commit()
    with pytest.raises(ProducerLost):
        producer.abort()
    producer.close()
    assert hanging.purged
    hanging.end.set()
