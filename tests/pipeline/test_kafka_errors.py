"""Which of Kafka's errors are waited out."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from vermilion_pipeline.kafka.consumer import KafkaReader
from vermilion_pipeline.kafka.errors import retried
from vermilion_pipeline.ports import AccessDenied, BrokerError, LogReplaced, Message, Partition


class Failing:
    """A call that fails so many times."""

    def __init__(self, code: int, times: int) -> None:
        self._code, self._times = code, times

    def __call__(self, _left: float) -> str:
        self._times -= 1
        if self._times >= 0:
            raise KafkaException(KafkaError(self._code))
        return "answer"


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.NOT_LEADER_FOR_PARTITION,
        # Seen when brokers were restarted: an answer about the leader that was.
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
    ],
)
def test_what_a_new_leader_causes_is_waited_out(code: int) -> None:
    assert retried(Failing(code, 3), "asking", 5.0) == "answer"
    with pytest.raises(BrokerError, match="asking"):
        retried(Failing(code, 1_000), "asking", 0.1)


def test_a_right_that_is_missing_is_not() -> None:
    with pytest.raises(AccessDenied, match="authorization failed"):
        retried(Failing(KafkaError.TOPIC_AUTHORIZATION_FAILED, 1), "asking", 5.0)


def test_what_must_end_a_reader_is_raised_though_other_partitions_have_records() -> None:
    reader = KafkaReader({"bootstrap.servers": "127.0.0.1:1", "group.id": "none", "log_level": 0})
    found = [Message(Partition("busy", 1), 0, None, b"", (), 0)]
    gone = [LogReplaced("quiet[0] ends before what is committed of it")]

    def consume(_limit: int, _timeout: float) -> list[Message]:
        if gone:
            reader._error = gone.pop()
        return found

    reader._consume = consume  # type: ignore[assignment, method-assign]
    assert reader.poll(1, 0.0) == found
    with pytest.raises(LogReplaced, match="quiet"):
        reader.poll(1, 0.0)
    assert reader.poll(1, 0.0) == found
    reader.close()
