"""``vermilion doctor``: is everything here that the pipeline needs? If not, what to do."""

from collections.abc import Callable
from typing import NamedTuple

import typer
from rich.console import Console
from rich.markup import escape

from vermilion.commands.options import Kafka, Prefix, Servers, settings
from vermilion.errors import TOLD, CommandFailed
from vermilion_pipeline.ports import Broker, UnknownTopic
from vermilion_pipeline.settings import Settings, masked
from vermilion_pipeline.topics import FINGERPRINTS, PAYLOADS, TOPICS


class Check(NamedTuple):
    """One thing looked at; ``look`` tells what it found, or raises one of the errors we tell."""

    name: str
    look: Callable[[], str]


def doctor(bootstrap_servers: Servers = None, topic_prefix: Prefix = None, kafka: Kafka = None) -> None:
    """Check knowledge, schemas, broker and topics, and tell the remedy for what is amiss."""
    config = settings(bootstrap_servers, kafka, topic_prefix=topic_prefix)
    console = Console(soft_wrap=True, highlight=False)
    ill = 0
    for check in _checks(config):
        try:
            console.print(f"[green]ok  [/]  {check.name}: {escape(check.look())}")
        except TOLD as error:
            ill += 1
            console.print(f"[red]ill [/]  {check.name}: {escape(str(error))}")
    if ill:
        raise typer.Exit(1)


def _checks(config: Settings) -> list[Check]:
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
        names = [topic.full_name(config.topic_prefix) for topic in TOPICS]
        there = brokers[0].topics()
        if missing := [name for name in names if name not in there]:
            raise UnknownTopic(f"{', '.join(missing)} missing; create with: vermilion topics create")
        first, second = (there[topic.full_name(config.topic_prefix)] for topic in (PAYLOADS, FINGERPRINTS))
        return f"all there; {first} partitions of payloads, {second} of fingerprints"

    def rights() -> str:
        if not brokers:
            raise CommandFailed("not looked at, since the broker does not answer")
        # Begins and aborts a transaction: needs Write on the transactional id, leaves nothing.
        producer = brokers[0].transactional(f"{config.topic_prefix}doctor")
        producer.begin()
        producer.abort()
        producer.close()
        return "may run transactions"

    shown = ", ".join(f"{name}={value}" for name, value in masked(config.kafka_config()).items())
    return [
        Check("settings", lambda: shown),
        Check("knowledge", _knowledge),
        Check("schemas", _schemas),
        Check("broker", broker),
        Check("topics", topics),
        Check("rights", rights),
    ]


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
