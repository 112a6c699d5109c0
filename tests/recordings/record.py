"""Record real programs against local servers, and note which program made which flow.

As root, from the checkout's root:

    PYTHONPATH=tests .venv/bin/python -m recordings.record                    the bundled recording
    PYTHONPATH=tests .venv/bin/python -m recordings.record --situation all    the small files of tests/data

Programs run one at a time on a host of their own, so every connection of that host while one runs is that
program's; what of a program's processes outlives it is ended before the next begins. Programs that this
machine lacks are named and left out.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
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

from recordings import programs, world
from recordings.programs import PROGRAMS, Program
from recordings.wire import Flow, Recorder, write_pcap
from recordings.world import WORK, WorldError

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "cli" / "src" / "vermilion" / "recordings"
DATA = ROOT / "tests" / "data"
PROTOCOLS = {443: "tls", 8443: "tls", 80: "http", 8080: "http", 22: "ssh"}

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


def record(chosen: Sequence[Program]) -> list[Recorded]:
    """Run programs one after another and return their flows."""
    seen = programs.environment()
    programs.prepare(seen)
    _start_servers()
    residents = _processes()
    recorder = Recorder(world.WIRE, world.is_server)
    recorded = []
    try:
        for program in chosen:
            version = programs.version_of(program, seen)
            if version is None or not programs.is_there(program, seen):
                _say(f"lacking: {program.key} ({program.program} is not installed here)")
                continue
            _end_all_but(residents)
            recorder.take()
            _run(program, seen)
            _end_all_but(residents)
            flows = recorder.take()
            library = programs.library_of(program, seen)
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


def _write_bundled(recorded: Sequence[Recorded], system: str) -> None:
    BUNDLED.mkdir(parents=True, exist_ok=True)
    write_pcap(BUNDLED / "programs.pcap", (each.flow for each in recorded))
    _write_labels(BUNDLED / "programs.json", [each.label(system) for each in recorded])
    rows = sorted({(e.program.program, e.version or "", e.library or "", e.program.line) for e in recorded})
    table = "\n".join(f"| {name} {version} | {library} | `{line}` |" for name, version, library, line in rows)
    date = datetime.datetime.now(datetime.UTC).date()
    (BUNDLED / "README.md").write_text(README.format(date=date, system=system, kernel=_kernel(), table=table))


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


def _kernel() -> str:
    return ".".join(platform.release().split(".")[:2])


def _say(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def main() -> int:
    """Record what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="recordings.record", description="Record real programs on a wire.")
    parser.add_argument(
        "--situation", choices=[*SITUATIONS, "all"], help="write this small file of tests/data"
    )
    situation = parser.parse_args().situation
    try:
        world.enter("recordings.record", sys.argv[1:])
        world.build()
        names = list(SITUATIONS) if situation == "all" else [situation] if situation else []
        keys = {key for name in names for key in SITUATIONS[name]}
        recorded = record([program for program in PROGRAMS if not keys or program.key in keys])
    except WorldError as error:
        _say(f"error: {error}")
        return 1
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    if names:
        _write_situations(names, recorded, system)
    else:
        _write_bundled(recorded, system)
    return 0


README = """\
# A recording of real programs

`programs.pcap` holds the connections of real programs, each run once; `programs.json` says which program made
which of them. Recorded on {date} on {system} (Linux {kernel}) by

    PYTHONPATH=tests .venv/bin/python -m recordings.record

as root, which makes both files and this text again. Nothing in it is composed or rewritten:

* Programs run one at a time on a host of their own (a network namespace), so every connection that
  begins while one runs is that program's. Another such host has the servers; between them is a wire with
  an MTU of 1,500 bytes, and the kernel makes segments and checksums in software.
* Names and addresses are those reserved for documentation (`www.example.com`, 192.0.2.0/24,
  203.0.113.0/24, 2001:db8::/32); the servers' certificates are by an authority that existed only while
  recording.
* Of each connection the frames up to 8 KiB of payload a direction are kept, and those with SYN, FIN or RST.
  Frames are kept whole or not at all.
* `version` and `library` are what the program or its package says; `library` is null for plain HTTP.

| program | library | command |
|---|---|---|
{table}
"""

if __name__ == "__main__":
    sys.exit(main())
