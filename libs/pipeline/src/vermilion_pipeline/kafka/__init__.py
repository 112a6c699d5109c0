"""Apache Kafka, through confluent-kafka (librdkafka)."""

from vermilion_pipeline.kafka.broker import KafkaBroker

__all__ = ["KafkaBroker"]
