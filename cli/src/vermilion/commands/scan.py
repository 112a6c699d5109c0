"""``vermilion scan``: captures in, JSON lines out, one process, no broker."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from vermilion.commands.options import Database, Depth, capture_files
from vermilion.commands.progress import bytes_read
from vermilion.errors import CommandFailed


def scan(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE…", help="Capture files; -: standard input.")
    ] = None,
    read: Annotated[
        list[Path] | None,
        typer.Option(
            "--read", "-r", metavar="FILE", help="Capture file, - for standard input; may be repeated."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--fingerprint", "-f", metavar="OUT", help="Where the JSON lines go.", show_default="stdout"
        ),
    ] = None,
    analysis: Annotated[
        bool, typer.Option("--analysis", "-a", help="Tell the process behind each fingerprint.")
    ] = False,
    num_procs: Annotated[
        int, typer.Option("--num-procs", "-n", min=0, help="How many probable processes to list.")
    ] = 0,
    fp_db: Database = None,
    depth: Depth = 16_384,
) -> None:
    """Fingerprint captures: one JSON object a fingerprinted message, on stdout."""
    # Imported here, since no other command needs them.
    from vermilion.events import scan_json
    from vermilion.scanner import scan as events_of
    from vermilion_capture.capturefile import CaptureError

    paths = capture_files([*(read or []), *(files or [])])
    knowledge = None
    if analysis or num_procs or fp_db:
        from vermilion_classify.knowledge import load
        from vermilion_classify.sources import sources

        knowledge = load(sources()[0], fp_db)
    failed = 0
    with ExitStack() as stack:
        try:
            sink = stack.enter_context(out.open("wb")) if out else sys.stdout.buffer
        except OSError as error:
            raise CommandFailed(f"{out}: {error.strerror}") from None
        progress = stack.enter_context(bytes_read())
        for path in paths:
            try:
                for event in events_of(
                    path, knowledge, alternatives=num_procs, depth=depth, progress=progress
                ):
                    sink.write(scan_json(event))
            except CaptureError as error:
                failed += 1
                sink.flush()
                typer.echo(f"vermilion: error: {error}", err=True)
        sink.flush()
    if failed:
        raise typer.Exit(1)
