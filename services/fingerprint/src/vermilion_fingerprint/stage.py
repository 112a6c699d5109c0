"""The fingerprint stage: payload records in, fingerprint events out. It knows no database."""

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING

from vermilion_fingerprint.flows import FlowTable
from vermilion_fingerprint.limits import Limits
from vermilion_fingerprint.payloads import InvalidRecord
from vermilion_fingerprint.protocols import Recognised
from vermilion_pipeline.stage import Handled, Incoming, Output, Rejected
from vermilion_pipeline.topics import FINGERPRINTS, PAYLOADS

if TYPE_CHECKING:
    from vermilion_fingerprint.decrypt.following import KeyLogFile


class FingerprintTask:
    """One partition's unfinished flows."""

    def __init__(
        self,
        limits: Limits,
        recognised: Recognised,
        readable: bool = False,
        key_log: "KeyLogFile | None" = None,
    ) -> None:
        self._key_log = key_log
        decrypting = None
        if key_log is not None:
            # Only here: without a key log nothing of the decryption is loaded.
            from vermilion_fingerprint.decryption import Decrypting  # noqa: PLC0415

            decrypting = Decrypting(key_log.keys)
        self._table = FlowTable(limits, recognised, readable, decrypting)

    def handle(self, batch: Sequence[Incoming]) -> Handled:
        """Take segments and marks in order; the events that became complete.

        The key log is what it is now, for all of the batch.
        """
        table, rejected = self._table, []
        if self._key_log is not None:
            self._key_log.refresh()
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
        self,
        limits: Limits | None = None,
        wanted: Container[str] | None = None,
        readable: bool = False,
        key_log: "KeyLogFile | None" = None,
    ) -> None:
        """``wanted``: the forms of fingerprints to tell, None for all; ``readable``: in words, too.

        ``key_log``: with its secrets TLS connections are decrypted.
        """
        self._limits = limits or Limits()
        self._recognised = Recognised(wanted)
        self._readable = readable
        self._key_log = key_log

    def observed(self) -> Mapping[tuple[str, ...], float]:
        """How the key log stands, where there is one."""
        if self._key_log is None:
            return {}
        keys = self._key_log.keys
        return {
            ("key_log_readable",): float(self._key_log.problem is None),
            ("key_log_connections",): float(keys.connections),
            ("key_log_forgotten",): float(keys.forgotten),
            **{("key_log_lines", kind): float(count) for kind, count in keys.lines.items()},
        }

    def task(self) -> FingerprintTask:
        """Fresh state for one partition."""
        return FingerprintTask(self._limits, self._recognised, self._readable, self._key_log)
