"""What ``vermilion capture`` publishes with: the producer, the endpoints, what is told when it ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from vermilion.interrupts import interrupts

if TYPE_CHECKING:
    from vermilion_capture.metrics import Numbers
    from vermilion_capture.publish import Publisher
    from vermilion_capture.source import Source
    from vermilion_pipeline.health import Health
    from vermilion_pipeline.settings import Settings


class Session:
    """A publisher, and what all the sources that it was given have counted."""

    def __init__(self, publisher: "Publisher") -> None:
        self._publisher = publisher
        self._source: Source | None = None
        self._before: Numbers | None = None

    def numbers(self) -> "Numbers":
        """What has been counted so far. For any thread."""
        from vermilion_capture.metrics import Numbers, numbers

        publisher = self._publisher
        now = numbers(publisher.total(), self._source, publisher.produced, publisher.acknowledged)
        before = self._before or Numbers()
        return now.plus(before)

    def publish(self, source: "Source", name: str, on: Callable[[], None]) -> None:
        """Publish a run, until it ends or a signal ends it, and tell what was read, however far that went.

        Raises the source's errors, KeyboardInterrupt, DeliveryError.
        """
        self._source = source
        try:
            with interrupts(source.stop):
                self._publisher.publish(source, on)
        finally:
            from vermilion_capture.metrics import Numbers, numbers

            _report(name, source)
            counted = numbers(Numbers().tally, source)
            self._before = counted._replace(flows=0).plus(self._before or Numbers())
            self._source = None

    def brokers(self) -> tuple[tuple[str, int], ...]:
        """Address and port of Kafka's nodes. Raises BrokerUnavailable."""
        return self._publisher.brokers()

    def settle(self) -> None:
        """Wait for the acknowledgments that are to come. Raises DeliveryError, AccessDenied."""
        self._publisher.close()


@contextmanager
def publishing(config: "Settings", *, quiet: bool = False) -> Iterator[Session]:
    """A session; at its end all is acknowledged, and told unless ``quiet``.

    Raises DeliveryError, AccessDenied, BrokerError.
    """
    from vermilion_capture.publish import Publisher
    from vermilion_pipeline.allocator import give_back
    from vermilion_pipeline.service import broker_and_codec, naming_rights

    give_back()
    broker, codec = broker_and_codec(config)
    with naming_rights(broker, "capture", config.topic_prefix):
        session = Session(Publisher(broker, codec, config.topic_prefix))
        try:
            yield session
        finally:
            try:
                session.settle()
            finally:
                if not quiet:
                    tell_end(session.numbers())


@contextmanager
def served(config: "Settings", ask: Callable[[], "Numbers"]) -> Iterator["Health"]:
    """The endpoints, while inside."""
    from vermilion_capture.metrics import CaptureMetrics
    from vermilion_pipeline.health import Health
    from vermilion_pipeline.service import http_server

    health = Health()
    health.ready = True
    server = http_server(config, health, CaptureMetrics(ask).registry)
    try:
        yield health
    finally:
        if server:
            server.close()


def tell_end(numbers: "Numbers") -> None:
    """Tell what was acknowledged and what was lost."""
    told = f"{numbers.acknowledged} of {numbers.produced} records acknowledged"
    if drops := ", ".join(f"{count} {cause}" for cause, count in numbers.tally.drops().items() if count):
        told += f"; dropped: {drops}"
    typer.echo(told, err=True)


def _report(name: str, source: "Source") -> None:
    from vermilion_capture.source import summary

    typer.echo(
        f"{name}: run {source.run}: {summary(source.counts)}"
        + (f"; {source.sieve.merged} frames were merged by offload" if source.sieve.merged else ""),
        err=True,
    )
