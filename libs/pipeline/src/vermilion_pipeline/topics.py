"""The flow, in one table: each topic, what it carries, who writes it and who reads it."""

from dataclasses import dataclass

PREFIX = "vermilion."


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. Its Kafka name is the deployment's prefix and ``name``."""

    name: str
    schema: str | None
    """The schema's file in ``schemas/``, without ``.avsc``; None: the original bytes."""
    key: str
    written_by: tuple[str, ...]
    read_by: tuple[str, ...]

    def full_name(self, prefix: str = PREFIX) -> str:
        """The topic's name on the broker."""
        return prefix + self.name


_FLOW = "Community ID of the inner flow, the same for both directions"

PAYLOADS = Topic("payloads", "payload", _FLOW, ("capture",), ("fingerprint",))
FINGERPRINTS = Topic("fingerprints", "fingerprint", _FLOW, ("fingerprint",), ("classify",))
CLASSIFIED = Topic("classified", "classification", _FLOW, ("classify",), ("dashboards",))
DEADLETTER = Topic("deadletter", None, "the original key", ("fingerprint", "classify"), ("operators",))
SENSORS = Topic("sensors", "sensor", "the sensor's name", ("capture",), ("dashboards", "operators"))

TOPICS = (PAYLOADS, FINGERPRINTS, CLASSIFIED, DEADLETTER, SENSORS)
BY_NAME = {topic.name: topic for topic in TOPICS}
