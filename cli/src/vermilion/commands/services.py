"""``vermilion fingerprint`` and ``classify``: the services that consume."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from vermilion.commands.options import (
    Database,
    Http,
    Instance,
    Kafka,
    Prefix,
    Servers,
    settings,
)


def fingerprint(
    key_log: Annotated[
        Path | None,
        typer.Option(
            "--key-log",
            metavar="FILE",
            help="Key log (SSLKEYLOGFILE), followed as it grows; the HTTP in the TLS connections whose "
            "secrets it has is told, too.",
        ),
    ] = None,
    bootstrap_servers: Servers = None,
    topic_prefix: Prefix = None,
    kafka: Kafka = None,
    http_port: Http = None,
    instance: Instance = None,
) -> None:
    """Reassemble flow heads from the payloads topic and emit fingerprint events. Runs until SIGTERM."""
    from vermilion.commands.decrypting import follow_key_log
    from vermilion_fingerprint.stage import FingerprintStage
    from vermilion_pipeline.service import serve

    config = settings(
        bootstrap_servers, kafka, topic_prefix=topic_prefix, http_port=http_port, instance=instance,
        key_log=key_log,
    )  # fmt: skip

    def stage() -> FingerprintStage:
        return FingerprintStage(key_log=follow_key_log(config.key_log) if config.key_log else None)

    serve(config, stage)


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
