"""Builds a compiled member: every ``.pyx`` of its package, with one set of options.

An editable install of a Cython package goes stale in silence: the source changes, the extension
does not. So each member is built with the hash of its sources inside (``_build.SOURCE_SHA256``),
and a test compares it with the sources as they are now.
"""

import hashlib
import os
from pathlib import Path

__all__ = ["setup_member", "source_sha256"]


def sources(package: Path) -> list[Path]:
    """Every Cython source of ``package`` (a folder), in a fixed order."""
    return sorted([*package.rglob("*.pyx"), *package.rglob("*.pxd")])


def source_sha256(package: Path) -> str:
    """SHA-256, as hex, over names and contents of the Cython sources of ``package``."""
    digest = hashlib.sha256()
    for path in sources(package):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def setup_member(setup_py: str, package: str) -> None:
    """Run setuptools for the member whose ``setup.py`` this is; ``package`` is its import name."""
    # Only a build needs these two; the tests import this module for source_sha256 alone.
    from Cython.Build import cythonize  # noqa: PLC0415
    from setuptools import Extension, setup  # noqa: PLC0415

    root = Path(setup_py).parent
    os.chdir(root)
    folder = Path("src") / package
    depends = [str(path) for path in sources(folder)]
    extensions = [
        Extension(
            ".".join(path.relative_to("src").with_suffix("").parts),
            [str(path)],
            depends=depends,
            define_macros=[("VERMILION_SOURCE_SHA256", f'"{source_sha256(folder)}"')],
            extra_compile_args=["-O3", "-g0"],
        )
        for path in folder.rglob("*.pyx")
    ]
    # Index checks stay on: without them a list's [-1] in a .pyx is a crash, not an error.
    directives = {"language_level": 3, "cdivision": True}
    setup(
        ext_modules=cythonize(
            extensions, include_path=["src"], build_dir="build/cython", compiler_directives=directives
        )
    )
