"""The fingerprint stage: payload records in, fingerprint events out. It knows no database."""

from collections.abc import Container, Sequence

from vermilion_fingerprint.flows import FlowTable, Limits
from vermilion_fingerprint.payloads import InvalidRecord
from vermilion_fingerprint.protocols import Recognised
from vermilion_pipeline.stage import Handled, Incoming, Output, Rejected
from vermilion_pipeline.topics import FINGERPRINTS, PAYLOADS


class FingerprintTask:
    """One partition's unfinished flows."""

    def __init__(self, limits: Limits, recognised: Recognised, readable: bool = False) -> None:
        self._table = FlowTable(limits, recognised, readable)

    def handle(self, batch: Sequence[Incoming]) -> Handled:
        """Take segments and marks in order; the events that became complete."""
        table, rejected = self._table, []
        table.events.clear()
        for offset, _, record in batch:
            kind = record["kind"]
            if kind == "SEGMENT":
                try:
                    table.segment(offset, record)
                except InvalidRecord as error:
                    rejected.append(Rejected(offset, error))
            elif kind == "TIME_MARK":
                table.mark(offset, record["sensor"], record["run"], record["time"])
            else:
                table.end(record["sensor"], record["run"])
        outputs = [Output(event["community_id"].encode(), event) for event in table.events]
        return Handled(outputs, table.take_counts(), rejected)

    def low_water(self) -> int | None:
        """The first record of the oldest unfinished flow."""
        return self._table.low_water()


class FingerprintStage:
    """Makes a task for each partition of ``payloads``."""

    name = "fingerprint"
    consumes = PAYLOADS
    produces = FINGERPRINTS

    def __init__(
        self, limits: Limits | None = None, wanted: Container[str] | None = None, readable: bool = False
    ) -> None:
        """``wanted``: the forms of fingerprints to tell, None for all; ``readable``: in words, too."""
        self._limits = limits or Limits()
        self._recognised = Recognised(wanted)
        self._readable = readable

    def task(self) -> FingerprintTask:
        """Fresh state for one partition."""
        return FingerprintTask(self._limits, self._recognised, self._readable)
