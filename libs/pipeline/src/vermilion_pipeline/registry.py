"""A Confluent-compatible schema registry, by confluent-kafka's client."""

from urllib.parse import urlsplit

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from vermilion_pipeline.ports import BrokerUnavailable

_UNKNOWN_ID = (40403, 404)


class SchemaRegistry:
    """Schema ids; what was once asked is remembered by the client."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        # A password in the URL must not get into messages and logs.
        self._url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._client = SchemaRegistryClient({"url": url})

    def id_of(self, subject: str, schema: str) -> int:
        """The id of ``schema``, registered under ``subject``. Raises BrokerUnavailable."""
        try:
            return int(self._client.register_schema(subject, Schema(schema, "AVRO")))
        except Exception as error:  # the client raises its HTTP library's errors too
            raise self._unavailable(error) from error

    def schema_of(self, schema_id: int) -> str | None:
        """The schema with this id; None when there is none. Raises BrokerUnavailable."""
        try:
            return self._client.get_schema(schema_id).schema_str
        except SchemaRegistryError as error:
            if error.error_code in _UNKNOWN_ID or error.http_status_code == 404:
                return None
            raise self._unavailable(error) from error
        except Exception as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> BrokerUnavailable:
        return BrokerUnavailable(f"schema registry {self._url}: {type(error).__name__}: {error}")
