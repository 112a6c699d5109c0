"""A Confluent-compatible schema registry, by confluent-kafka's client.

Three answers are definite: "there is no such schema" (error 40403), "it is not of Avro alone"
(``schemaType``, ``references``) and "this schema is refused" (409 or 422). Everything else that is not
what was asked for, silence and nonsense alike, is an outage.
"""

import re
import weakref
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from vermilion_pipeline import schemas
from vermilion_pipeline.ports import RegistryUnavailable, SchemaRefused
from vermilion_pipeline.settings import SettingsError

COMPATIBILITY: Final = "BACKWARD_TRANSITIVE"
"""The newest schema reads what any earlier one wrote: topics keep records of all of them."""
_STRICT_ENOUGH: Final = (COMPATIBILITY, "FULL_TRANSITIVE")
_SCHEMA_NOT_FOUND: Final = 40403
_NOT_FOUND: Final = (40401, 40402, _SCHEMA_NOT_FOUND, 40408)
"""No such subject, version, schema; no compatibility level of the subject's own."""
_REFUSED: Final = (409, 422)
_NO_AVRO: Final = ("PROTOBUF", "JSON")
"""The other types of schema that a registry keeps."""
_PATIENCE: Final = 5.0
"""Seconds to wait for a connection, and for each next byte: the poll loop must be heard of every minute."""
_ADDRESS: Final = re.compile(
    r"(?P<scheme>https?://)"
    r"(?:(?P<login>[^/?#]*)@)?"
    r"(?P<rest>(?:\[[^]@/?#\s]+\]|[^][@/?#:\s]+)(?::\d+)?(?:/[^@?#\s]*)?)"
)

T = TypeVar("T")


class SchemaRegistry:
    """Schema ids. What it has told is remembered, so that an outage stops nobody who knows enough."""

    def __init__(self, url: str) -> None:
        """``url``: where it answers; a user and a password in it are used. Raises SettingsError."""
        # A password must not get into messages and logs, and its HTTP library logs each URL.
        self._url, login = _apart(url)
        self._settings: dict[str, Any] = {"url": self._url, "timeout": _PATIENCE, "max.retries": 0}
        # Each address is asked in turn, and takes two waits: it may connect late, and answer late.
        self._deadline = 2 * _PATIENCE * (1 + self._url.count(","))
        self._secrets: list[str] = []
        if login:
            user, _, password = login.partition(":")
            plain = f"{unquote(user)}:{unquote(password)}"
            self._settings["basic.auth.user.info"] = plain
            self._secrets = [b64encode(plain.encode()).decode(), password or user, unquote(password or user)]
        try:
            self._client = self._connected()
        except ValueError as error:
            raise SettingsError(f"registry_url: {self._masked(str(error))}") from None
        self._ids: dict[tuple[str, str], int] = {}

    def _connected(self) -> SchemaRegistryClient:
        client = SchemaRegistryClient(self._settings)
        weakref.finalize(self, client.close)
        return client

    def id_of(self, subject: str, schema: str) -> int:
        """The id of ``schema`` under ``subject``, where it is registered as BACKWARD_TRANSITIVE if need be.

        Raises RegistryUnavailable, SchemaRefused.
        """
        known = self._ids.get((subject, schema))
        if known is None:
            known = self._look_up(subject, schema)
        if known is None:
            known = self._register(subject, schema)
        self._ids[subject, schema] = known
        return known

    def schema_of(self, schema_id: int) -> str | None:
        """The Avro schema with this id; None when the registry says that there is none.

        Raises RegistryUnavailable; SchemaError when the registry says that it is not of Avro alone.
        """
        found = self._asked(lambda: self._client.get_schema(schema_id), (_SCHEMA_NOT_FOUND,))
        if found is None:
            return None
        if found.schema_type in _NO_AVRO:
            raise schemas.SchemaError(f"not an Avro schema: the registry calls it {found.schema_type}")
        if not isinstance(found.schema_str, str):
            raise self._unavailable(f"its answer for schema id {schema_id} has no schema")
        try:
            schemas.parsed(found.schema_str)
        except schemas.SchemaError as error:
            if found.references:
                raise schemas.SchemaError("it refers to other schemas, which are not read") from None
            raise self._unavailable(f"its answer for schema id {schema_id} is {error}") from None
        return found.schema_str

    def _look_up(self, subject: str, schema: str) -> int | None:
        """The id, if it is registered: then nothing is to be changed, and no right to do so is needed."""
        return self._asked(
            lambda: self._id(self._client.lookup_schema(subject, Schema(schema, "AVRO")).schema_id)
        )

    def _register(self, subject: str, schema: str) -> int:
        if not self._strict(subject):
            try:
                self._required(lambda: self._client.set_compatibility(subject, COMPATIBILITY), subject)
            except SchemaRefused:
                # Another replica sets it in the same moment, which a registry may call a conflict.
                if not self._strict(subject):
                    raise
        return self._required(
            lambda: self._id(self._client.register_schema(subject, Schema(schema, "AVRO"))), subject
        )

    def _strict(self, subject: str) -> bool:
        return self._asked(lambda: self._client.get_compatibility(subject)) in _STRICT_ENOUGH

    def _asked(self, ask: Callable[[], T], none: tuple[int, ...] = _NOT_FOUND) -> T | None:
        """The answer; None where the registry says, by an error code in ``none``, that there is none."""
        try:
            return self._in_time(ask)
        except SchemaRegistryError as error:
            if error.error_code in none:
                return None
            raise self._unavailable(error) from None
        except Exception as error:  # the client raises its HTTP library's errors, and its own mistakes
            raise self._unavailable(error) from None

    def _required(self, ask: Callable[[], T], subject: str) -> T:
        try:
            return self._in_time(ask)
        except SchemaRegistryError as error:
            if error.http_status_code in _REFUSED:
                raise SchemaRefused(
                    f"schema registry {self._url} refuses the schema of {subject}: "
                    f"{self._masked(str(error))[:500]}; nothing is written. "
                    f"A field is only ever added, with a default ({COMPATIBILITY})"
                ) from None
            raise self._unavailable(error) from None
        except Exception as error:
            raise self._unavailable(error) from None

    def _in_time(self, ask: Callable[[], T]) -> T:
        """What ``ask`` returns or raises; TimeoutError where it takes longer than any answer may.

        The HTTP library limits each read alone, so that an answer that comes byte by byte never ends.
        """
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(ask())
            except Exception as error:
                answer.set_exception(error)

        Thread(target=run, name="registry", daemon=True).start()
        try:
            return answer.result(self._deadline)
        except TimeoutError:
            # The thread is left behind: what it reads from is closed, which ends it.
            self._client.close()
            self._client = self._connected()
            raise TimeoutError(f"no whole answer in {self._deadline:g} s") from None

    @staticmethod
    def _id(found: object) -> int:
        # It goes into four bytes of every record.
        if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 1 << 32:
            raise ValueError(f"no schema id in its answer, but {found!r:.100}")
        return found

    def _unavailable(self, error: Exception | str) -> RegistryUnavailable:
        self._client.clear_caches()  # type: ignore[no-untyped-call]  # it keeps nonsense, too
        what = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        return RegistryUnavailable(
            f"schema registry {self._url}: {self._masked(what)[:500]}; nothing is given up meanwhile. Check "
            "that it runs and that registry_url (VERMILION_REGISTRY_URL) is right"
        )

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _apart(url: str) -> tuple[str, str]:
    """Where it answers, and ``user:password`` as they stand there. Raises SettingsError, which tells neither.

    A list of addresses, separated by commas, has the login of the first.
    """
    found = [_ADDRESS.fullmatch(one) for one in re.split(r",\s*(?=https?://)", url.strip())]
    matches = [match for match in found if match]
    logins = {match["login"] for match in matches} - {None}
    if len(matches) < len(found) or logins - {matches[0]["login"]}:
        raise SettingsError(
            "registry_url: not as http://host:port/path or http://user:password@host:port/path, with / ? # "
            "and % of the user and the password as %2F %3F %23 and %25"
        )
    login = matches[0]["login"] or ""
    return ",".join(match["scheme"] + match["rest"] for match in matches), login if login != ":" else ""
