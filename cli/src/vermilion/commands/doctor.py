"""``vermilion doctor``: is everything here that the pipeline needs? If not, what to do."""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape

from vermilion.commands.options import Kafka, Prefix, Servers, settings
from vermilion.errors import CommandFailed
from vermilion_pipeline.errors import VermilionError
from vermilion_pipeline.ports import AccessDenied, Broker
from vermilion_pipeline.rights import ROLES, of
from vermilion_pipeline.settings import Settings, masked
from vermilion_pipeline.topics import TOPICS

RoleName = StrEnum("RoleName", list(ROLES))  # type: ignore[misc]


class Check(NamedTuple):
    """One thing looked at; ``look`` tells what it found, or raises one of the errors we tell."""

    name: str
    look: Callable[[], str]


def doctor(
    role: Annotated[
        RoleName | None,
        typer.Option("--role", help="Whose rights to check.", show_default="everybody's"),
    ] = None,
    interface: Annotated[
        list[str] | None,
        typer.Option("--interface", "-i", metavar="IF", help="Interface to check; may be repeated."),
    ] = None,
    bootstrap_servers: Servers = None,
    topic_prefix: Prefix = None,
    kafka: Kafka = None,
) -> None:
    """Check knowledge, schemas, broker, topics and rights, and tell the remedy for what is amiss."""
    config = settings(bootstrap_servers, kafka, topic_prefix=topic_prefix, interface=interface)
    console = Console(soft_wrap=True, highlight=False)
    ill = 0
    for check in _checks(config, [role.value] if role else list(ROLES)):
        try:
            console.print(f"[green]ok  [/]  {check.name}: {escape(check.look())}")
        except VermilionError as error:
            ill += 1
            console.print(f"[red]ill [/]  {check.name}: {escape(str(error))}")
    if ill:
        raise typer.Exit(1)


def _checks(config: Settings, roles: list[str]) -> list[Check]:
    brokers: list[Broker] = []

    def broker() -> str:
        from vermilion_pipeline.service import broker_and_codec

        found, _ = broker_and_codec(config)
        count = len(found.topics())
        brokers.append(found)
        return f"{config.bootstrap_servers} answers, {count} topics"

    def topics() -> str:
        if not brokers:
            raise CommandFailed("not looked at, since the broker does not answer")
        seen = {right.name for role in roles for right in ROLES[role] if right.resource == "topic"}
        names = [topic.full_name(config.topic_prefix) for topic in TOPICS if topic.name in seen]
        there = brokers[0].partitions(names)
        return ", ".join(f"{name}: {count} partitions" for name, count in there.items())

    def rights() -> str:
        if not brokers:
            raise CommandFailed("not looked at, since the broker does not answer")
        wanted = {role: of(role, config.topic_prefix) for role in roles}
        found = brokers[0].missing(right for rights in wanted.values() for right in rights)
        if lacking := [
            f"{role} lacks {right}" for role, rights in wanted.items() for right in rights if right in found
        ]:
            raise AccessDenied(f"{'; '.join(lacking)}; grant it, as docs/security.md has it")
        return f"all that {', '.join(roles)} need"

    printable = masked(config.kafka_config(), config.kafka_secret_files)
    shown = ", ".join(f"{name}={value}" for name, value in printable.items())
    return [
        Check("settings", lambda: shown),
        Check("knowledge", _knowledge),
        Check("schemas", _schemas),
        Check("broker", broker),
        Check("topics", topics),
        Check("rights", rights),
        *(Check(f"interface {name}", partial(_interface, name)) for name in config.interface),
    ]


def _interface(name: str) -> str:
    """It is there, up and may be read: what opening it shows."""
    from vermilion_capture.afpacket import Options, state
    from vermilion_capture.live import LiveCapture

    capture = LiveCapture([name], Options(ring_mib=2))
    by_ring = capture.interfaces[0].reader.by_ring
    capture.close()
    now = state(name)
    if now is None or not now.up:
        raise CommandFailed(f"{name}: is down; ip link set {name} up")
    return f"up, MTU {now.mtu}, may be read" + ("" if by_ring else "; the kernel gives no ring: slower")


def _knowledge() -> str:
    from vermilion_classify.sources import sources
    from vermilion_classify.store import load

    for source in sources():
        if (bad := source.missing()) and not source.optional:
            raise CommandFailed(
                f"{source.directory}: {', '.join(bad)} missing or changed; fetch with: vermilion db fetch"
            )
    knowledge = load()
    absent = [source.name for source in sources() if not source.present]
    told = "{name} {version}".format(**knowledge.version) + f", {knowledge.entries:,} fingerprints"
    return told + (f"; without {', '.join(absent)} (vermilion db fetch)" if absent else "")


def _schemas() -> str:
    from vermilion_pipeline import schemas

    names = [topic.schema for topic in TOPICS if topic.schema]
    for name in names:
        schemas.parsed(schemas.text(name))
    return f"{', '.join(names)} in {schemas.schema_dir()}"
