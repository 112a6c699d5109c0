"""What is told of HTTP inside TLS: the messages behind ``tls_decrypt_http`` and ``tls_decrypt_h2`` events."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vermilion_fingerprint import http
from vermilion_fingerprint.http_forms import text

Fields = Sequence[tuple[bytes, bytes]]


def _values(fields: Fields) -> dict[bytes, bytes]:
    """What each field says; of one that is given more than once all of its lines (RFC 9110 5.3)."""
    values: dict[bytes, bytes] = {}
    for name, value in fields:
        values[name] = values[name] + b", " + value if name in values else value
    return values


def _request(fields: Fields, start: Mapping[str, bytes | None], stream: int | None) -> dict[str, Any]:
    """By the schema's DecryptedRequestContext."""
    values = _values(fields)
    told = {
        "method": start["method"],
        "host": start.get("host") or values.get(b"host"),
        "uri": start["uri"],
        "user_agent": values.get(b"user-agent"),
        "x_forwarded_for": values.get(b"x-forwarded-for"),
        "via": values.get(b"via"),
    }
    context: dict[str, Any] = {name: None if value is None else text(value) for name, value in told.items()}
    return {**context, "stream": stream, "headers": _headers(fields)}


def _response(
    fields: Fields, status: bytes | None, stream: int | None, promised: int | None
) -> dict[str, Any]:
    """By the schema's DecryptedResponseContext."""
    via = _values(fields).get(b"via")
    return {
        "status": None if status is None else text(status),
        "via": None if via is None else text(via),
        "stream": stream,
        "promised": promised,
        "headers": _headers(fields),
    }


def _headers(fields: Fields) -> list[dict[str, str]]:
    return [{"name": text(name), "value": text(value)} for name, value in fields]


class Http1:
    """A message of HTTP/1.x, with all of its header fields."""

    def __init__(self, message: http.Message) -> None:
        self.message = message
        self.begin, self.end, self.truncated = message.begin, message.end, message.truncated

    def context(self) -> dict[str, Any]:
        """What the event tells beside the fingerprint."""
        message = self.message
        if isinstance(message, http.Request):
            start = {"method": message.method, "uri": message.target}
            return _request(message.fields, start, None)
        assert isinstance(message, http.Response)  # noqa: S101
        return _response(message.fields, message.status, None, None)

    def readable(self) -> list[dict[str, str]]:
        """The fingerprint in words."""
        return self.message.readable()


class Http2:
    """A header block of HTTP/2 (RFC 9113 section 4.3), on ``stream``; ``promised``: of a PUSH_PROMISE.

    ``server``: the server sent it. ``begin`` and ``end``: of its frames, in what the direction carried.
    """

    truncated = False

    def __init__(
        self, begin: int, end: int, stream: int, promised: int | None, fields: Fields, *, server: bool
    ) -> None:
        self.begin, self.end = begin, end
        self.stream, self.promised = stream, promised
        self.fields = fields
        self.server = server

    def context(self) -> dict[str, Any]:
        """What the event tells beside the fingerprint; pseudo-fields are among the headers, too."""
        # RFC 9113 8.3
        values = _values([each for each in self.fields if each[0].startswith(b":")])
        if self.server:
            return _response(self.fields, values.get(b":status"), self.stream, self.promised)
        start = {
            "method": values.get(b":method"),
            "host": values.get(b":authority"),
            "uri": values.get(b":path"),
        }
        return _request(self.fields, start, self.stream)

    def readable(self) -> list[dict[str, str]]:
        """The fingerprint in words, one object a field."""
        return [{text(name): text(value)} for name, value in self.fields]


def _fingerprint_request(message: Http1) -> str:
    assert isinstance(message.message, http.Request)  # noqa: S101
    return http.fingerprint_request(message.message)


def _fingerprint_response(message: Http1) -> str:
    assert isinstance(message.message, http.Response)  # noqa: S101
    return http.fingerprint_response(message.message)


def fingerprint_h2(message: Http2) -> str:
    """pmercury's string: ``(name: value)...``, in hex, of every field as it was sent."""
    return "".join(f"({(name + b': ' + value).hex()})" for name, value in message.fields)


FORMS: dict[str, Callable[[Any], str]] = {
    "tls_decrypt_http": _fingerprint_request,
    "tls_decrypt_http_server": _fingerprint_response,
    "tls_decrypt_h2": fingerprint_h2,
    "tls_decrypt_h2_server": fingerprint_h2,
}
"""The types of event, each with its one form."""
