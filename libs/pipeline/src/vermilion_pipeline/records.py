"""The records of the topics, as the schemas in ``schemas/`` have them (a test compares them).

They are dictionaries, because that is what the Avro codec reads and writes. Times are
microseconds since 1970-01-01 UTC.
"""

from typing import TypedDict


class Payload(TypedDict):
    """payload.avsc: one TCP segment of a flow's head, or a mark in time."""

    kind: str
    sensor: str
    run: str
    replayed: bool
    time: int
    ordinal: int
    vlans: list[int]
    vni: int | None
    src_ip: bytes
    dst_ip: bytes
    src_port: int
    dst_port: int
    transport: int
    ttl: int
    ip_id: int
    seq: int
    ack: int
    flags: int
    window: int
    options: bytes
    payload: bytes
    missing: int


class TlsContext(TypedDict):
    """Context of a ClientHello."""

    server_name: str | None


class Fingerprint(TypedDict):
    """fingerprint.avsc: one fingerprinted message."""

    event_id: str
    sensor: str
    run: str
    replayed: bool
    event_start: int
    community_id: str
    vlans: list[int]
    vni: int | None
    src_ip: str
    dst_ip: str
    src_port: int
    dst_port: int
    protocol: int
    type: str
    fingerprints: dict[str, str]
    tls: TlsContext | None
    reassembled: bool
    truncated: bool


class KnowledgeVersion(TypedDict):
    """Which knowledge gave an answer."""

    name: str
    version: str


class ProbableProcess(TypedDict):
    """One candidate."""

    process: str
    score: float
    sha256: str | None


class Analysis(TypedDict):
    """What the knowledge base answers."""

    process: str
    score: float
    match: str
    probable_processes: list[ProbableProcess]
    category: str | None
    knowledge: KnowledgeVersion


class Classification(Fingerprint):
    """classification.avsc: a Fingerprint event and what classify makes of it."""

    analysis: Analysis | None
