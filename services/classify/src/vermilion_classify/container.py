"""The file that compiled knowledge lies in: named arrays behind one another, mapped into memory.

Layout: ``VRMKNOW`` and a line feed; format number and length of the contents (both 4 bytes,
little-endian); BLAKE2b-256 of all that follows; the contents, JSON: ``{"meta": {...}, "sections":
{name: [type code, offset, items]}}``; then the sections, each at an offset, counted from the end
of the contents, that is a multiple of eight. Several processes that map one file share its pages.

A file is replaced whole, by a rename: what has it mapped keeps the old one. Cutting or writing
one in place would take the ground from under its readers.
"""

import hashlib
import mmap
import os
import struct
import sys
import tempfile
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from vermilion_pipeline.errors import VermilionError

FORMAT = 1
MAGIC = b"VRMKNOW\n"
_HEAD = struct.Struct("<8sII32s")
_ALIGN = 8
Section = array | bytes  # type: ignore[type-arg]


class ContainerError(VermilionError):
    """A knowledge file that is missing, damaged, foreign or newer; says which and why."""


class Container:
    """A knowledge file's sections and what is said of them. Immutable."""

    def __init__(self, buffer: memoryview, origin: str) -> None:
        """Raises ContainerError; ``origin`` names the file in its message."""
        self.origin = origin
        if len(buffer) < _HEAD.size or bytes(buffer[: len(MAGIC)]) != MAGIC:
            raise ContainerError(f"{origin}: no knowledge file (offset 0); make one with: vermilion db build")
        _, number, size, digest = _HEAD.unpack_from(buffer)
        if number != FORMAT:
            raise ContainerError(
                f"{origin}: has format {number} (offset {len(MAGIC)}), this is made for {FORMAT}; "
                "make it anew with: vermilion db build"
            )
        if hashlib.blake2b(buffer[_HEAD.size :], digest_size=32).digest() != digest:
            raise ContainerError(
                f"{origin}: damaged or cut off: the {len(buffer) - _HEAD.size} bytes from offset "
                f"{_HEAD.size} do not have their checksum"
            )
        self.digest: str = digest.hex()
        try:
            contents = orjson.loads(buffer[_HEAD.size : _HEAD.size + size])
            self.meta: dict[str, Any] = dict(contents["meta"])
            self._sections = {
                name: _section(buffer, _HEAD.size + size, *where)
                for name, where in contents["sections"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ContainerError(f"{origin}: contents at offset {_HEAD.size}: {error}") from None

    def __getitem__(self, name: str) -> memoryview:
        """The items of a section. Raises ContainerError."""
        try:
            return self._sections[name]
        except KeyError:
            raise ContainerError(f"{self.origin}: has no section {name}") from None

    @property
    def names(self) -> list[str]:
        """The names of the sections."""
        return list(self._sections)


def _section(buffer: memoryview, base: int, code: str, offset: int, items: int) -> memoryview:
    size = items * array(code).itemsize
    if offset < 0 or items < 0 or offset % _ALIGN or base + offset + size > len(buffer):
        raise ValueError(f"a section of {items} items at offset {offset} lies outside")
    found: memoryview = buffer[base + offset : base + offset + size].cast(code)  # type: ignore[call-overload]
    return found


def is_container(path: Path) -> bool:
    """Whether a file begins like compiled knowledge. Raises OSError."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def mapped(path: Path) -> Container:
    """The knowledge file at ``path``, mapped read-only. Raises ContainerError."""
    if sys.byteorder != "little":
        raise ContainerError(f"{path}: knowledge files are little-endian, and this machine is not")
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise ContainerError(f"{path}: is empty")
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise ContainerError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    return Container(memoryview(mapping), str(path))


def packed(meta: Mapping[str, Any], sections: Mapping[str, Section]) -> bytes:
    """A knowledge file's bytes. The same input gives the same bytes."""
    where: dict[str, tuple[str, int, int]] = {}
    body = bytearray()
    for name, items in sections.items():
        code = items.typecode if isinstance(items, array) else "B"
        where[name] = (code, len(body), len(items))
        body += items.tobytes() if isinstance(items, array) else items
        body += bytes(-len(body) % _ALIGN)
    contents = orjson.dumps({"meta": meta, "sections": where}, option=orjson.OPT_SORT_KEYS)
    # Spaces up to where the sections may begin: JSON does not mind them.
    contents += b" " * (-(_HEAD.size + len(contents)) % _ALIGN)
    rest = contents + bytes(body)
    digest = hashlib.blake2b(rest, digest_size=32).digest()
    return _HEAD.pack(MAGIC, FORMAT, len(contents), digest) + rest


def write(path: Path, data: bytes) -> None:
    """Put a file in place, whole or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
