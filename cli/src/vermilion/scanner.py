"""The whole chain in one process, without a broker: a capture in, classified events out."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING

from vermilion_capture.capturefile import CaptureError
from vermilion_capture.heads import DEPTH
from vermilion_capture.source import FileSource, time_mark
from vermilion_fingerprint.stage import FingerprintStage
from vermilion_pipeline.records import Classification
from vermilion_pipeline.stage import Incoming

if TYPE_CHECKING:
    from vermilion_classify.knowledge import Knowledge

_BATCH = 1_000


def scan(
    path: str | Path,
    knowledge: "Knowledge | None" = None,
    *,
    alternatives: int = 0,
    depth: int = DEPTH,
    progress: Callable[[int, int], None] = lambda done, size: None,
) -> Iterator[Classification]:
    """The events of one capture file, each when its message is complete.

    With ``knowledge``, each has its answer, with up to ``alternatives`` probable processes.
    ``depth``: bytes per direction of a flow that are looked at, 0 for all. ``progress`` hears of
    the file's bytes read, and of all there are. Raises vermilion_capture's CaptureError where
    the file breaks, after the events before; on KeyboardInterrupt too, what is known comes out.
    """
    source = FileSource(Path(path), gethostname(), depth)
    task = FingerprintStage().task()
    items = iter(source)
    number = 0
    interrupted: BaseException | None = None
    while interrupted is None:
        batch: list[Incoming] = []
        try:
            # Filled in place: when the file breaks midway, what was read before is not lost.
            batch.extend(
                Incoming(number + i, key, record) for i, (key, record) in enumerate(islice(items, _BATCH))
            )
        except KeyboardInterrupt as interrupt:
            interrupted = interrupt
            end = time_mark("END_OF_RUN", gethostname(), source.run, 0, replayed=True)
            batch.append(Incoming(number, None, end))
        except CaptureError as error:
            interrupted = error
        if not batch:
            break
        number += len(batch)
        for _, event in task.handle(batch).outputs:
            yield _answer(event, knowledge, alternatives)
        progress(source.consumed, source.size)
    if interrupted is not None:
        raise interrupted


def _answer(event: "Classification", knowledge: "Knowledge | None", alternatives: int) -> Classification:
    # Without knowledge nothing of classify is loaded: its tables cost a second.
    analysis = knowledge.analyse(event, alternatives) if knowledge else None
    return Classification(**{**event, "analysis": analysis})
