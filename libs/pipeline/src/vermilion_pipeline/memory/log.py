"""One partition: an append-only log, of which readers see what is committed."""

from vermilion_pipeline.ports import Message


class PartitionLog:
    """Records and control markers; the index of an entry is its offset.

    Not thread-safe: the cluster's lock guards it.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[Message | None, int]] = []
        self._open: dict[int, int] = {}
        self._aborted: set[int] = set()
        self.begin = 0
        """The first offset that is still there (Kafka's log start offset)."""

    @property
    def end(self) -> int:
        """The offset of the next entry (Kafka's high watermark)."""
        return len(self._entries)

    @property
    def stable(self) -> int:
        """The last stable offset: where the first transaction that is still open begins."""
        return min(self._open.values(), default=self.end)

    def append(self, message: Message, transaction: int = 0) -> None:
        """Add a record whose offset is ``end``; ``transaction`` is its serial, 0 for none."""
        if transaction:
            self._open.setdefault(transaction, self.end)
        self._entries.append((message, transaction))

    def mark(self, transaction: int, *, committed: bool) -> None:
        """End ``transaction`` here: a control marker, which takes an offset as in Kafka."""
        del self._open[transaction]
        if not committed:
            self._aborted.add(transaction)
        self._entries.append((None, transaction))

    def expire(self, before: int) -> None:
        """Delete what lies before an offset, as retention does."""
        self.begin = max(self.begin, min(before, self.end))
        for offset in range(self.begin):
            self._entries[offset] = (None, 0)

    def read(self, position: int, limit: int) -> tuple[list[Message], int]:
        """At most ``limit`` visible records from ``position`` on, and where to go on reading.

        What is hidden (markers, aborted records) is stepped over.
        """
        found: list[Message] = []
        stable = self.stable
        while position < stable and len(found) < limit:
            message, transaction = self._entries[position]
            position += 1
            if message is not None and transaction not in self._aborted:
                found.append(message)
        return found, position
