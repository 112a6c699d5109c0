"""``vermilion replay``: puts records back into the flow, of captures or of dead letters."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from vermilion.commands.options import Depth, Kafka, Prefix, Servers, Transport, TransportName, settings

if TYPE_CHECKING:
    from vermilion.replaying import Replay
    from vermilion.replaystate import Keeper
    from vermilion.verifying import Verifier
    from vermilion_capture.replay import Moment
    from vermilion_pipeline.settings import Settings


class Origin(StrEnum):
    """What to replay beside captures."""

    DEADLETTER = "deadletter"


def replay(
    named: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE|DIR|GLOB|-…",
            help="Captures: files, folders (all that are in them), quoted patterns, or standard input.",
        ),
    ] = None,
    origin: Annotated[
        Origin | None, typer.Option("--from", help="Put back the dead letters instead.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="With --from deadletter: put back so many at most.")
    ] = None,
    speed: Annotated[
        str,
        typer.Option(
            metavar="1|10|max", help="So many times as fast as it was captured; max: as fast as it goes."
        ),
    ] = "max",
    rate: Annotated[
        float | None, typer.Option(metavar="N", help="At most N records (published packets) a second.")
    ] = None,
    loop: Annotated[
        int, typer.Option(min=0, metavar="N", help="Make N passes, each a run of its own; 0: until Ctrl-C.")
    ] = 1,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="T",
            help="Only packets from T on: ISO 8601, seconds since 1970, or +seconds after the first.",
        ),
    ] = None,
    end: Annotated[str | None, typer.Option(metavar="T", help="Only packets before T.")] = None,
    bpf: Annotated[
        str | None, typer.Option(metavar="F", help="Only packets that match this filter (pcap-filter(7)).")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the last replay was interrupted.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Wait until all is answered in classified; tell what is not.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(min=0.1, metavar="SECONDS", help="With --verify: wait so long for another answer."),
    ] = 60.0,
    sensor: Annotated[
        str | None, typer.Option(help="Who captured it.", show_default="this machine's name")
    ] = None,
    depth: Depth = 16_384,
    transport: Transport = None,
    bootstrap_servers: Servers = None,
    topic_prefix: Prefix = None,
    kafka: Kafka = None,
) -> None:
    """Publish captures as `vermilion capture` does: with their own timing, again and again, verified.

    Records have the capture's packet times and are marked as replayed. Interrupted, it says where it
    stopped, and --resume goes on. Exits 1 when anything was not acknowledged or a capture broke.
    """
    if origin is not None:
        if named:
            raise typer.BadParameter("captures, or --from deadletter; not both")
        _put_back(limit, settings(bootstrap_servers, kafka, topic_prefix=topic_prefix))
        return
    if limit is not None:
        raise typer.BadParameter("is for --from deadletter", param_hint="--limit")
    if not named:
        raise typer.BadParameter("name at least one capture, or --from deadletter", param_hint="FILE")
    if "-" in named and (len(named) > 1 or loop != 1 or resume):
        raise typer.BadParameter("standard input (-) can be read once: alone, without --loop and --resume")
    if verify and not loop:
        raise typer.BadParameter("needs an end; --loop 0 has none", param_hint="--verify")
    if rate is not None and not 0 < rate < float("inf"):
        raise typer.BadParameter("a number above 0 is expected", param_hint="--rate")
    from vermilion.captures import find
    from vermilion.commands.replaybar import replay_bar
    from vermilion.replaying import Order, Replay
    from vermilion_capture.replay import Choice
    from vermilion_capture.source import Policy
    from vermilion_pipeline.service import broker_and_codec, naming_rights

    factor = _speed(speed)
    if bpf is not None:
        _check(bpf)
    first, last = _moment(start, "--start"), _moment(end, "--end")
    config = settings(bootstrap_servers, kafka, topic_prefix=topic_prefix, sensor=sensor)
    if factor is not None or rate is not None:
        # A batch of 10 ms would be seen between packets that were 1 ms apart.
        config.kafka = {"linger.ms": "0", **config.kafka}
    transports = tuple(sorted({each.value for each in transport or TransportName}))
    order = Order(
        find(named, _tell),
        config.sensor,
        Policy(depth, transports=transports),
        Choice(first, last, bpf) if first or last or bpf else None,
        {
            "sensor": config.sensor,
            "depth": depth,
            "transport": ",".join(transports),
            "start": start,
            "end": end,
            "bpf": bpf,
            "loop": loop,
        },
        factor,
        rate,
        loop,
        verify,
        config.topic_prefix,
    )
    broker, codec = broker_and_codec(config)
    keeper = None if "-" in named else _keeper(named, config)
    role = "verify" if verify else "capture"
    try:
        with naming_rights(broker, role, config.topic_prefix), replay_bar() as show:
            _run(Replay(order, broker, codec, keeper, _tell, show), resume=resume, timeout=timeout)
    finally:
        if keeper:
            keeper.close()


def _run(replay: "Replay", *, resume: bool, timeout: float) -> None:
    from vermilion.interrupts import at_once, interrupts
    from vermilion_capture.source import summary

    publisher = replay.publisher
    try:
        with interrupts(at_once):
            replay.begin(resume=resume)
            replay.run()
    finally:
        try:
            publisher.close()
        finally:
            _tell(
                f"in all: {replay.passes} runs: {summary(replay.counts)}; {publisher.acknowledged} of "
                f"{publisher.produced} records acknowledged, marks among them"
            )
    verified = _verified(replay.verifier, timeout) if replay.verifier else True
    if replay.failed or not verified:
        raise typer.Exit(1)


def _verified(verifier: "Verifier", timeout: float) -> bool:
    try:
        verdict = verifier.wait(timeout)
    finally:
        verifier.close()
    for what in sorted(verdict.missing.values()):
        typer.echo(f"not answered: {what}")
    for hint in verdict.hints:
        _tell(f"hint: {hint}")
    if verdict.strange:
        _tell(f"{verdict.strange} answers of these runs that were not expected, or came twice")
    answered = verdict.expected - len(verdict.missing)
    share = 100 * answered / verdict.expected if verdict.expected else 100.0
    # Rounded down: 100 % is all of it.
    _tell(f"{answered} of {verdict.expected} answered ({int(share * 10) / 10:g} %)")
    return verdict.clean


def _put_back(limit: int | None, config: "Settings") -> None:
    """Put back the dead letters that are there at the start, each once."""
    from vermilion_pipeline.deadletters import put_back
    from vermilion_pipeline.service import broker_and_codec, naming_rights

    broker, _ = broker_and_codec(config)
    with naming_rights(broker, "replay", config.topic_prefix):
        report = put_back(broker, config.topic_prefix, limit, _tell)
    told = ", ".join(f"{count} to {topic}" for topic, count in sorted(report.put_back.items()))
    _tell(f"{report.put_back.total()} dead letters put back{': ' if told else ''}{told}; {report.left} left")
    if report.left:
        raise typer.Exit(1)


def _tell(line: str) -> None:
    typer.echo(line, err=True)


def _keeper(named: list[str], config: "Settings") -> "Keeper | None":
    from vermilion.replaystate import Keeper, Unkept

    try:
        return Keeper(named, config.bootstrap_servers, config.topic_prefix)
    except Unkept as error:
        _tell(f"this replay cannot be resumed when it is interrupted: {error}")
        return None


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise typer.BadParameter(f"{text}: a number above 0 is expected, or max", param_hint="--speed")
    return factor


def _check(bpf: str) -> None:
    """Raise typer.BadParameter for what is no filter of Ethernet frames, before anything is begun."""
    from vermilion_capture.bpf import FilterError, compile_filter

    try:
        compile_filter(bpf, 1)
    except FilterError as error:
        raise typer.BadParameter(str(error), param_hint="--bpf") from None


def _moment(text: str | None, option: str) -> "Moment | None":
    """A time of the capture: +seconds, seconds since 1970, or ISO 8601 (UTC unless it says otherwise)."""
    from vermilion_capture.replay import Moment

    if text is None:
        return None
    try:
        seconds = float(text)
        if not 0 <= seconds < 1e12:
            raise typer.BadParameter(f"{text}: no time", param_hint=option)
        return Moment(round(seconds * 1e6), text.startswith("+"))
    except ValueError:
        pass
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text}: ISO 8601, seconds since 1970 or +seconds are expected", param_hint=option
        ) from None
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return Moment(round(since.total_seconds() * 1e6))
