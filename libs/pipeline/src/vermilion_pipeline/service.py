"""Runs a stage as a service: settings in, an exit code out."""

import logging
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from prometheus_client import CollectorRegistry

from vermilion_pipeline import allocator, logs, rights
from vermilion_pipeline.codec import Codec
from vermilion_pipeline.health import Health, HealthServer
from vermilion_pipeline.metrics import Metrics
from vermilion_pipeline.ports import AccessDenied, Broker
from vermilion_pipeline.runtime import Runtime, Totals
from vermilion_pipeline.settings import Settings, SettingsError
from vermilion_pipeline.stage import ObservedStage, Stage


def broker_and_codec(settings: Settings) -> tuple[Broker, Codec]:
    """The Kafka cluster and the codec that the settings name."""
    # Only here: parsers, inference and scan must not need Kafka's client.
    from vermilion_pipeline.kafka import KafkaBroker  # noqa: PLC0415

    registry = None
    if settings.registry_url:
        from vermilion_pipeline.registry import SchemaRegistry  # noqa: PLC0415

        registry = SchemaRegistry(settings.registry_url)
    return KafkaBroker(settings.kafka_config()), Codec(registry, settings.topic_prefix)


@contextmanager
def naming_rights(broker: Broker, role: str, prefix: str) -> Iterator[None]:
    """Name in an AccessDenied each right that ``role`` lacks; the broker's own words name few."""
    try:
        yield
    except AccessDenied as error:
        lacking = broker.missing(rights.of(role, prefix))
        named = ", ".join(map(str, lacking)) or "none of those that we know of"
        raise AccessDenied(
            f"{error}; {role} lacks: {named}. Grant it to this user, as docs/security.md has it"
        ) from None


def serve(settings: Settings, make_stage: Callable[[], Stage]) -> Totals:
    """Run until SIGTERM or SIGINT; the batch in hand is then committed.

    Raises the broker's and the stage's own errors when they cannot start or go on.
    """
    allocator.give_back()
    logs.configure(settings.log_style, settings.log_level)
    logging.getLogger("vermilion_pipeline.kafka.librdkafka").setLevel(logging.WARNING)
    stop = stop_on_signals()
    stage = make_stage()
    metrics, health = Metrics(stage.name), Health()
    if isinstance(stage, ObservedStage):
        metrics.observe(stage.observed)
    server = http_server(settings, health, metrics.registry)
    try:
        broker, codec = broker_and_codec(settings)
        with naming_rights(broker, stage.name, settings.topic_prefix):
            runtime = Runtime(
                broker,
                stage,
                codec,
                prefix=settings.topic_prefix,
                instance=settings.instance or uuid.uuid4().hex[:12],
                metrics=metrics,
                health=health,
                batch_records=settings.batch_records,
                batch_wait_seconds=settings.batch_wait_seconds,
            )
            runtime.run(stop)
    finally:
        if server:
            server.close()
    return runtime.totals


def http_server(settings: Settings, health: Health, registry: CollectorRegistry) -> HealthServer | None:
    """The endpoints, if a port is set. Raises SettingsError when it is taken."""
    if not settings.http_port:
        return None
    try:
        return HealthServer(settings.http_host, settings.http_port, health, registry)
    except OSError as error:
        raise SettingsError(f"http_port {settings.http_port}: {error.strerror}; choose another") from None


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()

    def handler(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGINT, handler)
    return stop
