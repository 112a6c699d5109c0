"""``vermilion capture``: the service that publishes, from files or off the wire."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vermilion.commands.options import Depth, Http, Kafka, Prefix, Servers, capture_files, settings
from vermilion.commands.progress import bytes_read
from vermilion.interrupts import interrupts

if TYPE_CHECKING:
    from vermilion_capture.source import Source
    from vermilion_pipeline.health import Health


def capture(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE…", help="Capture files; -: standard input.")
    ] = None,
    interface: Annotated[
        str | None,
        typer.Option("--interface", "-i", metavar="IF", help="Interface to read, until SIGTERM."),
    ] = None,
    read: Annotated[
        list[Path] | None,
        typer.Option(
            "--read", "-r", metavar="FILE", help="Capture file, - for standard input; may be repeated."
        ),
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
    """Publish the heads of flows to the payloads topic: of files, or of an interface until SIGTERM.

    Of a file nothing is lost; of an interface, what there is no room for is dropped and counted.
    """
    from vermilion_capture.capturefile import CaptureError
    from vermilion_capture.live import Interface
    from vermilion_capture.metrics import CaptureMetrics
    from vermilion_capture.publish import Publisher
    from vermilion_capture.source import FileSource, Source
    from vermilion_pipeline.health import Health
    from vermilion_pipeline.service import broker_and_codec, http_server, naming_rights

    paths = capture_files([*(read or []), *(files or [])], optional=interface is not None)
    if paths and interface:
        raise typer.BadParameter("files or an interface, not both", param_hint="-i")
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
                for origin in [interface] if interface else paths:
                    try:
                        source = (
                            FileSource(origin, config.sensor, depth)
                            if isinstance(origin, Path)
                            else Source(Interface(str(origin)), config.sensor, depth, replayed=False)
                        )
                        with interrupts(source.stop), _reported(str(origin), source):
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


def _went_on(health: "Health", progress: Callable[[int, int], None], source: "Source") -> None:
    health.beat()
    progress(source.consumed, source.size)


@contextmanager
def _reported(name: str, source: "Source") -> Iterator[None]:
    """Tell afterwards what was read, however far that went."""
    try:
        yield
    finally:
        skipped = ", ".join(
            f"{count} {reason}"
            for reason, count in sorted(source.counts.items())
            if reason not in ("packets", "kept")
        )
        typer.echo(
            f"{name}: run {source.run}: {source.counts['packets']} packets, {source.counts['kept']} published"
            + (f"; not: {skipped}" if skipped else ""),
            err=True,
        )
