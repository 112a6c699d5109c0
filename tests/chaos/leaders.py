"""Moves a partition's leader. confluent-kafka has no call that reassigns replicas, so one is spoken here."""

import socket
import struct
import time
from typing import Final

from confluent_kafka import ElectionType, TopicPartition
from confluent_kafka.admin import AdminClient

_ALTER_PARTITION_REASSIGNMENTS: Final = 45
_PATIENCE = 20.0


def leaders(client: AdminClient, topic: str) -> dict[int, int]:
    """The leader of each partition."""
    found = client.list_topics(topic, timeout=10).topics[topic].partitions
    return {number: partition.leader for number, partition in found.items()}


def move(client: AdminClient, bootstrap: tuple[str, int], topic: str, number: int) -> tuple[int, int]:
    """Make another replica the preferred leader, and have it elected: the leader before and after.

    Raises OSError, TimeoutError.
    """
    partition = client.list_topics(topic, timeout=10).topics[topic].partitions[number]
    before = partition.leader
    others = [replica for replica in partition.replicas if replica != before]
    after = next(replica for replica in others if replica in partition.isrs)
    order = [after, *(replica for replica in partition.replicas if replica != after)]
    _reassign(bootstrap, topic, number, order)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        client.elect_leaders(ElectionType.PREFERRED, [TopicPartition(topic, number)])
        time.sleep(0.2)
        if leaders(client, topic)[number] == after:
            return before, after
    raise TimeoutError(f"{topic}[{number}] still has leader {before} after {_PATIENCE:.0f} s")


def _reassign(bootstrap: tuple[str, int], topic: str, number: int, replicas: list[int]) -> None:
    """AlterPartitionReassignments, version 0 (Kafka's protocol guide; compact types, tagged fields)."""
    name = topic.encode()
    body = struct.pack(">i", 10_000)
    body += bytes([2, len(name) + 1]) + name
    body += bytes([2]) + struct.pack(">i", number)
    body += bytes([len(replicas) + 1]) + struct.pack(f">{len(replicas)}i", *replicas)
    body += bytes(3)  # no tagged fields: of the partition, of the topic, of the request
    client = b"chaos"
    head = struct.pack(">hhih", _ALTER_PARTITION_REASSIGNMENTS, 0, 1, len(client)) + client + bytes(1)
    with socket.create_connection(bootstrap, timeout=10) as connection:
        connection.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        (length,) = struct.unpack(">i", _exactly(connection, 4))
        answer = _exactly(connection, length)
    # Correlation id, tags, throttle time, then the error of the whole request.
    (error,) = struct.unpack_from(">h", answer, 9)
    if error:
        raise OSError(f"reassigning {topic}[{number}] to {replicas}: Kafka's error {error}")


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise OSError("the broker closed the connection")
        data += part
    return data
