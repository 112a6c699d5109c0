"""The verifier: what came out of the chain against what an undisturbed run of it gives.

The undisturbed run is made here, in one process and without a broker, of the very records that are in
``payloads``: each partition's, in order, go through a fresh task of the stage. So it knows nothing of
how the chain was killed, moved and cut off, and the same records always give the same events.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import orjson

from vermilion_classify.knowledge import Knowledge
from vermilion_classify.reloading import Fixed
from vermilion_classify.stage import ClassifyStage
from vermilion_fingerprint.stage import FingerprintStage
from vermilion_pipeline.codec import Codec, DecodeError
from vermilion_pipeline.ports import Message, Partition
from vermilion_pipeline.stage import Incoming, Stage
from vermilion_pipeline.topics import CLASSIFIED, FINGERPRINTS, PAYLOADS

_CODEC = Codec()
_BATCH = 500


class Told(NamedTuple):
    """One event, or one dead letter, as the verifier compares it."""

    flow: str
    """Whose order it belongs to."""
    identity: str
    """The event's id and a digest of all that it says."""
    place: int
    """The partition that it was read from; -1 for one that is expected."""


@dataclass(frozen=True)
class Verdict:
    """What differs from the undisturbed run, counted in events."""

    expected: int
    missing: int
    duplicate: int
    invented: int
    reordered: int

    @property
    def clean(self) -> bool:
        """Whether nothing differs."""
        return not (self.missing or self.duplicate or self.invented or self.reordered)

    def __add__(self, other: "Verdict") -> "Verdict":
        return Verdict(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def __str__(self) -> str:
        return (
            f"{self.expected} events: {self.missing} missing, {self.duplicate} duplicate, "
            f"{self.invented} invented, {self.reordered} reordered within a flow"
        )


def compare(expected: Iterable[Told], found: Iterable[Told]) -> Verdict:
    """Count the differences; both in the order of their partitions.

    An event that says something else than it should is one missing and one invented.
    """
    wanted = list(expected)
    rank: dict[str, int] = {}
    for number, one in enumerate(wanted):
        if one.identity in rank:
            raise ValueError(f"the undisturbed run itself gives {one.identity} twice")
        rank[one.identity] = number
    seen: Counter[str] = Counter()
    newest: dict[str, int] = {}
    home: dict[str, int] = {}
    invented = reordered = 0
    for one in found:
        if one.identity not in rank:
            invented += 1
            continue
        seen[one.identity] += 1
        if seen[one.identity] > 1:
            continue
        here = rank[one.identity]
        # Two partitions have no order between them: a flow must have one.
        if here < newest.get(one.flow, -1) or home.setdefault(one.flow, one.place) != one.place:
            reordered += 1
        newest[one.flow] = max(here, newest.get(one.flow, -1))
    duplicate = sum(count - 1 for count in seen.values())
    return Verdict(len(wanted), len(wanted) - len(seen), duplicate, invented, reordered)


class Undisturbed:
    """What the records of ``payloads`` give when nothing happens on the way."""

    def __init__(
        self,
        payloads: Mapping[Partition, Sequence[Message]],
        knowledge: Knowledge | None,
        prefix: str,
        codec: Codec = _CODEC,
    ) -> None:
        """Run both stages. ``knowledge`` None: fingerprint alone, whose events then count.

        ``codec``: decodes the records; one with the registry when the services have one.
        """
        self.events: list[Told] = []
        self.dead: list[Told] = []
        self.by_run: Counter[str] = Counter()
        """Events of each run."""
        self._codec = codec
        encode = _CODEC.encoder(FINGERPRINTS)
        decode = _CODEC.decoder(FINGERPRINTS)
        for partition in sorted(payloads):
            outputs = list(self._through(FingerprintStage(), payloads[partition], prefix))
            self.by_run.update(event["run"] for event in outputs)
            # As over the wire: classify is given what the encoding keeps.
            events = [decode(encode(event)) for event in outputs]
            if knowledge is not None:
                batch = [Incoming(i, None, event) for i, event in enumerate(events)]
                handled = ClassifyStage(Fixed(knowledge)).task().handle(batch)
                assert not handled.rejected, "an event of our own that classify refuses"
                classified, again = _CODEC.encoder(CLASSIFIED), _CODEC.decoder(CLASSIFIED)
                events = [again(classified(output.record)) for output in handled.outputs]
            self.events += [event_told(event) for event in events]

    def _through(self, stage: Stage, messages: Sequence[Message], prefix: str) -> Iterator[Any]:
        task, decode = stage.task(), self._codec.decoder(PAYLOADS)
        topic = PAYLOADS.full_name(prefix)
        for start in range(0, len(messages), _BATCH):
            batch = []
            for message in messages[start : start + _BATCH]:
                try:
                    batch.append(Incoming(message.offset, message.key, decode(message.value)))
                except DecodeError:
                    self.dead.append(_dead(topic, message, message.value))
            handled = task.handle(batch)
            by_offset = {message.offset: message for message in messages[start : start + _BATCH]}
            for rejected in handled.rejected:
                message = by_offset[rejected.offset]
                self.dead.append(_dead(topic, message, message.value))
            for output in handled.outputs:
                yield output.record


def undecodable(messages: Iterable[Message], prefix: str, codec: Codec = _CODEC) -> list[Told]:
    """The dead letters that records of ``fingerprints`` must become: those that do not decode."""
    decode, topic = codec.decoder(FINGERPRINTS), FINGERPRINTS.full_name(prefix)
    found = []
    for message in messages:
        try:
            decode(message.value)
        except DecodeError:
            found.append(_dead(topic, message, message.value))
    return found


def classified(messages: Iterable[Message], codec: Codec = _CODEC) -> list[Told]:
    """What is in ``classified``."""
    decode = codec.decoder(CLASSIFIED)
    return [event_told(decode(message.value), message.partition.number) for message in messages]


def fingerprinted(messages: Iterable[Message], codec: Codec = _CODEC) -> list[Told]:
    """What is in ``fingerprints``."""
    decode = codec.decoder(FINGERPRINTS)
    return [event_told(decode(message.value), message.partition.number) for message in messages]


def letters(messages: Iterable[Message]) -> list[Told]:
    """What is in ``deadletter``, by where it came from."""
    found = []
    for message in messages:
        headers = dict(message.headers)
        origin = "/".join(
            headers.get(f"vermilion_origin_{name}", b"?").decode()
            for name in ("topic", "partition", "offset")
        )
        found.append(Told(origin, f"{origin} {_digest(message.value or b'')}", 0))
    return found


def event_told(event: Mapping[str, Any], place: int = -1) -> Told:
    """An event of ``fingerprints`` or ``classified``, as it is compared."""
    ends = sorted([(event["src_ip"], event["src_port"]), (event["dst_ip"], event["dst_port"])])
    whose = (event["sensor"], event["run"], event["vlans"], event["vni"], event["protocol"], ends)
    content = orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
    return Told(repr(whose), f"{event['event_id']} {_digest(content)}", place)


def _dead(topic: str, message: Message, value: bytes | None) -> Told:
    origin = f"{topic}/{message.partition.number}/{message.offset}"
    return Told(origin, f"{origin} {_digest(value or b'')}", -1)


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
