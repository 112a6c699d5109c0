"""The records of the topics, as the schemas in ``schemas/`` have them (a test compares them).

They are dictionaries, because that is what the Avro codec reads and writes. Times are
microseconds since 1970-01-01 UTC.
"""

from typing import TypedDict


class PacketTunnel(TypedDict):
    """A tunnel around a segment; addresses are packed."""

    kind: str
    src_ip: bytes
    dst_ip: bytes
    id: int | None


class Tunnel(TypedDict):
    """A tunnel around a message's flow; addresses are text."""

    kind: str
    src_ip: str
    dst_ip: str
    id: int | None


class Payload(TypedDict):
    """payload.avsc: one TCP segment or UDP datagram of a flow's head, or a mark in time."""

    kind: str
    sensor: str
    run: str
    replayed: bool
    time: int
    ordinal: int
    vlans: list[int]
    vni: int | None
    tunnels: list[PacketTunnel]
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


class Sensor(TypedDict):
    """sensor.avsc: a heartbeat of one run; numbers are of the interval that ends at ``time``."""

    sensor: str
    run: str
    replayed: bool
    time: int
    interval: int
    last: bool
    packets: int
    published: int
    dropped_kernel: int
    dropped_interface: int
    dropped_queue: int
    dropped_too_big: int
    dropped_undelivered: int
    blind: int


class TlsContext(TypedDict):
    """Context of a ClientHello."""

    server_name: str | None
    encrypted_client_hello: bool


class Certificate(TypedDict):
    """One certificate of a chain."""

    subject: str | None
    issuer: str | None
    not_before: str | None
    not_after: str | None
    sans: list[str]
    sha256: str


class CertificateContext(TypedDict):
    """Context of a server's certificates."""

    certificates: list[Certificate]


class HttpContext(TypedDict):
    """Context of an HTTP/1.x request."""

    user_agent: str | None
    host: str | None
    x_forwarded_for: str | None
    via: str | None
    uri: str | None


class HttpServerContext(TypedDict):
    """Context of an HTTP/1.x response."""

    via: str | None


class SshContext(TypedDict):
    """Context of one side's SSH_MSG_KEXINIT."""

    protocol: str


class QuicContext(TypedDict):
    """Context of a ClientHello in QUIC."""

    server_name: str | None
    encrypted_client_hello: bool
    version: str
    user_agent: str | None


class DtlsContext(TypedDict):
    """Context of a ClientHello in DTLS."""

    server_name: str | None
    encrypted_client_hello: bool


class HeaderField(TypedDict):
    """One header field."""

    name: str
    value: str


class DecryptedRequestContext(TypedDict):
    """Context of an HTTP request inside TLS."""

    method: str | None
    host: str | None
    uri: str | None
    user_agent: str | None
    x_forwarded_for: str | None
    via: str | None
    stream: int | None
    headers: list[HeaderField]


class DecryptedResponseContext(TypedDict):
    """Context of an HTTP response inside TLS."""

    status: str | None
    via: str | None
    stream: int | None
    promised: int | None
    headers: list[HeaderField]


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
    tunnels: list[Tunnel]
    src_ip: str
    dst_ip: str
    src_port: int
    dst_port: int
    protocol: int
    type: str
    fingerprints: dict[str, str]
    tls: TlsContext | None
    tls_certificate: CertificateContext | None
    http: HttpContext | None
    http_server: HttpServerContext | None
    ssh: SshContext | None
    quic: QuicContext | None
    dtls: DtlsContext | None
    tls_decrypt_http: DecryptedRequestContext | None
    tls_decrypt_http_server: DecryptedResponseContext | None
    tls_decrypt_h2: DecryptedRequestContext | None
    tls_decrypt_h2_server: DecryptedResponseContext | None
    reassembled: bool
    truncated: bool
    syn: str | None


class KnowledgeVersion(TypedDict):
    """Which knowledge gave an answer."""

    name: str
    version: str


class ProbableProcess(TypedDict):
    """One candidate."""

    process: str
    score: float
    sha256: str | None
    malware: bool | None


class Attribute(TypedDict):
    """What a database says of a process, and how probable it is."""

    name: str
    probability_score: float


class OperatingSystem(TypedDict):
    """An operating system that the sender may run."""

    name: str
    family: str
    version: str
    score: float


class Implementation(TypedDict):
    """Months, YYYY-MM, between which what a hello offers became available."""

    earliest: str
    latest: str


class Analysis(TypedDict):
    """What the knowledge base answers."""

    process: str
    score: float
    match: str
    probable_processes: list[ProbableProcess]
    category: str | None
    knowledge: KnowledgeVersion
    distance: float | None
    status: str
    layer: str | None
    malware: bool | None
    p_malware: float | None
    attributes: list[Attribute]
    os: list[OperatingSystem]
    implementation: Implementation | None


class Classification(Fingerprint):
    """classification.avsc: a Fingerprint event and what classify makes of it."""

    analysis: Analysis | None
