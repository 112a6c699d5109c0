"""The schema registry: a real one, and none, a slow one and one that answers nonsense."""

import json
import logging
import subprocess
import sys
import threading
import time
import uuid
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from conftest import find_ports
from fingerprint.flowrecords import record
from pipeline.nonsense import Nonsense
from pipeline.test_runtime import Fragile

from vermilion.dev.registry import Registry
from vermilion_pipeline import codec as codecs
from vermilion_pipeline import registry as registries
from vermilion_pipeline import schemas
from vermilion_pipeline.codec import Codec, DecodeError
from vermilion_pipeline.health import Health
from vermilion_pipeline.memory import MemoryBroker
from vermilion_pipeline.metrics import Metrics
from vermilion_pipeline.ports import RegistryUnavailable, SchemaRefused
from vermilion_pipeline.registry import SchemaRegistry
from vermilion_pipeline.runtime import Runtime
from vermilion_pipeline.settings import SettingsError
from vermilion_pipeline.topics import PAYLOADS, TOPICS
from vermilion_pipeline.trial import trial

RECORD: Any = record(5, b"data", 24)
PREFIX = "test."
OURS = schemas.text("payload")
AN_ID = b"\x00\x00\x00\x00\x05a body"
NO_SCHEMAS = [
    "",
    "hello",
    '"hello"',
    "{}",
    "[]",
    "7",
    "null",
    "true",
    '{"type": 7}',
    '{"type": []}',
    '{"type": "record"}',
    '{"type": "record", "name": 7, "fields": 7}',
    '{"type": "array"}',
    '{"__fastavro_parsed": true, "__named_schemas": {}}',
    "[" * 100_000 + "]" * 100_000,
    '{"type": "array", "items": ' * 3_000 + '"int"' + "}" * 3_000,
]
"""What is no schema, by text; fastavro and the JSON parser fail on each in their own ways."""
UNKNOWN = b'{"error_code": 40403, "message": "Schema not found"}'
NONSENSE = [
    (200, b"<html>Welcome to nginx</html>"),
    (200, b"{}"),
    (200, b"[]"),
    (200, b"null"),
    (200, b""),
    (200, b'{"id": "seven", "schema": 7}'),
    (200, b'{"id": -1, "schema": null}'),
    *((200, json.dumps({"schema": text}).encode()) for text in NO_SCHEMAS),
    (200, b'{"schema": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    (200, b'{"schema": "hello", "schemaType": "AVRO", "references": []}'),
    (200, b'{"schema": "hello", "schemaType": 7}'),
    (200, b'{"schema": "hello", "references": 7}'),
    (404, b"<html>Not found</html>"),
    (404, b'{"error_code": 404, "message": "HTTP 404 Not Found"}'),
    (401, b'{"error_code": 401, "message": "Unauthorized"}'),
    (500, b'{"error_code": 50001, "message": "Error in the backend data store"}'),
    (503, b""),
]


@pytest.fixture
def client(registry_url: str) -> Iterator[SchemaRegistryClient]:
    """Give the ecosystem's own client of the real registry."""
    with SchemaRegistryClient({"url": registry_url}) as one:
        yield one


@pytest.fixture
def prefix() -> str:
    """Give a prefix of this test's own: the real registry is shared."""
    return f"{uuid.uuid4().hex[:8]}."


def without(field: str) -> str:
    """Our payload schema without one field, as an older version may have been."""
    schema = json.loads(OURS)
    schema["fields"] = [each for each in schema["fields"] if each["name"] != field]
    return json.dumps(schema)


def incompatible() -> str:
    """A schema under which ours cannot read what was written: a field of ours has another type."""
    schema = json.loads(OURS)
    schema["fields"][0] = {"name": schema["fields"][0]["name"], "type": "bytes"}
    return json.dumps(schema)


@pytest.mark.kafka
def test_a_schema_is_registered_once_and_is_backward_transitive(
    registry_url: str, client: SchemaRegistryClient, prefix: str
) -> None:
    subject = f"{prefix}payloads-value"
    data = Codec(SchemaRegistry(registry_url), prefix).encoder(PAYLOADS)(RECORD)
    (latest,) = [client.get_latest_version(subject)]
    assert data[:5] == b"\0" + int(latest.schema_id or 0).to_bytes(4, "big")
    assert json.loads(latest.schema.schema_str or "") == json.loads(OURS)
    assert client.get_compatibility(subject) == registries.COMPATIBILITY
    assert Codec(SchemaRegistry(registry_url), prefix).encoder(PAYLOADS)(RECORD) == data
    assert client.get_versions(subject) == [1]
    assert Codec(SchemaRegistry(registry_url), prefix).decoder(PAYLOADS)(data) == RECORD


@pytest.mark.kafka
def test_a_stricter_level_that_an_operator_chose_stays(
    registry_url: str, client: SchemaRegistryClient, prefix: str
) -> None:
    subject = f"{prefix}payloads-value"
    client.register_schema(subject, Schema(OURS.replace('"doc"', '"comment"'), "AVRO"))
    client.set_compatibility(subject, "FULL_TRANSITIVE")
    SchemaRegistry(registry_url).id_of(subject, OURS)
    assert client.get_compatibility(subject) == "FULL_TRANSITIVE"


@pytest.mark.kafka
def test_two_replicas_that_set_the_level_at_once_are_both_served(
    registry_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = SchemaRegistry(registry_url)
    really = registry._client.set_compatibility

    def conflict(subject: str, level: str) -> None:
        really(subject, level)
        raise SchemaRegistryError(409, 0, "A rule named 'COMPATIBILITY' already exists.")

    monkeypatch.setattr(registry._client, "set_compatibility", conflict)
    assert Codec(registry, prefix).encoder(PAYLOADS)(RECORD)
    monkeypatch.setattr(registry._client, "get_compatibility", lambda subject: "NONE")
    with pytest.raises(SchemaRefused, match="already exists"):
        registry.id_of(f"{prefix}other-value", OURS)


@pytest.mark.kafka
def test_an_incompatible_schema_is_refused_and_nothing_is_produced(
    registry_url: str, client: SchemaRegistryClient, prefix: str
) -> None:
    client.register_schema(f"{prefix}fingerprints-value", Schema(incompatible(), "AVRO"))
    broker = prepared(prefix, [Codec().encoder(PAYLOADS)(RECORD)])
    one = runtime_on(broker, prefix, Codec(SchemaRegistry(registry_url), prefix))
    with pytest.raises(SchemaRefused, match=rf"refuses the schema of {prefix}fingerprints-value"):
        one.run(threading.Event())
    assert visible(broker, prefix) == 0
    assert client.get_versions(f"{prefix}fingerprints-value") == [1]


@pytest.mark.kafka
def test_only_the_registrys_own_word_makes_a_dead_letter(registry_url: str, prefix: str) -> None:
    decode = Codec(SchemaRegistry(registry_url), prefix).decoder(PAYLOADS)
    with pytest.raises(DecodeError, match="knows no schema id 2147483000"):
        decode(b"\0" + (2147483000).to_bytes(4, "big") + b"abc")


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        ("PROTOBUF", 'syntax = "proto3"; message X { int32 y = 1; }'),
        ("JSON", '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}'),
    ],
)
def test_a_real_registry_calls_another_type_by_its_name(
    registry_url: str, client: SchemaRegistryClient, prefix: str, kind: str, schema: str
) -> None:
    number = client.register_schema(f"{prefix}other-value", Schema(schema, kind))
    with pytest.raises(DecodeError, match=f"schema id {number} at offset 1: .*{kind}"):
        Codec(SchemaRegistry(registry_url), prefix).decoder(PAYLOADS)(
            b"\0" + number.to_bytes(4, "big") + b"abc"
        )


@pytest.mark.parametrize(("status", "body"), NONSENSE)
def test_nonsense_is_an_outage_for_readers_and_writers(status: int, body: bytes) -> None:
    with Nonsense(status, body) as stub:
        codec = Codec(SchemaRegistry(stub.url), PREFIX)
        with pytest.raises(RegistryUnavailable, match=r"127\.0\.0\.1"):
            codec.decoder(PAYLOADS)(AN_ID)
        with pytest.raises(RegistryUnavailable):
            codec.encoder(PAYLOADS)
        # It comes to its senses, and is asked again: nothing of the nonsense was kept.
        stub.status, stub.body = 200, json.dumps({"id": 5, "schema": OURS}).encode()
        framed = AN_ID[:5] + Codec().encoder(PAYLOADS)(RECORD)[10:]
        assert codec.decoder(PAYLOADS)(framed) == RECORD
        assert codec.encoder(PAYLOADS)(RECORD) == framed


def test_a_slow_registry_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registries, "_PATIENCE", 0.3)
    with Nonsense(200, b"{}", delay=2.0) as stub:
        began = time.monotonic()
        with pytest.raises(RegistryUnavailable, match="ReadTimeout"):
            SchemaRegistry(stub.url).schema_of(5)
        assert time.monotonic() - began < 1.5


def test_an_answer_that_comes_byte_by_byte_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte is in time, the whole never: three minutes here."""
    monkeypatch.setattr(registries, "_PATIENCE", 0.3)
    with Nonsense(200, json.dumps({"id": 5, "schema": OURS}).encode(), drip=0.05) as stub:
        registry = SchemaRegistry(stub.url)
        began = time.monotonic()
        for ask in (lambda: registry.schema_of(5), lambda: registry.id_of("a-value", OURS)):
            with pytest.raises(RegistryUnavailable, match=r"no whole answer in 0\.6 s"):
                ask()
        assert time.monotonic() - began < 3
        wait(lambda: not [one for one in threading.enumerate() if one.name == "registry"], "an end of both")
        stub.drip = 0
        assert registry.schema_of(5) == OURS


@pytest.mark.parametrize("kind", ["PROTOBUF", "JSON"])
def test_only_what_the_registry_calls_another_type_is_no_avro(kind: str) -> None:
    with Nonsense(200, json.dumps({"schema": "message X {}", "schemaType": kind}).encode()) as stub:
        decode = Codec(SchemaRegistry(stub.url), PREFIX).decoder(PAYLOADS)
        for _ in range(3):
            with pytest.raises(DecodeError, match=f"schema id 5 at offset 1: .*{kind}"):
                decode(AN_ID)
        assert stub.asked == 1


def test_a_schema_that_needs_others_is_none_that_could_be_waited_for() -> None:
    body = {"schema": '"Other"', "references": [{"name": "Other", "subject": "other", "version": 1}]}
    with (
        Nonsense(200, json.dumps(body).encode()) as stub,
        pytest.raises(DecodeError, match=r"schema id 5 at offset 1: it refers to other schemas"),
    ):
        Codec(SchemaRegistry(stub.url), PREFIX).decoder(PAYLOADS)(AN_ID)


def test_a_child_does_not_ask_what_its_parent_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the parent's connection: two would talk on it at once."""
    with Nonsense(404, UNKNOWN) as stub:
        codec = Codec(SchemaRegistry(stub.url), PREFIX)
        decode = codec.decoder(PAYLOADS)
        values = [bytes([0, 0, 0, 0, number]) for number in (5, 6, 5, 6)]
        for value in values:
            codec.learn(value)
        assert stub.asked == 2
        assert trial(range(4), lambda offset: decode(values[offset]), lambda: None) is None
        assert stub.asked == 2
        # Nor when the parent took so long that it would ask again itself.
        monkeypatch.setattr(codecs, "monotonic", lambda: time.monotonic() + 61)
        assert trial(range(4), lambda offset: decode(values[offset]), lambda: None) is None
        assert stub.asked == 2
        with pytest.raises(DecodeError):
            decode(values[0])
        assert stub.asked == 3


@pytest.mark.parametrize(
    ("written", "login"),
    [
        ("reader:hunter%402%3A%25", "reader:hunter@2:%"),
        ("reader:hunter,@2", "reader:hunter,@2"),
        ("reader@home:hunter2", "reader@home:hunter2"),
        ("hunter2", "hunter2:"),
        (":hunter2", ":hunter2"),
    ],
)
def test_a_login_in_the_address_works_and_is_in_no_log(
    written: str, login: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx2", "httpcore2"):
        caplog.set_level(logging.DEBUG, logger=name)
    with Nonsense(200, json.dumps({"schema": OURS}).encode(), login=login) as stub:
        assert SchemaRegistry(stub.url.replace("//", f"//{written}@")).schema_of(5) == OURS
        with pytest.raises(RegistryUnavailable):
            SchemaRegistry(stub.url).schema_of(5)
    said = " ".join(f"{each.getMessage()} {each.args}" for each in caplog.records)
    assert f"GET {stub.url}/schemas/ids/5" in said
    assert "hunter" not in said
    assert b64encode(login.encode()).decode() not in said


def test_the_services_log_has_no_line_for_each_request() -> None:
    with Nonsense(200, json.dumps({"schema": OURS}).encode()) as stub:
        program = (
            "from vermilion_pipeline import logs; from vermilion_pipeline.registry import SchemaRegistry\n"
            f"logs.configure('json', 'debug'); SchemaRegistry({stub.url!r}).schema_of(5)\n"
            "logs.logger('one').info('ours')"
        )
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert [json.loads(line)["event"] for line in ran.stderr.splitlines()] == ["ours"]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://reader:hunter2@nowhere",
        "reader:hunter2@nowhere",
        "http://reader:hunter2",
        "http://reader:hun/ter2@nowhere",
        "http://reader:hun?ter2@nowhere",
        "http://reader:hunter2@[nowhere",
        "http://reader:hunter2@",
        "http://nowhere,http://reader:hunter2@elsewhere",
    ],
)
def test_an_address_that_is_none_is_refused_untold(url: str) -> None:
    with pytest.raises(SettingsError, match="registry_url: not as http://") as refused:
        SchemaRegistry(url)
    assert "ter2" not in str(refused.value)


def test_a_list_of_addresses_has_one_login() -> None:
    with Nonsense(200, json.dumps({"schema": OURS}).encode(), login="reader:hunter2") as stub:
        second = stub.url.replace("//", "//reader:hunter2@")
        found = SchemaRegistry(f"http://reader:hunter2@127.0.0.1:{find_ports(1)}, {second}")
        assert found.schema_of(5) == OURS


def test_a_password_in_the_address_is_never_told() -> None:
    with Nonsense(401, b'{"error_code": 401, "message": "who is hunter%402?"}') as stub:
        url = stub.url.replace("http://", "http://reader:hunter%402@")
        with pytest.raises(RegistryUnavailable) as raised:
            SchemaRegistry(url).schema_of(5)
    assert "hunter" not in str(raised.value)


def test_a_batch_waits_for_the_registry_and_nothing_becomes_a_dead_letter() -> None:
    """Down at start, then nonsense, then well: the records come out once, in order, and none is dead."""
    good = Codec().encoder(PAYLOADS)
    values = [good({**RECORD, "src_port": port}) for port in (1, 2)]
    framed = b"\0\0\0\0\11" + values[0][10:]
    broker = prepared(PREFIX, [values[0], framed, values[1]])
    with Nonsense(503, b"") as stub:
        metrics, health = Metrics("test"), Health()
        one = runtime_on(
            broker, PREFIX, Codec(SchemaRegistry(stub.url), PREFIX), metrics=metrics, health=health
        )
        stop = threading.Event()
        thread = threading.Thread(target=one.run, args=(stop,))
        thread.start()
        try:
            waiting = metrics.registry_waiting
            wait(lambda: waiting._value.get() == 1, "the metric")
            assert not health.ready
            assert "schema registry http://127.0.0.1" in health.waiting_for
            stub.status, stub.body = 200, b'{"id": 5, "schema": "'
            wait(lambda: "JSONDecodeError" in health.waiting_for, "the second kind of failure")
            assert (visible(broker, PREFIX), one.totals.consumed) == (0, 0)
            stub.body = json.dumps({"id": 5, "schema": OURS}).encode()
            wait(lambda: one.totals.consumed == 3, "the batch")
            wait(lambda: health.ready, "readiness")
            assert waiting._value.get() == 0
            # What it knows is enough: the registry goes, and the stream goes on.
            stub.status, asked = 503, stub.asked
            send(broker, PREFIX, [framed])
            wait(lambda: one.totals.consumed == 4, "the record after the registry went")
            assert stub.asked == asked
        finally:
            stop.set()
            thread.join()
    assert one.totals.dead == 0


@pytest.mark.kafka
def test_a_registry_that_is_gone_and_comes_back_keeps_its_ids(tmp_path: Path) -> None:
    with Registry(tmp_path, port=find_ports(1)) as registry:
        writer = Codec(SchemaRegistry(registry.url), PREFIX)
        first = writer.encoder(PAYLOADS)(RECORD)
        registry.kill()
        assert writer.encoder(PAYLOADS)(RECORD) == first
        reader = Codec(SchemaRegistry(registry.url), PREFIX)
        with pytest.raises(RegistryUnavailable, match="ConnectError"):
            reader.decoder(PAYLOADS)(first)
        registry.start()
        assert reader.decoder(PAYLOADS)(first) == RECORD
        assert Codec(SchemaRegistry(registry.url), PREFIX).encoder(PAYLOADS)(RECORD) == first


def prepared(prefix: str, values: list[bytes]) -> MemoryBroker:
    broker = MemoryBroker(session_timeout=5.0)
    broker.create([topic.full_name(prefix) for topic in TOPICS], 1, None)
    send(broker, prefix, values)
    return broker


def send(broker: MemoryBroker, prefix: str, values: list[bytes]) -> None:
    producer = broker.producer()
    for value in values:
        producer.produce(PAYLOADS.full_name(prefix), b"key", value)
    producer.close()


def runtime_on(broker: MemoryBroker, prefix: str, codec: Codec, **more: Any) -> Runtime:
    settled = {"metrics": Metrics("test"), "health": Health(), **more}
    return Runtime(
        broker, Fragile(0), codec, prefix=prefix, instance="one", batch_wait_seconds=0.01, **settled
    )


def visible(broker: MemoryBroker, prefix: str) -> int:
    reader = broker.reader([topic.full_name(prefix) for topic in TOPICS[1:]], beginning=True)
    try:
        return len(reader.poll(100, 0.1))
    finally:
        reader.close()


def wait(condition: Any, what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"waited 30 s for {what}"
        time.sleep(0.02)
