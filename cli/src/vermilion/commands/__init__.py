"""The sub-commands: a module each, which imports what it needs only when it runs."""

from importlib.util import find_spec

import typer

from vermilion.commands import capture, demo, doctor, replay, scan, services, tail, topics


def register(app: typer.Typer) -> None:
    """Add the sub-commands to ``app``, in the order of the data's flow."""
    app.command()(scan.scan)
    app.command()(capture.capture)
    app.command()(services.fingerprint)
    app.command()(services.classify)
    app.command()(tail.tail)
    app.command()(replay.replay)
    app.add_typer(topics.app, name="topics")
    if find_spec("vermilion_classify"):  # which an image of another service has not
        from vermilion.commands import db

        app.add_typer(db.app, name="db")
    app.command()(doctor.doctor)
    app.command()(demo.demo)
