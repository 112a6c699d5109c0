"""The key log of a command, and what came of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from vermilion_fingerprint.decrypt.following import KeyLogFile


def open_key_log(path: Path, *, may_come: bool) -> "KeyLogFile":
    """The key log at ``path``, which need not be there yet when it ``may_come``. Raises KeyLogError."""
    from vermilion_fingerprint.decrypt.following import KeyLogFile

    log = KeyLogFile(path)
    log.check(may_come=may_come)
    return log


def follow_key_log(path: Path) -> "KeyLogFile":
    """The key log of a service, which need not be there yet; its log tells. Raises KeyLogError."""
    import structlog

    from vermilion_fingerprint.decrypt.following import KeyLogFile

    told = structlog.get_logger("vermilion_fingerprint")

    def tell(problem: str | None) -> None:
        if problem is None:
            told.info("key log is read", path=str(path))
        else:
            told.warning("key log cannot be read; nothing more is decrypted until it can", problem=problem)

    log = KeyLogFile(path, tell=tell)
    log.check(may_come=True)
    told.info("key log followed", path=str(path), connections=log.keys.connections, lines=log.keys.lines)
    return log


def tell_decrypted(log: "KeyLogFile", counts: Mapping[tuple[str, ...], int]) -> None:
    """Tell on stderr what was decrypted, and what was not and why."""

    def listed(name: str) -> str:
        return ", ".join(f"{n} {what[1]}" for what, n in sorted(counts.items()) if what[0] == name)

    connections = sum(n for what, n in counts.items() if what[0] == "tls_connections_decrypted")
    records = counts.get(("tls_records_decrypted",), 0)
    typer.echo(
        f"vermilion: {connections:,} TLS connections decrypted, {records:,} records, each verified; "
        f"secrets of {log.keys.connections:,} connections",
        err=True,
    )
    if ended := listed("tls_decryption_ended"):
        typer.echo(f"vermilion: directions not decrypted to their end: {ended}", err=True)
    if early := counts.get(("tls_early_data_skipped",), 0):
        typer.echo(f"vermilion: {early:,} records of early data (0-RTT) skipped", err=True)
    if garbage := log.keys.lines["garbage"]:
        typer.echo(f"vermilion: warning: {log.path}: {garbage:,} lines are no key log's", err=True)
    if log.problem is not None:
        typer.echo(f"vermilion: warning: key log {log.problem}", err=True)
