"""How far a stage has come with a partition, as its commits say it (docs/decisions/0002, 0007).

The committed offset is the low-water mark. The metadata has the next offset to answer, unless that
is the same, and words after it: ``begun``, and ``without=17,19``.
"""

from dataclasses import dataclass
from typing import Final

from vermilion_pipeline.ports import Committed

_BEGUN: Final = "begun"
_WITHOUT: Final = "without="
MOST_KILLERS: Final = 100
"""Offsets that are stepped over and remembered: the broker takes 4,095 characters of metadata."""


@dataclass(frozen=True, slots=True)
class Position:
    """A partition's progress."""

    low: int
    """Where a new owner reads from: the first record that something remembered still needs."""
    next: int
    """The next record to answer; those between only rebuild state."""
    begun: bool = False
    """Somebody was about to go on from ``next`` who need not have come to an end."""
    killers: frozenset[int] = frozenset()
    """Records that killed the process, and are stepped over."""

    def committed(self) -> Committed:
        """The commit that says so; killers below ``low`` are forgotten, as nobody meets them again."""
        words = []
        if self.begun:
            words.append(_BEGUN)
        if killers := sorted(offset for offset in self.killers if offset >= self.low)[-MOST_KILLERS:]:
            words.append(_WITHOUT + ",".join(map(str, killers)))
        if words or self.low < self.next:
            words.insert(0, str(self.next))
        return Committed(self.low, " ".join(words))

    @classmethod
    def of(cls, committed: Committed) -> "Position":
        """What a commit says. Raises ValueError for metadata that no stage writes."""
        offset = committed.offset
        if not committed.metadata:
            return cls(offset, offset)
        number, *words = committed.metadata.split(" ")
        begun, killers = False, frozenset[int]()
        for word in words:
            if word == _BEGUN:
                begun = True
            elif word.startswith(_WITHOUT):
                killers = frozenset(map(int, word.removeprefix(_WITHOUT).split(",")))
            else:
                raise ValueError(f"commit metadata with the word {word!a:.100}")
        return cls(offset, max(int(number), offset), begun, killers)
