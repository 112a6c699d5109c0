"""How an event looks to a person or a script: JSON by section, or a row of a table."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import orjson


def scan_json(event: Mapping[str, Any]) -> bytes:
    """One line as ``scan`` writes it."""
    return orjson.dumps(line_of(event), option=orjson.OPT_APPEND_NEWLINE)


def line_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """What ``scan`` tells of an event: addresses, time in seconds, fingerprints, context, answer."""
    line: dict[str, Any] = {
        name: event[name] for name in ("src_ip", "dst_ip", "src_port", "dst_port", "protocol")
    }
    if tunnels := event.get("tunnels"):
        line["tunnels"] = [
            {name: value for name, value in each.items() if value not in (None, "")} for each in tunnels
        ]
    line["event_start"] = event["event_start"] / 1e6
    line["fingerprints"] = event["fingerprints"]
    if context := _known(event.get(event["type"])):
        line[event["type"]] = context
    line.update({flag: True for flag in ("reassembled", "truncated") if event[flag]})
    if readable := event.get("readable"):
        line["readable"] = readable
    if analysis := event.get("analysis"):
        line["analysis"] = analysis_of(analysis)
    return line


def analysis_of(analysis: Mapping[str, Any]) -> dict[str, Any]:
    """An answer without what it does not tell; that something is no malware is told where it is known."""
    line = {name: value for name, value in analysis.items() if value is not None and value != []}
    if probable := line.get("probable_processes"):
        line["probable_processes"] = [
            {name: value for name, value in each.items() if not (name == "malware" and value is None)}
            for each in probable
        ]
    return line


def tail_json(event: Mapping[str, Any]) -> bytes:
    """One line as ``tail`` writes it: what ``scan`` writes, and where the event comes from."""
    line = line_of(event)
    for name in ("event_id", "type", "sensor", "run", "replayed", "community_id", "vlans", "vni", "syn"):
        line[name] = event[name]
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def payload_json(record: Mapping[str, Any]) -> bytes:
    """One payload record: times in seconds, bytes in hex, addresses as text."""
    line = {name: value.hex() if isinstance(value, bytes) else value for name, value in record.items()}
    for name in ("src_ip", "dst_ip"):
        line[name] = address(record[name])
    line["tunnels"] = [
        {**each, "src_ip": address(each["src_ip"]), "dst_ip": address(each["dst_ip"])}
        for each in record["tunnels"]
    ]
    line["time"] = record["time"] / 1e6
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def sensor_json(record: Mapping[str, Any]) -> bytes:
    """One heartbeat: times in seconds."""
    seconds = {name: record[name] / 1e6 for name in ("time", "interval", "blind")}
    return orjson.dumps({**record, **seconds}, option=orjson.OPT_APPEND_NEWLINE)


def address(packed: bytes) -> str:
    """An address as text; empty for a mark's, hex for what is none."""
    try:
        return str(ip_address(packed)) if packed else ""
    except ValueError:
        return packed.hex()


def row(event: Mapping[str, Any]) -> tuple[str, ...]:
    """Source, destination, type, name, process, score, match: cells of a table.

    The name is who is asked for: the server's, or the software's on an SSH connection.
    """
    analysis = event.get("analysis")
    context = _known(event.get(event["type"]))
    return (
        endpoint(event["src_ip"], event["src_port"]),
        endpoint(event["dst_ip"], event["dst_port"]),
        printable(event["type"]),
        printable(str(context.get("server_name") or context.get("host") or context.get("protocol") or "-")),
        printable(analysis["process"]) if analysis else "-",
        f"{analysis['score']:.2f}" if analysis else "-",
        analysis["match"] if analysis else "-",
    )


ROW_HEAD = ("source", "destination", "type", "name", "process", "score", "match")


def endpoint(ip: str, port: int) -> str:
    """``address:port``, IPv6 in brackets."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def printable(text: str, width: int = 60) -> str:
    """A stranger's text for a terminal: no control characters, no endless lines."""
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def _known(context: object) -> dict[str, Any]:
    """What a context tells: nothing that is absent, and nothing when it is none (a foreign event's)."""
    pairs = context.items() if isinstance(context, dict) else ()
    return {name: value for name, value in pairs if value is not None and value is not False}
