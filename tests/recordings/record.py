"""Record real programs against local servers, and note which program made which flow.

As root, from the checkout's root:

    PYTHONPATH=tests .venv/bin/python -m recordings.record                    the bundled recording
    PYTHONPATH=tests .venv/bin/python -m recordings.record --situation all    the small files of tests/data
    PYTHONPATH=tests .venv/bin/python -m recordings.record --programs-2019 DIR    programs of 2019, which
                                                            recordings.fetch2019 put into DIR

Programs run one at a time on a host of their own, so every connection of that host while one runs is that
program's; what of a program's processes outlives it is ended before the next begins. Programs that this
machine lacks are named and left out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recordings import programs, programs2019, readme, world
from recordings.programs import TODAY, Era, Program
from recordings.wire import Flow, Recorder, write_pcap
from recordings.world import WORK, WorldError

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "cli" / "src" / "vermilion" / "recordings"
DATA = ROOT / "tests" / "data"
PROTOCOLS = {
    443: "tls",
    8443: "tls",
    80: "http",
    8080: "http",
    22: "ssh",
    25: "smtp",
    143: "imap",
    110: "pop3",
    21: "ftp",
    5432: "postgresql",
    4443: "quic",
    4444: "dtls",
}

SITUATIONS = {
    "tls12_openssl": ["openssl-tls1.2"],
    "tls12_only_server_curl": ["curl-tls1.2-server"],
    "tls13_pq_two_segments": ["go"],
    "tls13_resumed_openssl": ["openssl-session", "openssl-resume"],
    "tls13_chromium": ["chromium"],
    "tls13_firefox": ["firefox"],
    "no_sni_openssl": ["openssl-no-sni"],
    "other_port_curl": ["curl-8443"],
    "ipv6_curl": ["curl-ipv6"],
    "http_get_post": ["http-curl", "http-curl-post"],
    "http_two_requests": ["http-curl-two"],
    "ssh_openssh": ["ssh"],
    "quic_chromium": ["chromium-h3"],
    "dtls12_openssl": ["openssl-dtls1.2"],
    "dtls12_fragments_openssl": ["openssl-dtls1.2-mtu"],
    "starttls": [each.key for each in programs.UPGRADING],
}


@dataclass(frozen=True)
class Recorded:
    """A flow and what made it."""

    flow: Flow
    program: Program
    version: str | None
    library: str | None

    def label(self, system: str) -> dict[str, str | int | None]:
        """The flow's entry in the list of programs."""
        return {
            "src_ip": self.flow.client[0],
            "src_port": self.flow.client[1],
            "dst_ip": self.flow.server[0],
            "dst_port": self.flow.server[1],
            "protocol": PROTOCOLS[self.flow.server[1]],
            "program": self.program.program,
            "version": self.version,
            "command": self.program.line,
            "os": system,
            "library": self.library,
        }


def record(era: Era, chosen: Sequence[Program], homes: Path | None = None) -> list[Recorded]:
    """Run programs one after another and return their flows."""
    seen_by_all = programs.environment()
    programs.prepare(seen_by_all)
    _start_servers()
    residents = _processes()
    recorder = Recorder(world.WIRE, world.is_server)
    recorded = []
    try:
        for program in chosen:
            seen = programs2019.seen_by(program, seen_by_all, homes) if homes else seen_by_all
            there = programs.is_there(program, seen)
            version = programs.version_of(program, era, seen) if there else None
            if version is None:
                _say(f"lacking: {program.key} ({program.program} is not installed here)")
                continue
            _end_all_but(residents)
            recorder.take()
            _run(program, seen)
            _end_all_but(residents)
            flows = recorder.take()
            library = programs.library_of(program, era, seen)
            recorded += [Recorded(flow, program, version, library) for flow in flows]
            segments = [flow.hello_segments() for flow in flows]
            _say(f"{program.key}: {len(flows)} flow(s), first record in {segments} segment(s)")
    finally:
        recorder.close()
    if recorder.problems:
        raise WorldError(recorder.problems[0])
    return recorded


def _start_servers() -> None:
    servers = subprocess.Popen(world.in_servers_host([sys.executable, "-m", "recordings.servers"]))
    deadline = time.monotonic() + 20
    while not (WORK / "ready").exists():
        if servers.poll() is not None or time.monotonic() > deadline:
            raise WorldError("the servers did not start")
        time.sleep(0.1)
    for key in WORK.glob("client_key*"):
        shutil.copy(key, WORK / "run" / key.name)


def _run(program: Program, seen: Mapping[str, str]) -> None:
    with (WORK / "output").open("w+") as output:
        process = subprocess.Popen(
            program.command,
            env=dict(seen),
            cwd=WORK / "run",
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        )
        try:
            process.communicate(program.stdin.encode(), timeout=programs.SECONDS)
        except subprocess.TimeoutExpired:
            _say(f"{program.key}: still running after {programs.SECONDS} s")
        time.sleep(0.2)  # the last frames
        if process.poll() not in program.codes:
            output.seek(0)
            _say(f"{program.key}: exit {process.poll()}: {output.read()[-600:]}")
        if process.poll() is None:
            process.kill()
            process.wait()


def _processes() -> set[int]:
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}


def _end_all_but(residents: set[int]) -> None:
    """End what programs left behind, and wait until their host has no connection any more."""
    for pid in _processes() - residents:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(_open_connections(Path("/proc/net") / name) for name in ("tcp", "tcp6")):
        if time.monotonic() > deadline:
            raise WorldError("a connection of the program before is still open")
        time.sleep(0.05)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _open_connections(table: Path) -> int:
    waiting_is_over = {"06", "07"}  # TIME_WAIT, CLOSE
    return sum(line.split()[3] not in waiting_is_over for line in table.read_text().splitlines()[1:])


def _write_bundled(name: str, recorded: Sequence[Recorded], system: str) -> None:
    BUNDLED.mkdir(parents=True, exist_ok=True)
    write_pcap(BUNDLED / f"{name}.pcap", (each.flow for each in recorded))
    _write_labels(BUNDLED / f"{name}.json", [each.label(system) for each in recorded])
    rows = [(e.program, e.version or "", e.library or "") for e in recorded]
    readme.write(BUNDLED / "README.md", rows, system)


def _write_situations(chosen: Sequence[str], recorded: Sequence[Recorded], system: str) -> None:
    DATA.mkdir(parents=True, exist_ok=True)
    index = DATA / "recorded.json"
    labels = json.loads(index.read_text()) if index.exists() else {}
    for name in chosen:
        flows = [each for each in recorded if each.program.key in SITUATIONS[name]]
        if flows:
            write_pcap(DATA / f"{name}.pcap", (each.flow for each in flows))
            labels[f"{name}.pcap"] = [each.label(system) for each in flows]
    index.write_text(json.dumps(dict(sorted(labels.items())), indent=1) + "\n")


def _write_labels(file: Path, labels: Sequence[Mapping[str, str | int | None]]) -> None:
    file.write_text("[\n" + ",\n".join(json.dumps(label) for label in labels) + "\n]\n")


def _say(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def main() -> int:
    """Record what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="recordings.record", description="Record real programs on a wire.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--situation", choices=[*SITUATIONS, "all"], help="write this small file of tests/data")
    what.add_argument("--programs-2019", type=Path, metavar="DIR", help="record the programs of 2019 in here")
    arguments = parser.parse_args()
    situation: str | None = arguments.situation
    homes: Path | None = arguments.programs_2019 and arguments.programs_2019.resolve()
    try:
        if homes and not homes.is_dir():
            raise WorldError(f"no folder {homes}: fill it with python -m recordings.fetch2019 {homes}")
        world.enter("recordings.record", sys.argv[1:])
        world.build()
        names = list(SITUATIONS) if situation == "all" else [situation] if situation else []
        keys = {key for name in names for key in SITUATIONS[name]}
        era = programs2019.ERA if homes else TODAY
        listed = [*era.programs, *programs.UPGRADING] if keys else era.programs
        recorded = record(era, [each for each in listed if not keys or each.key in keys], homes)
        if homes and not recorded:
            raise WorldError(f"none of the programs of 2019 is in {homes}")
    except WorldError as error:
        _say(f"error: {error}")
        return 1
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    if names:
        _write_situations(names, recorded, system)
    else:
        _write_bundled("programs-2019" if homes else "programs", recorded, system)
    return 0


if __name__ == "__main__":
    sys.exit(main())
