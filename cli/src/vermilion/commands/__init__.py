"""The sub-commands: a module each, which imports what it needs only when it runs."""

import typer

from vermilion.commands import capture, db, demo, doctor, replay, scan, services, tail, topics


def register(app: typer.Typer) -> None:
    """Add the sub-commands to ``app``, in the order of the data's flow."""
    app.command()(scan.scan)
    app.command()(capture.capture)
    app.command()(services.fingerprint)
    app.command()(services.classify)
    app.command()(tail.tail)
    app.command()(replay.replay)
    app.add_typer(topics.app, name="topics")
    app.add_typer(db.app, name="db")
    app.command()(doctor.doctor)
    app.command()(demo.demo)
