"""The ``vermilion`` command: every sub-command, and the one place where errors are told."""

import logging
import os
import sys

import typer

from vermilion import commands
from vermilion.dev.commands import app as dev
from vermilion_pipeline import logs
from vermilion_pipeline.errors import VermilionError

app = typer.Typer(
    name="vermilion",
    help="Which program, on which operating system, opened this connection?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
commands.register(app)
app.add_typer(dev, name="dev")


def main() -> None:
    """Run the command line. Exit codes: 0 fine, 1 failed while working, 2 wrong usage."""
    logs.configure(level="warning")
    # A command tells in its own words that no broker answers; librdkafka would tell it a hundred times.
    logging.getLogger("vermilion_pipeline.kafka.librdkafka").setLevel(logging.CRITICAL)
    try:
        app()
    except VermilionError as error:
        sys.stderr.write(f"vermilion: error: {error}\n")
        sys.exit(1)
    except ModuleNotFoundError as error:
        # An image of one service has that one's package only.
        if error.name is None or not error.name.startswith("vermilion_"):
            raise
        sys.stderr.write(f"vermilion: error: this needs {error.name}, which is not installed here\n")
        sys.exit(1)
    except BrokenPipeError:
        # Whoever read our output has enough (`| head`). Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
