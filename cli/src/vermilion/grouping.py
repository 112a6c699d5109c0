"""``scan -g``: one JSON object a flow, in the order in which the flows were first seen."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from vermilion_pipeline.flowid import NETWORKS

_ENDS = ("src_ip", "dst_ip", "src_port", "dst_port", "protocol")
_BESIDE = ("readable", "analysis", "reassembled", "truncated")
_KNOWN = {*_ENDS, *_BESIDE, "tunnels", "event_start", "fingerprints"}


class Flows:
    """Gathers the lines that ``scan`` would write, by flow; either direction may come first."""

    def __init__(self) -> None:
        self._flows: dict[tuple[Any, ...], dict[str, Any]] = {}

    def add(self, line: Mapping[str, Any]) -> None:
        """Take one message's line. The first message of a flow fixes its orientation."""
        src, dst, sport, dport, protocol = (line[name] for name in _ENDS)
        around = _around(line)
        key = (src, dst, sport, dport, protocol, around)
        back = (dst, src, dport, sport, protocol, around)
        flow = self._flows.get(key) or self._flows.get(back)
        if flow is None:
            flow = self._flows[key] = {name: line[name] for name in (*_ENDS, "event_start")}
            if "tunnels" in line:  # as that message told them
                flow["tunnels"] = line["tunnels"]
            flow["event_end"] = line["event_start"]
            flow["fingerprints"] = []
        flow["event_end"] = max(flow["event_end"], line["event_start"])
        message = {"event_start": line["event_start"], **line["fingerprints"]}
        message |= {name: line[name] for name in _BESIDE if name in line}
        if "readable" in line:  # of one message, so its type need not be told again
            (message["readable"],) = line["readable"].values()
        flow["fingerprints"].append(message)
        for name, context in line.items():
            if name not in _KNOWN:
                flow.setdefault(name, {}).update(context)

    def take(self, before: float) -> Iterator[bytes]:
        """The flows that began before, as JSON lines; they are forgotten."""
        for key, flow in list(self._flows.items()):
            if flow["event_start"] < before:
                del self._flows[key]
                yield orjson.dumps(flow, option=orjson.OPT_APPEND_NEWLINE)


def _around(line: Mapping[str, Any]) -> tuple[Any, ...]:
    """What of a line's tunnels is the same in both directions."""
    return tuple(
        (
            each["kind"],
            *sorted((each.get("src_ip", ""), each.get("dst_ip", ""))),
            each.get("id") if each["kind"] in NETWORKS else None,
        )
        for each in line.get("tunnels", ())
    )
