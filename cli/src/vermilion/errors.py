"""The door where errors become messages: one line on stderr, exit code 1."""

from vermilion_pipeline.errors import VermilionError


class CommandFailed(VermilionError):
    """A command's own failure; says what happened and what to do."""
