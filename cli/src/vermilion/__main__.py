"""``python -m vermilion``: the same as the ``vermilion`` command."""

from vermilion.main import main

main()
