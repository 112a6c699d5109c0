"""A round: all clients at once over one wire, seen by ``scan -c`` and recorded by tcpdump."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cli.command import vermilion
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate
from wire.clients import CLIENTS, DATAGRAM_CLIENTS, LONG_NAME, NAME, run_all
from wire.forwarder import Conditions, Report
from wire.mirrors import MIRRORS
from wire.observers import Event, Marks, recording, telling
from wire.servers import serving, serving_datagrams
from wire.topology import SERVER, SERVER6, town

ROUGH = Conditions(loss=0.05, reorder=0.25, duplicate=0.02, delay=0.001)
# How often each client runs in a round.
FLOWS = int(os.environ.get("VERMILION_WIRE_FLOWS", "2"))


@dataclass(frozen=True)
class Situation:
    """What a round is played on; ``mtu``: of the ends; ``udp``: by the clients over UDP, and no others."""

    conditions: Conditions = ROUGH
    mirror: str = "untagged"
    mirrored: Literal["sent", "delivered"] = "delivered"
    mtu: int = 576
    ipv6: bool = False
    offloads: bool = False
    udp: bool = False


@dataclass
class Observation:
    """What came of a round: the wire's report, what ``scan -c`` told, and what is in tcpdump's file.

    ``certificate``: the server's SHA-256, hex. ``scanned``, ``recorded``: None without tcpdump.
    """

    report: Report
    events: list[Event]
    code: int
    said: str
    certificate: str
    scanned: list[Event] | None = None
    recorded: int | None = None


def copies(*, udp: bool = False) -> Mapping[str, int]:
    """How often each client runs that is installed here."""
    return {
        name: 1 if client.browser or udp else FLOWS
        for name, client in (DATAGRAM_CLIENTS if udp else CLIENTS).items()
        if client.missing() is None
    }


def play(situation: Situation, seed: int, folder: Path) -> Observation:
    """Play one round in a folder of its own."""
    mirror, _ = MIRRORS[situation.mirror]
    file = folder / "monitor.pcap"
    address = SERVER6 if situation.ipv6 else SERVER
    with (
        town(
            situation.mtu, situation.conditions, seed, mirror, situation.mirrored, offloads=situation.offloads
        ) as here,
        (
            serving_datagrams(here.servers, folder, [NAME], address)
            if situation.udp
            else serving(here.servers, folder, [NAME, LONG_NAME])
        ),
        recording(here.monitor, file) as recorder,
        telling("scan", "-e", "-a", "-c", here.monitor) as scan,
    ):
        marks = Marks(here.wire.tell, scan, recorder)
        marks.begin()
        here.wire.start()
        run_all(here.clients, address, folder, copies(udp=situation.udp))
        here.wire.settle()
        here.wire.stop()
        marks.end()
        code, said = scan.stop()
        certificate = load_pem_x509_certificate((folder / "server.pem").read_bytes())
        fingerprint = certificate.fingerprint(SHA256()).hex()
        seen = Observation(here.wire.report, scan.events, code, said, fingerprint)
        if recorder:
            seen.recorded = recorder.stop()
            seen.scanned = scan_file(file)
    return seen


def scan_file(file: Path) -> list[Event]:
    """What ``scan`` tells of a capture file."""
    done = vermilion("scan", "-e", "-a", file)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
