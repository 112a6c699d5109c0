"""``vermilion scan``: captures in, JSON lines out, one process, no broker."""

import sys
from collections import Counter
from contextlib import ExitStack, closing
from math import inf
from pathlib import Path
from socket import gethostname
from typing import IO, TYPE_CHECKING, Annotated, NoReturn, Self

import typer

from vermilion.commands.options import Database, Files, KeyLog, Read, capture_files
from vermilion.commands.progress import bytes_read
from vermilion.errors import CommandFailed
from vermilion.events import line_of, scan_json
from vermilion.grouping import Flows
from vermilion.interrupts import enough, interrupts

if TYPE_CHECKING:
    from vermilion_capture.live import LiveCapture
    from vermilion_pipeline.records import Classification


# Of a capture that does not end, a flow is told when it began so long ago; looked at so often.
_GROUP_SECONDS = 150.0
_SWEEP_SECONDS = 15.0


def scan(
    files: Files = None,
    read: Read = None,
    capture: Annotated[
        str | None, typer.Option("--capture", "-c", metavar="IFACE", help="Interface to read until Ctrl-C.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--fingerprint", "-f", metavar="OUT", help="Where the JSON lines go.", show_default="stdout"
        ),
    ] = None,
    fp_db: Database = None,
    lookup: Annotated[
        str | None,
        typer.Option("--lookup", "-l", metavar="FP", help="Print the database's entry of a fingerprint."),
    ] = None,
    analysis: Annotated[
        bool, typer.Option("--analysis", "-a", help="Tell the process behind each fingerprint.")
    ] = False,
    num_procs: Annotated[
        int, typer.Option("--num-procs", "-n", min=0, help="How many probable processes to list.")
    ] = 0,
    readable: Annotated[
        bool, typer.Option("--human-readable", "-w", help="Tell each message in words, too.")
    ] = False,
    group: Annotated[
        bool, typer.Option("--group-flows", "-g", help="One object a flow, when all is read.")
    ] = False,
    experimental: Annotated[
        bool, typer.Option("--experimental", "-e", help="All forms of fingerprints, of all messages.")
    ] = False,
    types: Annotated[
        str | None,
        typer.Option(metavar="T,…", help="The forms of fingerprints to tell, whatever -e says."),
    ] = None,
    keylog: KeyLog = None,
    depth: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Bytes per direction of a flow that are looked at; 0: all.",
            show_default="16384; with -s 0",
        ),
    ] = None,
) -> None:
    """Fingerprint captures: one JSON object a fingerprinted message, on stdout.

    Without -e and --types: tcp, tls, tls_server, http, http_server; with -s what it decrypts, too.
    """
    from vermilion.commands.decrypting import open_key_log, tell_decrypted
    from vermilion.scanner import TYPES, events, forms_with, policy_for, stage_for
    from vermilion_capture.frame import CaptureError
    from vermilion_capture.live import LiveCapture, LiveSource
    from vermilion_capture.source import FileSource, Source

    if lookup is not None:
        look_up(lookup, fp_db)
        if not (read or files or capture):
            return
    paths = capture_files([*(read or []), *(files or [])], optional=capture is not None)
    log = None if keylog is None else open_key_log(keylog, may_come=capture is not None)
    asked = chosen(types) if types is not None else None if experimental else TYPES
    wanted = forms_with(asked, log)
    knowledge = None
    if analysis:
        from vermilion_classify.store import load

        knowledge = load(fp_db)
    stage = stage_for(wanted, readable, knowledge, log)
    policy = policy_for(wanted, depth, log)
    sensor = gethostname()
    failed = 0
    counts: Counter[tuple[str, ...]] = Counter()
    with (
        bytes_read() as progress,
        ExitStack() as reported,
        Sink(out, group, live=capture is not None) as sink,
    ):
        if log is not None:
            reported.callback(tell_decrypted, log, counts)
        for path in [*paths, None] if capture else paths:
            try:
                if path is not None:
                    source: Source = FileSource(path, sensor, policy)
                else:
                    live = reported.enter_context(closing(LiveCapture([str(capture)])))
                    reported.callback(_tell_drops, live)
                    source = LiveSource(live, sensor, policy)
                with interrupts(source.stop):
                    for event in events(source, stage, knowledge, num_procs, progress, wanted, counts):
                        sink.write(event)
                sink.finish()
            except CaptureError as error:
                failed += 1
                sink.flush()
                typer.echo(f"vermilion: error: {error}", err=True)
    if failed:
        raise typer.Exit(1)


def _tell_drops(live: "LiveCapture") -> None:
    if lost := ", ".join(f"{count} {cause}" for cause, count in live.drops.items() if count):
        typer.echo(f"vermilion: warning: frames lost: {lost}", err=True)


def chosen(types: str) -> set[str]:
    """The forms that ``--types`` names. Raises typer.BadParameter."""
    from vermilion_fingerprint.protocols import all_forms

    known = all_forms()
    wanted = {name.strip() for name in types.split(",")}
    if unknown := sorted(wanted.difference(known)):
        raise typer.BadParameter(
            f"no such type: {', '.join(unknown)}; there are: {', '.join(known)}", param_hint="--types"
        )
    return wanted


def look_up(fingerprint: str, database: Path | None) -> None:
    """Print the database's entry of a fingerprint as it stands there; nothing when there is none."""
    from vermilion_classify.store import entry_text

    found = entry_text(fingerprint, database)
    if found is None:
        typer.echo("vermilion: the database has no such fingerprint", err=True)
    else:
        typer.echo(found)


class Sink:
    """Where the lines go: standard output or a file; with ``group``, a line a flow, at the end."""

    def __init__(self, path: Path | None, group: bool, live: bool) -> None:
        """Open the file. Raises CommandFailed."""
        self._name = "standard output" if path is None else str(path)
        self._live = live
        self._flows = Flows() if group else None
        self._swept = 0.0
        try:
            self._file: IO[bytes] = sys.stdout.buffer if path is None else path.open("wb")
        except OSError as error:
            raise CommandFailed(f"{path}: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or not issubclass(kind, typer.Exit | CommandFailed):
            self.finish()
            self.flush()

    def finish(self, before: float = inf) -> None:
        """Write the flows that began before, and forget them. Raises CommandFailed."""
        if self._flows is not None:
            for line in self._flows.take(before):
                self._write(line)

    def write(self, event: "Classification") -> None:
        """Write or gather one event. Raises CommandFailed."""
        if self._flows is not None:
            line = line_of(event)
            self._flows.add(line)
            if self._live and line["event_start"] > self._swept + _SWEEP_SECONDS:
                self._swept = line["event_start"]
                self.finish(self._swept - _GROUP_SECONDS)
                self.flush()
            return
        self._write(scan_json(event))
        if self._live:
            self.flush()

    def _write(self, line: bytes) -> None:
        try:
            self._file.write(line)
        except OSError as error:
            self._failed(error)

    def flush(self) -> None:
        """Let go of what is buffered. Raises CommandFailed."""
        try:
            self._file.flush()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> NoReturn:
        if isinstance(error, BrokenPipeError):
            enough()
        raise CommandFailed(f"{self._name}: cannot be written: {error.strerror}") from None
