"""The whole chain in one process, without a broker: a capture in, classified events out."""

from collections import Counter
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Any

from vermilion_capture.capturefile import CaptureError
from vermilion_capture.heads import DEPTH
from vermilion_capture.source import FileSource, Policy, Source
from vermilion_fingerprint.decrypt.messages import FORMS as DECRYPTED_FORMS
from vermilion_fingerprint.protocols import all_forms, datagram_forms
from vermilion_fingerprint.stage import FingerprintStage
from vermilion_pipeline.records import Classification
from vermilion_pipeline.stage import Incoming

if TYPE_CHECKING:
    from vermilion_classify.knowledge import Knowledge
    from vermilion_fingerprint.decrypt.following import KeyLogFile

TYPES = frozenset({"tcp", "tls", "tls_server", "http", "http_server"})
"""The forms that are told of unless others are asked for: what pmercury tells without ``-e``."""

_BATCH = 1_000
_ASKED_BY = "tls"


def scan(
    path: str | Path,
    knowledge: "Knowledge | None" = None,
    *,
    alternatives: int = 0,
    depth: int | None = None,
    types: Container[str] | None = TYPES,
    readable: bool = False,
    key_log: str | Path | None = None,
) -> Iterator[Classification]:
    """The events of one capture file, each when its message is complete.

    With ``knowledge``, each has its answer, with up to ``alternatives`` probable processes.
    ``depth``: bytes per direction of a flow that are looked at, 0 for all; by default 16,384, and all with
    a ``key_log``, by whose secrets TLS connections are decrypted. ``types``: the forms of fingerprints
    wanted, None for all. ``readable``: each has its message in words, too. Raises vermilion_capture's
    CaptureError where the file breaks, after the events before, and KeyLogError for a key log that cannot
    be read; on KeyboardInterrupt too, what is known comes out.
    """
    log = None
    if key_log is not None:
        # Only here: nothing of the decryption is loaded without need.
        from vermilion_fingerprint.decrypt.following import KeyLogFile

        log = KeyLogFile(Path(key_log))
        log.check()
    types = forms_with(types, log)
    source = FileSource(Path(path), gethostname(), policy_for(types, depth, log))
    stage = stage_for(types, readable, knowledge, log)
    return events(source, stage, knowledge, alternatives, types=types)


def forms_with(types: Container[str] | None, key_log: "KeyLogFile | None") -> Container[str] | None:
    """``types``; where nobody chose them, with what a key log lets find in TLS connections."""
    return TYPES | DECRYPTED_FORMS.keys() if types is TYPES and key_log is not None else types


def policy_for(types: Container[str] | None, depth: int | None, key_log: "KeyLogFile | None") -> Policy:
    """What is read of a capture for the forms wanted: datagrams only where one of theirs is.

    ``depth``: None for as much as is needed, which with a key log is all.
    """
    if depth is None:
        depth = DEPTH if key_log is None else 0
    udp = types is None or any(form in types for form in datagram_forms())
    return Policy(depth, transports=("tcp", "udp") if udp else ("tcp",))


def stage_for(
    types: Container[str] | None,
    readable: bool,
    knowledge: "Knowledge | None",
    key_log: "KeyLogFile | None" = None,
) -> FingerprintStage:
    """The stage that writes the forms wanted, and the one that knowledge is asked by."""
    asked = (*(form for form in all_forms() if form in types), _ASKED_BY) if types and knowledge else types
    return FingerprintStage(wanted=asked, readable=readable, key_log=key_log)


def events(
    source: Source,
    stage: FingerprintStage,
    knowledge: "Knowledge | None",
    alternatives: int,
    progress: Callable[[int, int], None] = lambda done, size: None,
    types: Container[str] | None = None,
    counts: Counter[tuple[str, ...]] | None = None,
) -> Iterator[Classification]:
    """The events of one source. ``progress`` hears of the file's bytes read, and of all there are.

    ``types``: the forms to tell of those that the stage writes, None for all. ``counts`` adds up what the
    stage counts.
    """
    task = stage.task()
    items = iter(source)
    batch: list[Incoming] = []
    number = 0
    broken: BaseException | None = None
    while broken is None:
        try:
            key, record = next(items)
        except StopIteration:
            break
        except (CaptureError, KeyboardInterrupt) as error:
            broken = error
            continue
        batch.append(Incoming(number, key, record))
        number += 1
        # A mark ends a batch: nothing known waits for what may take long to come.
        if key is None or len(batch) == _BATCH:
            handled = task.handle(batch)
            if counts is not None:
                counts.update(handled.counts)
            for _, event in handled.outputs:
                answer = _answer(event, knowledge, alternatives)
                if types is not None and _ASKED_BY not in types:
                    answer["fingerprints"].pop(_ASKED_BY, None)
                if answer["fingerprints"]:
                    yield answer
            batch = []
            progress(source.consumed, source.size)
    if broken is not None:
        raise broken


def _answer(event: Any, knowledge: "Knowledge | None", alternatives: int) -> Classification:
    # Without knowledge nothing of classify is loaded.
    event["analysis"] = knowledge.analyse(event, alternatives) if knowledge else None
    return event  # type: ignore[no-any-return]
