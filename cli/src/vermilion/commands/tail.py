"""``vermilion tail``: look into a topic."""

import sys
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Annotated, Any

import orjson
import typer

from vermilion.commands.options import Kafka, Prefix, Servers, settings
from vermilion.events import ROW_HEAD, payload_json, printable, row, sensor_json, tail_json
from vermilion.interrupts import enough
from vermilion_pipeline.codec import Codec, DecodeError
from vermilion_pipeline.ports import Broker, Message, RegistryUnavailable
from vermilion_pipeline.topics import BY_NAME, Topic

TopicName = StrEnum("TopicName", list(BY_NAME))  # type: ignore[misc]
_CLASSIFIED = TopicName("classified")
# Topics that have no table; the others are events.
_JSON: dict[str, Callable[[Any], bytes]] = {"payloads": payload_json, "sensors": sensor_json}
_REGISTRY_PAUSE = 1.0
_WIDTHS = (24, 24, 15, 32, 24, 6, 8)


class Format(StrEnum):
    """How a record is shown."""

    TABLE = "table"
    JSON = "json"


class From(StrEnum):
    """Where to begin."""

    BEGINNING = "beginning"
    NOW = "now"


def tail(
    topic: Annotated[TopicName, typer.Argument(help="Which topic.")] = _CLASSIFIED,
    format: Annotated[  # noqa: A002 (the option's name)
        Format | None,
        typer.Option("--format", help="How to show.", show_default="table on a terminal, else json"),
    ] = None,
    start: Annotated[From, typer.Option("--from", help="Where to begin.")] = From.NOW,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many records.")] = None,
    quiet_for: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="End when nothing has come for so long.")
    ] = None,
    bootstrap_servers: Servers = None,
    topic_prefix: Prefix = None,
    kafka: Kafka = None,
) -> None:
    """Follow a topic: committed records only, until Ctrl-C, --limit or --quiet-for."""
    from vermilion_pipeline.service import broker_and_codec, naming_rights

    config = settings(bootstrap_servers, kafka, topic_prefix=topic_prefix)
    broker, codec = broker_and_codec(config)
    shown = format or (Format.TABLE if sys.stdout.isatty() else Format.JSON)
    chosen = BY_NAME[topic.value]
    show = _json_line(chosen, codec) if shown is Format.JSON else _table_line(chosen, codec)
    messages = follow(
        broker, chosen.full_name(config.topic_prefix), beginning=start is From.BEGINNING, quiet_for=quiet_for
    )
    with naming_rights(broker, "tail", config.topic_prefix):
        for count, message in enumerate(messages, 1):
            line = _patiently(show, message)
            try:
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                enough()
            if count == limit:
                break


def follow(broker: Broker, topic: str, *, beginning: bool, quiet_for: float | None) -> Iterator[Message]:
    """The topic's records; ends when none has come for ``quiet_for`` seconds. Raises BrokerError."""
    reader = broker.reader([topic], beginning=beginning)
    try:
        last = time.monotonic()
        while quiet_for is None or time.monotonic() - last < quiet_for:
            messages = reader.poll(500, 0.2)
            yield from messages
            if messages:
                last = time.monotonic()
    finally:
        reader.close()


def _patiently(show: Callable[[Message], bytes], message: Message) -> bytes:
    """The record's line; waits for a schema registry that does not answer, and says so once."""
    told = False
    while True:
        try:
            return show(message)
        except RegistryUnavailable as error:
            if not told:
                typer.echo(f"vermilion: waiting: {error}", err=True)
            told = True
            time.sleep(_REGISTRY_PAUSE)


def _json_line(topic: Topic, codec: Codec) -> Callable[[Message], bytes]:
    if topic.schema is None:
        return _dead_letter
    decode = codec.decoder(topic)
    to_json: Callable[[Any], bytes] = _JSON.get(topic.name, tail_json)

    def show(message: Message) -> bytes:
        try:
            return to_json(decode(message.value))
        except DecodeError as error:
            return _undecoded(message, error)

    return show


def _table_line(topic: Topic, codec: Codec) -> Callable[[Message], bytes]:
    if topic.schema is None or topic.name in _JSON:
        return _json_line(topic, codec)
    decode = codec.decoder(topic)
    head = [_columns(ROW_HEAD)]

    def show(message: Message) -> bytes:
        try:
            line = _columns(row(decode(message.value)))
        except DecodeError as error:
            return _undecoded(message, error)
        return (head.pop() if head else b"") + line

    return show


def _columns(cells: tuple[str, ...]) -> bytes:
    return (
        "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip().encode()
        + b"\n"
    )


def _undecoded(message: Message, error: DecodeError) -> bytes:
    typer.echo(f"{message.partition}: offset {message.offset}: {error}", err=True)
    return b""


def _headers(message: Message) -> dict[str, str | list[str]]:
    """By name; a list where a name comes more than once, as Kafka allows."""
    found: dict[str, list[str]] = {}
    for name, value in message.headers:
        found.setdefault(name, []).append(printable(value.decode("utf-8", "backslashreplace"), 1024))
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _dead_letter(message: Message) -> bytes:
    return orjson.dumps(
        {
            "partition": message.partition.number,
            "offset": message.offset,
            "headers": _headers(message),
            "key": message.key.hex() if message.key is not None else None,
            "value": message.value.hex() if message.value is not None else None,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
