"""Was all of a replay answered? What is expected is computed here, and looked for in ``classified``.

Of each run the very records that are published go through the fingerprint stage in this process, as in
``scan``. An event's id is the same wherever it is computed, so ids are compared. Memory: about 300
bytes for each event of a run that is not answered yet.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from vermilion.topicreading import between, numbered
from vermilion_capture.items import Item
from vermilion_fingerprint.stage import FingerprintStage, FingerprintTask
from vermilion_pipeline.codec import Codec, DecodeError
from vermilion_pipeline.ports import Broker, Message
from vermilion_pipeline.stage import Incoming
from vermilion_pipeline.topics import CLASSIFIED, DEADLETTER, FINGERPRINTS, Topic

_BATCH = 1_000
_READ = (CLASSIFIED, FINGERPRINTS, DEADLETTER)


@dataclass
class Verdict:
    """What was answered."""

    expected: int
    missing: dict[str, str] = field(default_factory=dict)
    """What was not, by event id: flow and type."""
    strange: int = 0
    """Answers of these runs that nothing was expected for, or that came twice."""
    hints: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether all is answered, once."""
        return not self.missing and not self.strange


class Verifier:
    """Knows what runs should give, and reads what came of them."""

    def __init__(self, broker: Broker, codec: Codec, prefix: str, starts: dict[str, list[int]]) -> None:
        """``starts``: where to begin reading, as ``marks`` told before the first record; {}: at the first."""
        self._broker, self._prefix = broker, prefix
        self._decode = codec.decoder(CLASSIFIED)
        self._decode_event = codec.decoder(FINGERPRINTS)
        self._starts = starts
        self._stage = FingerprintStage()
        self._task: FingerprintTask = self._stage.task()
        self._batch: list[Incoming] = []
        self._number = 0
        self._runs: set[str] = set()
        self._pending: dict[bytes, str] = {}
        self._early: Counter[bytes] = Counter()
        self.expected = 0
        self._reader = broker.reader([CLASSIFIED.full_name(prefix)], beginning=CLASSIFIED.name not in starts)
        ends = broker.ends([CLASSIFIED.full_name(prefix)]) if starts else {}
        for partition, offset in zip(sorted(ends), starts.get(CLASSIFIED.name, ()), strict=False):
            self._reader.seek(partition, offset)

    @staticmethod
    def marks(broker: Broker, prefix: str) -> dict[str, list[int]]:
        """Where the topics end that a verifier reads."""
        return {topic.name: numbered(broker.ends([topic.full_name(prefix)])) for topic in _READ}

    def begin(self, run: str) -> None:
        """A run begins, or is read again from its start to go on."""
        self._runs.add(run)
        self._task, self._number = self._stage.task(), 0

    def witness(self, item: Item) -> None:
        """The run's next record or mark."""
        self._batch.append(Incoming(self._number, item.key, item.record))
        self._number += 1
        if len(self._batch) >= _BATCH or item.kind == "END_OF_RUN":
            self._compute()

    def _compute(self) -> None:
        for _, event in self._task.handle(self._batch).outputs:
            self.expected += 1
            identity = bytes.fromhex(event["event_id"])
            if self._early[identity] > 0:
                self._early[identity] -= 1
            else:
                self._pending[identity] = _described(event)
        self._batch = []

    def drain(self) -> int:
        """Take the answers that are there; how many were of these runs."""
        return sum(self._take(message) for message in self._reader.poll(10_000, 0))

    def _take(self, message: Message) -> bool:
        try:
            event = self._decode(message.value)
        except DecodeError:  # a stranger's; what was ours is missing then
            return False
        if event["run"] not in self._runs:
            return False
        identity = bytes.fromhex(event["event_id"])
        if self._pending.pop(identity, None) is None:
            self._early[identity] += 1
        return True

    def wait(self, timeout: float) -> Verdict:
        """Read until all is answered, or nothing more has been for ``timeout`` seconds."""
        last = time.monotonic()
        while self._pending and time.monotonic() - last < timeout:
            if sum(self._take(message) for message in self._reader.poll(1_000, 0.2)):
                last = time.monotonic()
        missing = {identity.hex(): what for identity, what in self._pending.items()}
        strange = sum(self._early.values())
        return Verdict(self.expected, missing, strange, self._hints(set(missing)) if missing else [])

    def close(self) -> None:
        """Read no more."""
        self._reader.close()

    def _hints(self, missing: set[str]) -> list[str]:
        there = sum(
            event is not None and event["event_id"] in missing
            for event in map(self._event, self._stretch(FINGERPRINTS))
        )
        letters: Counter[str] = Counter()
        for message in self._stretch(DEADLETTER):
            if any(run.encode() in (message.value or b"") for run in self._runs):
                told = {name: value.decode("utf-8", "replace") for name, value in message.headers}
                letters[f"{told.get('vermilion_stage')}: {told.get('vermilion_error_message')}"] += 1
        hints = [f"{count} dead letters of this replay: {why}" for why, count in letters.most_common(5)]
        if there:
            hints.append(
                f"{there} of them wait in {self._name(FINGERPRINTS)}: is classify running, or is it behind?"
            )
        if there < len(missing):
            hints.append(
                f"{len(missing) - there} of them did not come out of fingerprint: is it running, or is it "
                "behind? Its lag: vermilion_consumer_lag at /metrics"
            )
        return hints

    def _name(self, topic: Topic) -> str:
        return topic.full_name(self._prefix)

    def _event(self, message: Message) -> Any:
        try:
            return self._decode_event(message.value)
        except DecodeError:
            return None

    def _stretch(self, topic: Topic) -> Iterator[Message]:
        name = self._name(topic)
        return between(self._broker, name, self._starts.get(topic.name, []), self._broker.ends([name]))


def _described(event: dict[str, Any]) -> str:
    ends = "{src_ip} {src_port} -> {dst_ip} {dst_port}".format(**event)
    return f"{event['type']:<16} {ends}  {event['community_id']}"
