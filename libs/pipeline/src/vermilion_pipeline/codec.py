"""Avro records on the wire, in two framings; readers accept both.

* Single-object encoding (Avro specification, "Single-object encoding"): ``C3 01``, the schema's
  CRC-64-AVRO, the body. Written when no registry is configured.
* Confluent wire format: ``00``, the schema's id in the registry (4 bytes, big-endian), the body.
  Written when one is.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol

from fastavro import schemaless_reader, schemaless_writer

from vermilion_pipeline import schemas
from vermilion_pipeline.errors import VermilionError
from vermilion_pipeline.topics import TOPICS, Topic

_SINGLE_OBJECT = b"\xc3\x01"
_CONFLUENT = b"\x00"
_UNKNOWN_SECONDS: Final = 60.0
"""How long an id that the registry did not know is not asked for again; it may be registered meanwhile."""
_MOST_UNKNOWN: Final = 10_000
"""More than a batch has by default: each of its ids is looked up twice, to learn it and to decode."""


class DecodeError(VermilionError):
    """A record's value that cannot be decoded; says what was found and at which offset of it."""


class Registry(Protocol):
    """Schema ids of a schema registry."""

    def id_of(self, subject: str, schema: str) -> int:
        """The id of ``schema`` under ``subject``, registering it if need be.

        Raises ports.RegistryUnavailable, ports.SchemaRefused.
        """

    def schema_of(self, schema_id: int) -> str | None:
        """The Avro schema with this id; None when the registry says that there is none.

        Raises ports.RegistryUnavailable; schemas.SchemaError when the registry says that it is not of
        Avro alone.
        """


class Codec:
    """Encodes and decodes the values of all topics.

    ``asking`` is called before each question to the registry, which may take seconds to answer.
    """

    def __init__(self, registry: Registry | None = None, prefix: str = "vermilion.") -> None:
        self._registry = registry
        self._prefix = prefix
        self._by_crc = {schemas.crc64(text): text for text in _known_schemas()}
        self._by_id: dict[int, Any] = {}
        self._no_avro: dict[int, str] = {}
        self._unknown_until: dict[int, float] = {}
        self._process = os.getpid()
        self.asking: Callable[[], None] = lambda: None
        self._encoders: dict[str, Callable[[Mapping[str, Any]], bytes]] = {}

    def encoder(self, topic: Topic) -> Callable[[Mapping[str, Any]], bytes]:
        """A function from a record of ``topic`` to its framed bytes; it asks the registry no more.

        Raises ports.RegistryUnavailable, ports.SchemaRefused.
        """
        if topic.name not in self._encoders:
            self._encoders[topic.name] = self._make_encoder(topic)
        return self._encoders[topic.name]

    def _make_encoder(self, topic: Topic) -> Callable[[Mapping[str, Any]], bytes]:
        if topic.schema is None:
            raise ValueError(f"{topic.name} carries original bytes, which have no schema")
        parsed = schemas.parsed(schemas.text(topic.schema))
        header = self.header(topic)

        def encode(record: Mapping[str, Any]) -> bytes:
            buffer = BytesIO()
            buffer.write(header)
            schemaless_writer(buffer, parsed, record)
            return buffer.getvalue()

        return encode

    def header(self, topic: Topic) -> bytes:
        """What frames a record of ``topic``: it comes before the record's Avro.

        Raises ports.RegistryUnavailable, ports.SchemaRefused.
        """
        if topic.schema is None:
            raise ValueError(f"{topic.name} carries original bytes, which have no schema")
        text = schemas.text(topic.schema)
        if self._registry is None:
            return _SINGLE_OBJECT + schemas.crc64(text)
        self.asking()
        schema_id = self._registry.id_of(f"{topic.full_name(self._prefix)}-value", text)
        return _CONFLUENT + schema_id.to_bytes(4, "big")

    def decoder(self, topic: Topic) -> Callable[[bytes | None], Any]:
        """A function from framed bytes, by any version of the schema, to a record of ``topic``.

        The function raises DecodeError, whatever the bytes are; and ports.RegistryUnavailable when
        only the registry could tell.
        """
        if topic.schema is None:
            raise ValueError(f"{topic.name} carries original bytes, which have no schema")
        reader = schemas.parsed(schemas.text(topic.schema))

        def decode(value: bytes | None) -> Any:
            if not value:
                raise DecodeError("the value is empty; an Avro record was expected")
            writer, start = self._writer_schema(value)
            buffer = BytesIO(value)
            buffer.seek(start)
            try:
                record = schemaless_reader(buffer, writer, None if writer is reader else reader)
            except Exception as error:  # whatever fastavro meets in a stranger's bytes
                raise DecodeError(
                    f"no {topic.schema} record at offset {start} of the value: "
                    f"{type(error).__name__}: {str(error)[:300]}"  # some quote both schemas
                ) from None
            if buffer.tell() != len(value):
                raise DecodeError(
                    f"{len(value) - buffer.tell()} bytes follow the record at offset {buffer.tell()}"
                )
            return record

        return decode

    def learn(self, value: bytes | None) -> None:
        """Ask the registry now what decoding ``value`` will need of it. Raises ports.RegistryUnavailable."""
        with suppress(DecodeError):
            self._writer_schema(value or b"")

    def _writer_schema(self, value: bytes) -> tuple[Any, int]:
        if value[:2] == _SINGLE_OBJECT and len(value) >= 10:
            text = self._by_crc.get(value[2:10])
            if text is None:
                raise DecodeError(f"unknown schema fingerprint {value[2:10].hex()} at offset 2")
            return schemas.parsed(text), 10
        if value[:1] == _CONFLUENT and len(value) >= 5:
            return self._registered(int.from_bytes(value[1:5], "big")), 5
        raise DecodeError(f"no Avro framing at offset 0: the value begins with {value[:4].hex(' ')}")

    def _registered(self, schema_id: int) -> Any:
        """The schema with this id, parsed. Only what was definite, and parses, is remembered."""
        if schema_id in self._by_id:
            return self._by_id[schema_id]
        if self._registry is None:
            raise DecodeError(
                f"schema id {schema_id} at offset 1 needs a schema registry, and none is configured "
                "(VERMILION_REGISTRY_URL)"
            )
        if schema_id not in self._no_avro and not self._unknown(schema_id):
            self.asking()
            try:
                text = self._registry.schema_of(schema_id)
                if text is not None:
                    self._by_id[schema_id] = schemas.parsed(text)
                    return self._by_id[schema_id]
            except schemas.SchemaError as error:
                self._no_avro[schema_id] = str(error)
            else:
                self._remember_unknown(schema_id)
        if schema_id in self._no_avro:
            raise DecodeError(f"schema id {schema_id} at offset 1: {self._no_avro[schema_id]}")
        raise DecodeError(f"the schema registry knows no schema id {schema_id} (offset 1)")

    def _unknown(self, schema_id: int) -> bool:
        # A fork has its parent's connection to the registry, on which two would talk at once: what the
        # parent did not learn stays unknown there.
        return os.getpid() != self._process or monotonic() < self._unknown_until.get(schema_id, 0.0)

    def _remember_unknown(self, schema_id: int) -> None:
        self._unknown_until.pop(schema_id, None)  # so that the first is the oldest
        if len(self._unknown_until) >= _MOST_UNKNOWN:
            del self._unknown_until[next(iter(self._unknown_until))]
        self._unknown_until[schema_id] = monotonic() + _UNKNOWN_SECONDS


def _known_schemas() -> list[str]:
    """The schemas of today and every version ever released."""
    today = [schemas.text(topic.schema) for topic in TOPICS if topic.schema]
    released = sorted(Path(schemas.schema_dir(), "released").glob("*/*.avsc"))
    return today + [path.read_text(encoding="utf-8") for path in released]
