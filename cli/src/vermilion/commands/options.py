"""Options that several commands share, and the settings they make."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from vermilion_pipeline.settings import Settings, is_secret, load


class TransportName(StrEnum):
    """The transport protocols of which capture publishes."""

    TCP = "tcp"
    UDP = "udp"


Files = Annotated[
    list[Path] | None, typer.Argument(metavar="FILE…", help="Capture files; -: standard input.")
]
Read = Annotated[
    list[Path] | None,
    typer.Option("--read", "-r", metavar="FILE", help="Capture file, - for standard input; may be repeated."),
]
Servers = Annotated[
    str | None,
    typer.Option(
        "--bootstrap-servers",
        "-b",
        metavar="HOST:PORT,…",
        help="Kafka's addresses.",
        show_default="VERMILION_BOOTSTRAP_SERVERS or 127.0.0.1:9092",
    ),
]
Prefix = Annotated[
    str | None, typer.Option("--topic-prefix", help="Before each topic's name.", show_default="vermilion.")
]
Kafka = Annotated[
    list[str] | None,
    typer.Option("-X", metavar="NAME=VALUE", help="Any librdkafka setting; may be repeated."),
]
Http = Annotated[
    int | None,
    typer.Option("--http-port", help="Port of /healthz, /readyz and /metrics; 0: none.", show_default="0"),
]
Instance = Annotated[
    str | None,
    typer.Option("--instance", help="This replica's stable name.", show_default="one for this run"),
]
Database = Annotated[
    Path | None,
    typer.Option(
        "--fp_db",
        "-d",
        metavar="DB",
        help="Fingerprint database (JSON lines, plain or gzip) or knowledge file to use instead.",
    ),
]
KeyLog = Annotated[
    Path | None,
    typer.Option(
        "--sslkeylogfile",
        "-s",
        metavar="KEYLOG",
        help="Key log (SSLKEYLOGFILE); the HTTP in the TLS connections whose secrets it has is told, too.",
    ),
]
Depth = Annotated[
    int, typer.Option("--depth", min=0, help="Bytes per direction of a flow that are looked at; 0: all.")
]
Transport = Annotated[
    list[TransportName] | None,
    typer.Option(
        "--transport",
        help="What is published of; may be repeated.",
        show_default="both",
        case_sensitive=False,
    ),
]

_STDIN = Path("-")


def settings(servers: str | None, kafka: list[str] | None, **flags: Any) -> Settings:
    """The settings, flags first. Raises SettingsError; typer.BadParameter for a wrong ``-X``."""
    passed = pairs(kafka, "-X")
    for name in passed:
        if is_secret(name):
            raise typer.BadParameter(
                f"{name}: not on a command line, which every user of this machine can read; "
                "give it in VERMILION_KAFKA, or name its file in kafka_secret_files",
                param_hint="-X",
            )
    found = load(bootstrap_servers=servers, **flags)
    found.kafka = {**found.kafka, **passed}
    return found


def pairs(items: list[str] | None, option: str) -> dict[str, str]:
    """What was given to ``option`` as NAME=VALUE. Raises typer.BadParameter for what is not that."""
    found = {}
    for item in items or []:
        name, equals, value = item.partition("=")
        if not equals:
            raise typer.BadParameter(f"{item}: NAME=VALUE is expected", param_hint=option)
        found[name] = value
    return found


def capture_files(paths: list[Path], *, optional: bool = False) -> list[Path]:
    """The files; ``-`` is standard input. Wrong usage: a directory, ``-`` twice, none if not ``optional``.

    Raises typer.BadParameter.
    """
    if paths.count(_STDIN) > 1:
        raise typer.BadParameter("standard input (-) can be read once")
    for path in paths:
        if path != _STDIN and path.is_dir():
            raise typer.BadParameter(f"{path} is a directory; name the capture files in it")
    if not paths and not optional:
        raise typer.BadParameter("name at least one capture file", param_hint="-r FILE")
    return paths
