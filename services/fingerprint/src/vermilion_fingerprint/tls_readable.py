"""TLS messages in words. A code point without a name is shown as hex; nothing here is an error.

Sources: RFC 8446 section 4.2 and the RFCs named below; the names are in ``tls_names``.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vermilion_fingerprint import tls_names as names
from vermilion_fingerprint.cursor import Cursor, Malformed

Extensions = Iterable[tuple[int, bytes]]


def client_hello(legacy_version: int, suites: Iterable[int], extensions: Extensions) -> dict[str, Any]:
    """``version``, ``cipher_suites`` and ``extensions``, the latter as one-key objects in order."""
    return {
        "version": version(legacy_version),
        "cipher_suites": [cipher_suite(code) for code in suites],
        "extensions": [_extension(kind, body, _CLIENT) for kind, body in extensions],
    }


def server_hello(legacy_version: int, suite: int, extensions: Extensions) -> dict[str, Any]:
    """``version``, ``selected_cipher_suite`` and ``extensions``."""
    return {
        "version": version(legacy_version),
        "selected_cipher_suite": cipher_suite(suite),
        "extensions": [_extension(kind, body, _SERVER) for kind, body in extensions],
    }


def version(code: int) -> str:
    """A ProtocolVersion's name."""
    return names.VERSIONS.get(code) or f"{code:04x}"


def cipher_suite(code: int) -> str:
    """A cipher suite's name."""
    return names.CIPHER_SUITES.get(code) or f"{code:04x}"


def _extension(kind: int, body: bytes, decoders: Mapping[int, Callable[[Cursor], Any]]) -> dict[str, Any]:
    """``{name: value}``; the body in hex when it is not what its RFC says, "" when there is none."""
    value: Any = body.hex()
    if body and kind in decoders:
        cursor = Cursor(body, len(body))
        try:
            decoded = decoders[kind](cursor)
        except Malformed:
            pass
        else:
            value = decoded if cursor.position == len(body) else value
    return {names.EXTENSIONS.get(kind, f"{kind:04x}"): value}


def _vector(body: Cursor, head: int, size: int) -> tuple[int, list[int]]:
    """A list of numbers of ``size`` bytes after its length in ``head``: the length and the numbers."""
    length = body.read_u8("length") if head == 1 else body.read_u16("length")
    raw = body.read_bytes(length, "list")
    if length % size:
        raise Malformed(body.position, "list", f"{length} bytes, not whole elements")
    return length, [int.from_bytes(raw[i : i + size], "big") for i in range(0, length, size)]


def _named(table: Mapping[int, str], codes: list[int], unknown: str) -> list[str]:
    return [table.get(code) or unknown.format(code) for code in codes]


# RFC 8446 4.2.7
def _supported_groups(body: Cursor) -> dict[str, Any]:
    length, codes = _vector(body, 2, 2)
    groups = _named(names.GROUPS, codes, "Unknown Group ({:04x})")
    return {"supported_groups_list_length": length, "supported_groups": groups}


# RFC 8422 5.1.2
def _ec_point_formats(body: Cursor) -> dict[str, Any]:
    length, codes = _vector(body, 1, 1)
    formats = _named(names.POINT_FORMATS, codes, "{:02x}")
    return {"ec_point_formats_length": length, "ec_point_formats": formats}


# RFC 8446 4.2.3, RFC 5246 7.4.1.4.1
def _signature_algorithms(body: Cursor) -> dict[str, Any]:
    length, codes = _vector(body, 2, 2)
    algorithms = _named(names.SIGNATURE_SCHEMES, codes, "unknown({:04x})")
    return {"signature_hash_algorithms_length": length, "algorithms": algorithms}


# RFC 8446 4.2.1
def _supported_versions(body: Cursor) -> dict[str, Any]:
    length, codes = _vector(body, 1, 2)
    versions = _named(names.VERSIONS, codes, "Unknown Version ({:04x})")
    return {"supported_versions_list_length": length, "supported_versions": versions}


# RFC 8446 4.2.9. A client rarely offers more than one; then all of them are told.
def _psk_key_exchange_modes(body: Cursor) -> dict[str, Any]:
    length, codes = _vector(body, 1, 1)
    modes = _named(names.PSK_MODES, codes, "{:02x}")
    out: dict[str, Any] = {"psk_key_exchange_modes_length": length}
    if modes:
        out["psk_key_exchange_mode"] = modes[0]
    if len(modes) > 1:
        out["psk_key_exchange_modes"] = modes
    return out


# RFC 6066 8
def _status_request(body: Cursor) -> dict[str, Any]:
    kind = body.read_u8("status_type")
    responders = body.read_u16("responder_id_list")
    body.read_bytes(responders, "responder_id_list")
    extensions = body.read_u16("request_extensions")
    body.read_bytes(extensions, "request_extensions")
    return {
        "certificate_status_type": names.STATUS_TYPES.get(kind, f"{kind:02x}"),
        "responder_id_list_length": responders,
        "request_extensions_length": extensions,
    }


# RFC 7301 3.1
def _alpn(body: Cursor) -> list[str]:
    length = body.read_u16("protocol_name_list")
    listed = body.read_sub(length, "protocol_name_list")
    protocols = []
    while listed.position < listed.limit:
        name = listed.read_bytes(listed.read_u8("ProtocolName"), "ProtocolName")
        protocols.append(name.decode("utf-8", "backslashreplace"))
    body.read_bytes(length, "protocol_name_list")
    return protocols


# RFC 8446 4.2.1: a server selects one.
def _selected_version(body: Cursor) -> str:
    return version(body.read_u16("selected_version"))


_CLIENT: dict[int, Callable[[Cursor], Any]] = {
    5: _status_request,
    10: _supported_groups,
    11: _ec_point_formats,
    13: _signature_algorithms,
    16: _alpn,
    43: _supported_versions,
    45: _psk_key_exchange_modes,
}
_SERVER: dict[int, Callable[[Cursor], Any]] = {
    11: _ec_point_formats,
    16: _alpn,
    43: _selected_version,
}
