"""The Avro schemas: where they are, and their identities."""

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from vermilion_pipeline.errors import VermilionError


class SchemaError(VermilionError):
    """A schema that is missing or is none; says the file and the reason."""


def schema_dir() -> Path:
    """The folder of schemas: ``VERMILION_SCHEMA_DIR``, or the packaged one."""
    return Path(os.environ.get("VERMILION_SCHEMA_DIR") or Path(__file__).parent / "schemas")


@lru_cache
def text(name: str) -> str:
    """The schema ``name`` as its file has it. Raises SchemaError."""
    path = schema_dir() / f"{name}.avsc"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SchemaError(
            f"{path}: {error.strerror}; VERMILION_SCHEMA_DIR names the schemas' folder"
        ) from None


@lru_cache
def parsed(source: str) -> Any:
    """A schema's text, parsed for fastavro. Raises SchemaError."""
    try:
        return fastavro.parse_schema(_without_logical_types(json.loads(source)))
    except (ValueError, fastavro.schema.SchemaParseException) as error:
        raise SchemaError(f"not an Avro schema: {error}") from None


@lru_cache
def crc64(source: str) -> bytes:
    """CRC-64-AVRO of the schema's parsing canonical form, eight bytes, little-endian."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(json.loads(source)), "CRC-64-AVRO"))


def _without_logical_types(schema: Any) -> Any:
    """Times stay numbers of microseconds in our code: a datetime each would cost more than it tells."""
    if isinstance(schema, dict):
        return {k: _without_logical_types(v) for k, v in schema.items() if k != "logicalType"}
    if isinstance(schema, list):
        return [_without_logical_types(item) for item in schema]
    return schema
