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
        schema = fastavro.parse_schema(_plain(json.loads(source)))
    except Exception as error:  # fastavro raises what it meets: KeyError, TypeError, RecursionError
        raise SchemaError(f"not an Avro schema: {type(error).__name__}: {str(error)[:300]}") from None
    if not schema:
        raise SchemaError("not an Avro schema: an empty union")
    return schema


@lru_cache
def crc64(source: str) -> bytes:
    """CRC-64-AVRO of the schema's parsing canonical form, eight bytes, little-endian."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(json.loads(source)), "CRC-64-AVRO"))


_LEFT_OUT = ("logicalType", "__fastavro_parsed", "__named_schemas")


def _plain(schema: Any) -> Any:
    """Without logical types, and without the marks by which fastavro would take it as parsed.

    Times stay numbers of microseconds in our code: a datetime each would cost more than it tells.
    """
    if isinstance(schema, dict):
        return {k: _plain(v) for k, v in schema.items() if k not in _LEFT_OUT}
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    return schema
