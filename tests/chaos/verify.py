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
from vermilion_pipeline import headers
from vermilion_pipeline.codec import Codec, DecodeError
from vermilion_pipeline.ports import Headers, Message, Partition
from vermilion_pipeline.stage import Incoming, Output, Stage
from vermilion_pipeline.topics import CLASSIFIED, FINGERPRINTS, PAYLOADS, Topic

_CODEC = Codec()
_BATCH = 500
_OF_THE_MOMENT = ("ce_time", "vermilion_error_message")
"""Headers of a dead letter of which only that they are there is compared."""


class Told(NamedTuple):
    """One event, or one dead letter, as the verifier compares it."""

    flow: str
    """Whose order it belongs to."""
    identity: str
    """The event's id and a digest of all that it says, its key and its headers."""
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
            self.by_run.update(one.record["run"] for one in outputs)
            # As over the wire: classify is given what the encoding keeps.
            events = [one._replace(record=decode(encode(one.record))) for one in outputs]
            if knowledge is not None:
                batch = [Incoming(i, *one) for i, one in enumerate(events)]
                handled = ClassifyStage(Fixed(knowledge)).task().handle(batch)
                assert not handled.rejected, "an event of our own that classify refuses"
                classified, again = _CODEC.encoder(CLASSIFIED), _CODEC.decoder(CLASSIFIED)
                events = [one._replace(record=again(classified(one.record))) for one in handled.outputs]
            topic = CLASSIFIED if knowledge is not None else FINGERPRINTS
            self.events += [
                event_told(event, key, headers.event(event, topic.written_by[0], topic.schema or ""))
                for key, event in events
            ]

    def _through(self, stage: Stage, messages: Sequence[Message], prefix: str) -> Iterator[Output]:
        task, decode = stage.task(), self._codec.decoder(PAYLOADS)
        topic = PAYLOADS.full_name(prefix)
        for start in range(0, len(messages), _BATCH):
            batch, dead = [], {}
            for message in messages[start : start + _BATCH]:
                try:
                    batch.append(Incoming(message.offset, message.key, decode(message.value)))
                except DecodeError as error:
                    dead[message.offset] = _dead(topic, message, stage.name, error)
            handled = task.handle(batch)
            by_offset = {message.offset: message for message in messages[start : start + _BATCH]}
            for rejected in handled.rejected:
                message = by_offset[rejected.offset]
                dead[rejected.offset] = _dead(topic, message, stage.name, rejected.error)
            self.dead += [letter for _, letter in sorted(dead.items())]
            yield from handled.outputs


def undecodable(messages: Iterable[Message], prefix: str, codec: Codec = _CODEC) -> list[Told]:
    """The dead letters that records of ``fingerprints`` must become: those that do not decode."""
    decode, topic = codec.decoder(FINGERPRINTS), FINGERPRINTS.full_name(prefix)
    found = []
    for message in messages:
        try:
            decode(message.value)
        except DecodeError as error:
            found.append(_dead(topic, message, FINGERPRINTS.read_by[0], error))
    return found


def classified(messages: Iterable[Message], codec: Codec = _CODEC) -> list[Told]:
    """What is in ``classified``."""
    return _found(messages, codec, CLASSIFIED)


def fingerprinted(messages: Iterable[Message], codec: Codec = _CODEC) -> list[Told]:
    """What is in ``fingerprints``."""
    return _found(messages, codec, FINGERPRINTS)


def _found(messages: Iterable[Message], codec: Codec, topic: Topic) -> list[Told]:
    decode = codec.decoder(topic)
    return [
        event_told(decode(message.value), message.key, message.headers, message.partition.number)
        for message in messages
    ]


def letters(messages: Iterable[Message]) -> list[Told]:
    """What is in ``deadletter``, by where it came from."""
    found = []
    for message in messages:
        said = dict(message.headers)
        origin = "/".join(
            said.get(f"vermilion_origin_{name}", b"?").decode() for name in ("topic", "partition", "offset")
        )
        number = message.partition.number
        found.append(_letter_told(origin, message.key, message.value, message.headers, number))
    return found


def event_told(event: Mapping[str, Any], key: bytes | None, head: Headers, place: int = -1) -> Told:
    """An event of ``fingerprints`` or ``classified``, as it is compared."""
    ends = sorted([(event["src_ip"], event["src_port"]), (event["dst_ip"], event["dst_port"])])
    whose = (event["sensor"], event["run"], event["vlans"], event["vni"], event["protocol"], ends)
    content = orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
    return Told(repr(whose), f"{event['event_id']} {_digest(content, key, head)}", place)


def _dead(topic: str, message: Message, stage: str, error: Exception) -> Told:
    """The letter that ``message`` must become, told apart from how the chain makes one."""
    number, offset = str(message.partition.number), str(message.offset)
    origin = f"{topic}/{number}/{offset}"
    own = {
        "ce_specversion": "1.0", "ce_id": origin, "ce_source": f"/vermilion/{stage}",
        "ce_type": "vermilion.deadletter", "ce_time": "", "content-type": "application/octet-stream",
        "vermilion_error_class": type(error).__name__, "vermilion_error_message": "",
        "vermilion_stage": stage, "vermilion_origin_topic": topic, "vermilion_origin_partition": number,
        "vermilion_origin_offset": offset,
    }  # fmt: skip
    head = (*message.headers, *((name, value.encode()) for name, value in own.items()))
    return _letter_told(origin, message.key, message.value, head, -1)


def _letter_told(origin: str, key: bytes | None, value: bytes | None, head: Headers, place: int) -> Told:
    head = tuple((name, b"" if name in _OF_THE_MOMENT else held) for name, held in head)
    whose = origin.rpartition("/")[0]  # letters of one partition are put back in its order
    return Told(whose, f"{origin} {_digest(value, key, head)}", place)


def _digest(content: bytes | None, key: bytes | None, head: Headers) -> str:
    return hashlib.blake2b(repr((content, key, head)).encode(), digest_size=8).hexdigest()
