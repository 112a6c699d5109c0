"""Kafka's twin in memory, for the demo and for fast tests.

It keeps what the runtime relies on (``tests/conformance`` runs on both brokers): keyed partitions,
read-committed logs whose offsets have gaps, consumer groups that rebalance cooperatively, fenced
transactions. It keeps every record as long as the broker lives.
"""

from vermilion_pipeline.memory.broker import MemoryBroker

__all__ = ["MemoryBroker"]
