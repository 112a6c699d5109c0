"""What only developers and tests need: an Apache Kafka without containers."""
