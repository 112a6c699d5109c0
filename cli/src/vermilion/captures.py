"""Which captures a person means: files, folders, patterns, standard input."""

import glob
from collections.abc import Callable
from pathlib import Path

from vermilion.errors import CommandFailed
from vermilion_capture.capturefile import CaptureError, CaptureFile
from vermilion_capture.window import STDIN

_TOLD = 10


def find(named: list[str], tell: Callable[[str], object]) -> list[Path]:
    """The captures, in the order named; those of a folder sorted by path, its folders' among them.

    ``tell`` hears what was left out. Raises CommandFailed where nothing is found.
    """
    found: list[Path] = []
    for name in named:
        path = Path(name)
        if path == STDIN or path.exists() or not glob.has_magic(name):
            found += _in_folder(path, tell) if path.is_dir() else [path]
            continue
        matching = [Path(each) for each in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207 (absolute ones)
        if not matching:
            raise CommandFailed(f"{name}: no file has such a name")
        for each in matching:
            found += _in_folder(each, tell) if each.is_dir() else [each]
    return found


def _in_folder(folder: Path, tell: Callable[[str], object]) -> list[Path]:
    captures, left = [], []
    for path in _files(folder):
        if not path.is_file():  # opening a pipe would wait for its writer
            left.append(f"{path}: no regular file")
            continue
        try:
            CaptureFile(path).close()
            captures.append(path)
        except CaptureError as error:
            left.append(str(error))
    for line in left[:_TOLD]:
        tell(f"left out: {line}")
    if len(left) > _TOLD:
        tell(f"left out: {len(left) - _TOLD} more in {folder}")
    if not captures:
        raise CommandFailed(f"{folder}: no capture is in it ({len(left)} other files)")
    return captures


def _files(folder: Path) -> list[Path]:
    """All that is no folder, each once: a file of several names by the first of those that are not hidden.

    Kubernetes lays a ConfigMap's files out as links into a hidden folder beside them.
    """
    once: dict[tuple[int, int], Path] = {}
    for path in sorted(folder.rglob("*"), key=lambda path: (_hidden(path.relative_to(folder)), path)):
        if path.is_dir():
            continue
        try:
            status = path.stat()
        except OSError:  # a link to nowhere, which is told like any file that cannot be read
            status = path.lstat()
        once.setdefault((status.st_dev, status.st_ino), path)
    return sorted(once.values())


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
