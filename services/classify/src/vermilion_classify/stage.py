"""The classify stage: fingerprint events in, the same with an answer out. It keeps no state."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence

from vermilion_classify.knowledge import Knowledge
from vermilion_classify.reloading import KnowledgeSource
from vermilion_pipeline.records import Classification, Fingerprint
from vermilion_pipeline.stage import Handled, Incoming, Output, Rejected, StatelessTask, Task
from vermilion_pipeline.topics import CLASSIFIED, FINGERPRINTS

# Microseconds to the end of the year 9999, the last that a date can have.
_LAST_TIME = 253_402_300_800 * 1_000_000


def classify(event: Fingerprint, knowledge: Knowledge | None, alternatives: int = 0) -> Classification:
    """The event with its answer; without knowledge, with none.

    Raises ValueError for an address or a time that is none.
    """
    if not 0 <= event["event_start"] < _LAST_TIME:
        raise ValueError(f"event_start cannot be {event['event_start']}")
    analysis = knowledge.analyse(event, alternatives) if knowledge else None
    return Classification(**event, analysis=analysis)


class ClassifyStage:
    """Answers each event by itself."""

    name = "classify"
    consumes = FINGERPRINTS
    produces = CLASSIFIED

    def __init__(self, knowledge: KnowledgeSource, alternatives: int = 0) -> None:
        self._knowledge = knowledge
        self._alternatives = alternatives

    def task(self) -> Task:
        """Nothing is remembered of a partition."""
        return StatelessTask(self._handle)

    def observed(self) -> Mapping[tuple[str, ...], float]:
        """Which knowledge is in use, and how old what it knows is."""
        knowledge = self._knowledge.current()
        newest = max(layer["newest"] for layer in knowledge.meta["layers"])
        return {
            ("db_info", knowledge.version["name"], knowledge.version["version"]): 1.0,
            ("db_age_seconds",): time.time() - newest,
            ("db_reload_failures",): float(self._knowledge.failures),
        }

    def _handle(self, batch: Sequence[Incoming]) -> Handled:
        knowledge = self._knowledge.current()  # one version a batch
        counts: Counter[tuple[str, ...]] = Counter()
        outputs, rejected = [], []
        for offset, key, event in batch:
            try:
                answer = classify(event, knowledge, self._alternatives)
            except (ValueError, KeyError, TypeError) as error:
                rejected.append(Rejected(offset, error))
                continue
            outputs.append(Output(key, answer))
            if answer["analysis"]:
                counts["answers", answer["analysis"]["match"]] += 1
        return Handled(outputs, counts, rejected)
