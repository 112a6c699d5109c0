"""The ancestor of all errors that a person is told in one line."""


class VermilionError(Exception):
    """What may go wrong while working: its message says what happened, where, and what to do.

    Anything else that is raised is a defect of ours, and its traceback is wanted.
    """
