"""Both framings, any version, any bytes."""

import json
from typing import Any

import fastavro
import pytest
from fastavro.utils import generate_many
from fingerprint.flowrecords import record
from hypothesis import given
from hypothesis import strategies as st

from vermilion_pipeline import codec as codecs
from vermilion_pipeline import records, schemas
from vermilion_pipeline.codec import Codec, DecodeError
from vermilion_pipeline.topics import BY_NAME, PAYLOADS, TOPICS


class Ids:
    """A registry in memory."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[str, str]] = {}
        self.asked: list[int | str] = []

    def id_of(self, subject: str, schema: str) -> int:
        self.asked.append(subject)
        self.known[len(self.known) + 77] = (subject, schema)
        return len(self.known) + 76

    def schema_of(self, schema_id: int) -> str | None:
        self.asked.append(schema_id)
        return self.known[schema_id][1] if schema_id in self.known else None


TUNNELS = [
    {"kind": "geneve", "src_ip": b"\1\2\3\4", "dst_ip": b"\5\6\7\x08", "id": 9},
    {"kind": "ipip", "src_ip": bytes(16), "dst_ip": bytes(16), "id": None},
]
RECORD: Any = record(5, b"data", 24, vlans=[1, 2], vni=9, tunnels=TUNNELS)


def test_single_object_encoding() -> None:
    data = Codec().encoder(PAYLOADS)(RECORD)
    assert data[:2] == b"\xc3\x01"
    assert data[2:10] == schemas.crc64(schemas.text("payload"))
    assert Codec().decoder(PAYLOADS)(data) == RECORD


def test_the_schema_fingerprint_is_the_specifications() -> None:
    """Avro specification, "Schema Fingerprints": the CRC of "null" is 63dd24e7cc258f8a, big-endian."""
    assert schemas.crc64('"null"').hex() == "8a8f25cce724dd63"


def test_confluent_framing() -> None:
    ids = Ids()
    data = Codec(ids).encoder(PAYLOADS)(RECORD)
    assert data[:5] == b"\x00\x00\x00\x00\x4d"
    assert ids.known[77][0] == "vermilion.payloads-value"
    assert Codec(ids).decoder(PAYLOADS)(data) == RECORD


def test_readers_accept_both() -> None:
    ids = Ids()
    assert Codec(ids).decoder(PAYLOADS)(Codec().encoder(PAYLOADS)(RECORD)) == RECORD


def test_the_body_is_what_fastavro_reads() -> None:
    from io import BytesIO

    body = BytesIO(Codec().encoder(PAYLOADS)(RECORD)[10:])
    found: Any = fastavro.schemaless_reader(body, json.loads(schemas.text("payload")), None)
    assert found["payload"] == b"data"
    assert found["time"].year == 2023  # a reader of its own sees a timestamp


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"\xc3\x01\x00", "no Avro framing at offset 0"),
        (b'{"json": 1}', "no Avro framing at offset 0: the value begins with 7b 22"),
        (b"\xc3\x01" + bytes(30), "unknown schema fingerprint 0000000000000000 at offset 2"),
        (b"\x00\x00\x00\x00\x07abc", "schema id 7 at offset 1 needs a schema registry"),
        (Codec().encoder(PAYLOADS)(RECORD)[:-1], "no payload record at offset 10"),
        (Codec().encoder(PAYLOADS)(RECORD) + b"xy", "2 bytes follow the record"),
    ],
)
def test_what_cannot_be_decoded_is_told(value: bytes | None, why: str) -> None:
    with pytest.raises(DecodeError) as error:
        Codec().decoder(PAYLOADS)(value)
    assert why in str(error.value)


def test_an_id_that_the_registry_does_not_know() -> None:
    with pytest.raises(DecodeError, match="knows no schema id 5"):
        Codec(Ids()).decoder(PAYLOADS)(b"\x00\x00\x00\x00\x05abc")


def test_an_unknown_id_is_asked_for_once_a_minute_and_found_once_it_is_registered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids, now = Ids(), 1000.0
    monkeypatch.setattr(codecs, "monotonic", lambda: now)
    framed = Codec(ids).encoder(PAYLOADS)(RECORD)
    registered, ids.known = ids.known, {}
    codec = Codec(ids)
    decode = codec.decoder(PAYLOADS)
    ids.asked.clear()
    for _ in range(5000):
        codec.learn(framed)
    for value in [framed, b"\x00\x00\x00\x00\x05", framed]:
        with pytest.raises(DecodeError, match="knows no schema id"):
            decode(value)
    assert ids.asked == [77, 5]
    ids.known, now = registered, now + 60
    assert [decode(framed), decode(framed)] == [RECORD, RECORD]
    assert ids.asked == [77, 5, 77]


def test_the_ids_remembered_as_unknown_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_MOST_UNKNOWN", 3)
    ids = Ids()
    codec = Codec(ids)
    for number in (1, 2, 3, 1, 4, 4, 3, 2, 1):
        codec.learn(bytes([0, 0, 0, 0, number]))
    assert ids.asked == [1, 2, 3, 4, 1]
    assert len(codec._unknown_until) == 3


def test_somebody_is_told_before_each_question_to_the_registry() -> None:
    ids = Ids()
    codec = Codec(ids)
    codec.asking = lambda: ids.asked.append("asking")
    framed = codec.encoder(PAYLOADS)(RECORD)
    codec.encoder(PAYLOADS)
    for value in (framed, framed, b"\x00\x00\x00\x00\x05", b"\x00\x00\x00\x00\x06", b"no"):
        codec.learn(value)
    assert ids.asked == ["asking", "vermilion.payloads-value", "asking", 77, "asking", 5, "asking", 6]


@pytest.mark.parametrize("other", ["syntax = 'proto3'; message X {}", '{"type": "object"}'])
def test_an_id_of_a_schema_that_is_no_avro(other: str) -> None:
    ids = Ids()
    number = ids.id_of("any", other)
    with pytest.raises(DecodeError, match=f"schema id {number} at offset 1: not an Avro schema"):
        Codec(ids).decoder(PAYLOADS)(b"\x00" + number.to_bytes(4, "big") + b"abc")


@given(st.binary(max_size=200))
def test_any_bytes_behind_a_good_header(body: bytes) -> None:
    for topic in TOPICS[:3]:
        header = b"\xc3\x01" + schemas.crc64(schemas.text(topic.schema or ""))
        try:
            Codec().decoder(topic)(header + body)
        except DecodeError as error:
            assert str(error)


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ("payload", records.Payload),
        ("fingerprint", records.Fingerprint),
        ("classification", records.Classification),
        ("sensor", records.Sensor),
    ],
)
def test_record_types_are_the_schemas(schema: str, kind: type) -> None:
    fields = json.loads(schemas.text(schema))["fields"]
    assert [field["name"] for field in fields] == list(kind.__annotations__)
    assert all(field.get("doc") for field in fields), "each field is documented"


def test_classification_carries_every_field_of_fingerprint() -> None:
    one, two = (json.loads(schemas.text(name))["fields"] for name in ("fingerprint", "classification"))
    assert two[: len(one)] == one


@pytest.mark.parametrize("path", sorted((schemas.schema_dir() / "released").glob("*/*.avsc")), ids=str)
def test_bytes_of_every_released_schema_are_read(path: Any) -> None:
    """Fields are only ever added, with a default: what an old writer wrote, the newest reader reads."""
    topic = next(topic for topic in TOPICS if topic.schema == path.stem)
    from io import BytesIO

    old = fastavro.parse_schema(json.loads(path.read_text()))
    sample = next(iter(generate_many(old, 1)))
    body = BytesIO()
    fastavro.schemaless_writer(body, old, sample)
    framed = b"\xc3\x01" + schemas.crc64(path.read_text()) + body.getvalue()
    found = Codec().decoder(topic)(framed)
    assert set(found) >= {field["name"] for field in json.loads(path.read_text())["fields"]}
    assert BY_NAME[topic.name] is topic
