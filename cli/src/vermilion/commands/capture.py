"""``vermilion capture``: the service that publishes, from files or off the wire."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vermilion.commands.options import (
    Files,
    Http,
    Kafka,
    Prefix,
    Read,
    Servers,
    Transport,
    capture_files,
    settings,
)
from vermilion.commands.progress import bytes_read, status_line
from vermilion.commands.publishing import Session, publishing, served, tell_end
from vermilion.interrupts import at_once, interrupts
from vermilion_pipeline.errors import VermilionError

if TYPE_CHECKING:
    from vermilion_capture.live import LiveCapture
    from vermilion_capture.metrics import Numbers
    from vermilion_capture.source import Policy
    from vermilion_pipeline.settings import Settings

_TELL_SECONDS = 1.0


def capture(
    files: Files = None,
    read: Read = None,
    interface: Annotated[
        list[str] | None,
        typer.Option(
            "--interface", "-i", metavar="IF", help="Interface to read, until SIGTERM; may be repeated."
        ),
    ] = None,
    bpf: Annotated[
        str | None, typer.Option(metavar="EXPRESSION", help="Of interfaces: what tcpdump would be told.")
    ] = None,
    promiscuous: Annotated[
        bool | None, typer.Option("--promiscuous", "-p", help="See others' frames, too.")
    ] = None,
    snaplen: Annotated[
        int | None, typer.Option(help="Bytes of a frame that are read.", show_default="262144")
    ] = None,
    ring_mib: Annotated[
        int | None, typer.Option(help="MiB of each worker's ring on each interface.", show_default="64")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that share the flows of the interfaces.", show_default="1")
    ] = None,
    exclude_port: Annotated[
        list[int] | None, typer.Option(metavar="PORT", help="Port to leave out; may be repeated.")
    ] = None,
    exclude_network: Annotated[
        list[str] | None, typer.Option(metavar="CIDR", help="Network to leave out; may be repeated.")
    ] = None,
    transport: Transport = None,
    sensor: Annotated[
        str | None, typer.Option(help="Who captured it.", show_default="this machine's name")
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(help="Bytes per direction of a flow that are published; 0: all.", show_default="16384"),
    ] = None,
    bootstrap_servers: Servers = None,
    topic_prefix: Prefix = None,
    kafka: Kafka = None,
    http_port: Http = None,
) -> None:
    """Publish the heads of flows to the payloads topic: of files, or of interfaces until SIGTERM.

    Of a file nothing is lost; of an interface, what there is no room for is dropped and counted.
    """
    from vermilion_capture.sieve import Sieve
    from vermilion_capture.source import Policy

    config = settings(
        bootstrap_servers, kafka, topic_prefix=topic_prefix, sensor=sensor, http_port=http_port,
        interface=interface, bpf=bpf, promiscuous=promiscuous, snaplen=snaplen, ring_mib=ring_mib,
        workers=workers, depth=depth, exclude_port=exclude_port, exclude_network=exclude_network,
        transport=transport,
    )  # fmt: skip
    given = [*(read or []), *(files or [])]
    if given and interface:
        raise typer.BadParameter("name files or interfaces, not both", param_hint="-i")
    paths = capture_files(given, optional=bool(config.interface))
    policy = Policy(
        config.depth, tuple(config.exclude_port), tuple(config.exclude_network), tuple(config.transport)
    )
    try:
        Sieve(0, policy.ports, policy.networks)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--exclude-network") from None
    if paths:
        _files(paths, config, policy)
    elif config.workers == 1:
        _alone(config, policy)
    else:
        _together(config, policy)


def _files(paths: list[Path], config: "Settings", policy: "Policy") -> None:
    from vermilion_capture.capturefile import CaptureError
    from vermilion_capture.source import FileSource

    failed = 0
    with (
        publishing(config) as session,
        served(config, session.numbers) as health,
        bytes_read() as progress,
        interrupts(at_once),  # between two captures; within one, its source ends its run first
    ):
        for path in paths:
            try:
                source = FileSource(path, config.sensor, policy)

                def on(source: FileSource = source) -> None:
                    health.beat()
                    progress(source.consumed, source.size)

                session.publish(source, str(path), on)
            except CaptureError as error:
                failed += 1
                typer.echo(f"vermilion: error: {error}", err=True)
    if failed:
        raise typer.Exit(1)


def _open(config: "Settings", groups: dict[str, int] | None = None) -> "LiveCapture":
    from vermilion_capture.afpacket import Options
    from vermilion_capture.live import LiveCapture

    options = Options(config.bpf or "", config.promiscuous, config.snaplen, config.ring_mib)
    return LiveCapture(config.interface, options, groups)


def _alone(config: "Settings", policy: "Policy") -> None:
    """One process reads the interfaces."""
    opened = _open(config)
    with (
        closing(opened),
        publishing(config) as session,
        served(config, session.numbers) as health,
        status_line() as show,
    ):

        def tell(numbers: "Numbers") -> None:
            health.beat()
            show(numbers)

        _live(config, policy, opened, session, tell)


def _together(config: "Settings", policy: "Policy") -> None:
    """Several processes share the interfaces' flows."""
    from vermilion_capture.workers import Workers

    def open_all() -> list["LiveCapture"]:
        groups: dict[str, int] = {}
        captures: list[LiveCapture] = []
        try:
            for _ in range(config.workers):
                captures.append(_open(config, groups))  # noqa: PERF401
        except Exception:
            for each in captures:
                each.close()
            raise
        return captures

    def work(opened: "LiveCapture", tell: "Callable[[Numbers], None]") -> None:
        try:
            with publishing(config, quiet=True) as session:
                try:
                    _live(config, policy, opened, session, tell)
                finally:
                    try:
                        session.settle()
                    finally:
                        tell(session.numbers())
        except VermilionError as error:
            typer.echo(f"vermilion: error: {error}", err=True)
            raise typer.Exit(1) from None

    team = Workers(open_all, work)
    try:
        with interrupts(team.stop), status_line() as show, served(config, team.numbers) as health:

            def tick() -> None:
                health.beat()
                show(team.numbers())

            team.run(tick)
    except KeyboardInterrupt:
        pass  # told to end, they have ended what they did
    finally:
        tell_end(team.numbers())


def _live(
    config: "Settings",
    policy: "Policy",
    opened: "LiveCapture",
    session: "Session",
    tell: "Callable[[Numbers], None]",
) -> None:
    from vermilion_capture.live import LiveSource

    # Of what it publishes itself, each record would be captured and published, without an end.
    policy = replace(policy, brokers=session.brokers())
    source = LiveSource(opened, config.sensor, policy)
    next_time = 0.0

    def on() -> None:
        nonlocal next_time
        if (now := time.monotonic()) >= next_time:
            next_time = now + _TELL_SECONDS
            tell(session.numbers())

    try:
        session.publish(source, ", ".join(each.name for each in opened.interfaces), on)
    except KeyboardInterrupt:
        if not source.drained:  # told twice to end: at once, then
            raise
