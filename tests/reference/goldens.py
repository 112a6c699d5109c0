"""The peers' recorded outputs, in the terms of ours."""

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from vermilion import scan
from vermilion.events import line_of

DATA = Path(__file__).parents[3] / "shared" / "data"
CAPTURES = sorted(path for path in (DATA / "pcaps").glob("*.pcap*"))
PMERCURY, MERCURY = DATA / "golden/pmercury-0.2.1.3", DATA / "golden/mercury-2.18"

needs_reference = pytest.mark.skipif(
    not DATA.is_dir(), reason="the peers' recorded outputs are not here (../shared/data)"
)


class Told(NamedTuple):
    """One fingerprint of one message."""

    src_ip: str
    src_port: int
    dst_ip: str
    dst_port: int
    form: str
    text: str

    @property
    def where(self) -> tuple[str, int, str, int, str]:
        """All but the fingerprint's text."""
        return self[:5]


def lines(path: Path) -> list[dict[str, Any]]:
    """A golden file's events."""
    if not path.exists():
        return []
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


def told(event: dict[str, Any], form: str, text: str) -> Told:
    """A fingerprint of an event."""
    return Told(event["src_ip"], event["src_port"], event["dst_ip"], event["dst_port"], form, text)


def undirected(each: Told) -> Told:
    """A fingerprint of a flow: -g does not tell which side sent it."""
    one, two = sorted(((each.src_ip, each.src_port), (each.dst_ip, each.dst_port)))
    return Told(*one, *two, each.form, each.text)


@lru_cache(maxsize=256)
def scanned(capture: Path) -> tuple[dict[str, Any], ...]:
    """What ``scan -e -w`` tells of a capture."""
    return tuple(line_of(event) for event in scan(capture, types=None, readable=True))


def ours(capture: Path) -> Counter[Told]:
    """Every fingerprint of ``scan -e``."""
    return Counter(
        told(event, form, text) for event in scanned(capture) for form, text in event["fingerprints"].items()
    )


def pmercury(capture: Path, variant: str) -> list[dict[str, Any]]:
    """pmercury's messages, one object each, those of -g too."""
    out = []
    for event in lines(PMERCURY / variant / f"{capture.stem}.jsonl.gz"):
        if isinstance(event["fingerprints"], dict):
            out.append(event)
            continue
        for part in event["fingerprints"]:
            beside = {name: part[name] for name in ("event_start", "readable", "analysis") if name in part}
            prints = {name: text for name, text in part.items() if name not in beside}
            out.append({**event, **beside, "fingerprints": prints})
    return out


def mercury(capture: Path) -> Iterator[Told]:
    """mercury's fingerprints, under our names of their forms; each is in one of its two runs."""
    for event in lines(MERCURY / f"{capture.name}.jsonl.gz"):
        kind, text = event["type"], event["fingerprint"]
        if kind == "tls":
            sorted_ = event["format"] == "tls/1"
            yield told(event, "tls/1" if sorted_ else "tls", text if sorted_ else text.partition("/")[2])
        elif kind == "dtls":
            yield told(event, "dtls/1" if event["format"] == "tls/1" else "dtls", text)
        elif event["format"] == "tls":
            if kind in ("quic", "dtls_server"):
                yield told(event, kind, text)
            elif kind in ("tls_server", "ssh", "ssh_server"):
                form = kind if kind == "tls_server" else "ssh"
                yield told(event, form, text.partition("/")[2])
            else:
                yield told(event, f"{kind}/npf", text)


def with_grease_versions(text: str) -> str:
    """Behaviour reference 9.1 corrected: a GREASE version in supported_versions is 0a0a, too."""

    def corrected(found: re.Match[str]) -> str:
        codes = re.findall("....", found[2])
        return found[1] + "".join("0a0a" if re.fullmatch(r"(.)a\1a", code) else code for code in codes) + ")"

    return re.sub(r"(\(002b[0-9a-f]{6})([0-9a-f]*)\)", corrected, text)


def without_grease_bodies(text: str) -> str:
    """What mercury's wire-order form tells of a GREASE extension: its type alone."""
    head, _, extensions = text.partition(")((")
    return f"{head})((" + re.sub(r"(^|\()0a0a[0-9a-f]*\)", r"\g<1>0a0a)", extensions) if extensions else text
