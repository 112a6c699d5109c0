"""``vermilion capture``, ``fingerprint``, ``classify``: the services."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vermilion.commands.options import (
    Database,
    Depth,
    Http,
    Instance,
    Kafka,
    Prefix,
    Servers,
    capture_files,
    settings,
)
from vermilion.commands.progress import bytes_read
from vermilion.interrupts import interrupts

if TYPE_CHECKING:
    from vermilion_capture.source import FileSource
    from vermilion_pipeline.health import Health


def capture(
    read: Annotated[
        list[Path] | None,
        typer.Option(
            "--read", "-r", metavar="FILE", help="Capture file, - for standard input; may be repeated."
        ),
    ] = None,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE…", help="Capture files; -: standard input.")
    ] = None,
    sensor: Annotated[
        str | None, typer.Option(help="Who captured it.", show_default="this machine's name")
    ] = None,
    depth: Depth = 16_384,
    bootstrap_servers: Servers = None,
    topic_prefix: Prefix = None,
    kafka: Kafka = None,
    http_port: Http = None,
) -> None:
    """Publish the heads of a capture's flows to the payloads topic. Blocks, and loses nothing."""
    from vermilion_capture.capturefile import CaptureError
    from vermilion_capture.metrics import CaptureMetrics
    from vermilion_capture.publish import Publisher
    from vermilion_capture.source import FileSource
    from vermilion_pipeline.health import Health
    from vermilion_pipeline.service import broker_and_codec, http_server, naming_rights

    paths = capture_files([*(read or []), *(files or [])])
    config = settings(bootstrap_servers, kafka, topic_prefix=topic_prefix, sensor=sensor, http_port=http_port)
    broker, codec = broker_and_codec(config)
    failed = 0
    with naming_rights(broker, "capture", config.topic_prefix):
        publisher = Publisher(broker, codec, config.topic_prefix)
        health = Health()
        health.ready = True
        server = http_server(config, health, CaptureMetrics(publisher.total).registry)
        try:
            with bytes_read() as progress:
                for path in paths:
                    try:
                        source = FileSource(path, config.sensor, depth)
                        with interrupts(source.stop), _reported(path, source):
                            publisher.publish(source, lambda s=source: _went_on(health, progress, s))  # type: ignore[misc]
                    except CaptureError as error:
                        failed += 1
                        typer.echo(f"vermilion: error: {error}", err=True)
        finally:
            try:
                publisher.close()
            finally:
                told = f"{publisher.acknowledged} of {publisher.produced} records acknowledged"
                if drops := {cause: count for cause, count in publisher.total().drops().items() if count}:
                    told += "; dropped: " + ", ".join(f"{count} {cause}" for cause, count in drops.items())
                typer.echo(told, err=True)
                if server:
                    server.close()
    if failed:
        raise typer.Exit(1)


def _went_on(health: "Health", progress: Callable[[int, int], None], source: "FileSource") -> None:
    health.beat()
    progress(source.consumed, source.size)


@contextmanager
def _reported(path: Path, source: "FileSource") -> Iterator[None]:
    """Tell afterwards what was read of a file, however far that went."""
    try:
        yield
    finally:
        _report(path, source.run, source.counts)


def _report(path: Path, run: str, counts: dict[str, int]) -> None:
    skipped = ", ".join(
        f"{count} {reason}" for reason, count in sorted(counts.items()) if reason not in ("packets", "kept")
    )
    typer.echo(
        f"{path}: run {run}: {counts.get('packets', 0)} packets, {counts.get('kept', 0)} published"
        + (f"; not: {skipped}" if skipped else ""),
        err=True,
    )


def fingerprint(
    bootstrap_servers: Servers = None,
    topic_prefix: Prefix = None,
    kafka: Kafka = None,
    http_port: Http = None,
    instance: Instance = None,
) -> None:
    """Reassemble flow heads from the payloads topic and emit fingerprint events. Runs until SIGTERM."""
    from vermilion_fingerprint.stage import FingerprintStage
    from vermilion_pipeline.service import serve

    config = settings(
        bootstrap_servers, kafka, topic_prefix=topic_prefix, http_port=http_port, instance=instance
    )
    serve(config, FingerprintStage)


def classify(
    num_procs: Annotated[
        int, typer.Option("--num-procs", "-n", min=0, help="How many probable processes to list.")
    ] = 0,
    fp_db: Database = None,
    bootstrap_servers: Servers = None,
    topic_prefix: Prefix = None,
    kafka: Kafka = None,
    http_port: Http = None,
    instance: Instance = None,
) -> None:
    """Answer fingerprint events with the process behind them. Runs until SIGTERM; add replicas to scale."""
    from vermilion_classify.reloading import Reloading
    from vermilion_classify.stage import ClassifyStage
    from vermilion_classify.store import default_path, load
    from vermilion_pipeline.service import serve

    config = settings(
        bootstrap_servers, kafka, topic_prefix=topic_prefix, http_port=http_port, instance=instance
    )

    def stage() -> ClassifyStage:
        knowledge = Reloading(fp_db or default_path(), load)
        signal.signal(signal.SIGHUP, lambda *_: knowledge.reload())
        return ClassifyStage(knowledge, num_procs)

    serve(config, stage)
