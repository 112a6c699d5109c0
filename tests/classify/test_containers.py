"""Knowledge files that are damaged, cut off, foreign or newer are refused; what is mapped is the same."""

import struct
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from classify.databases import NO_MONTHS, TABLES, database, event, line, row

from vermilion_classify import container
from vermilion_classify.compiling import Layer, SystemTables, compiled
from vermilion_classify.container import Container, ContainerError
from vermilion_classify.databases import KnowledgeError
from vermilion_classify.knowledge import Knowledge
from vermilion_classify.store import load


@pytest.fixture
def data(tmp_path: Path) -> bytes:
    rows = [row("a", 3, os_info={"(Linux)(Ubuntu 18.04)(x)": 3}), row("b", 1)]
    lines = [line(rows, f"(0303)({n:04x}c02f1301)((0000)(0017))") for n in range(40)]
    return compiled([Layer("test", "1", database(tmp_path, lines))], TABLES, SystemTables(), NO_MONTHS)


def refused(path: Path) -> str:
    with pytest.raises(KnowledgeError) as error:
        load(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_the_same_input_gives_the_same_bytes_and_a_mapped_file_the_same_answers(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "k"
    container.write(path, data)
    assert container.packed({"x": 1}, {"y": array("I", [1])}) == container.packed(
        {"x": 1}, {"y": array("I", [1])}
    )
    asked = event("(0303)(0007c02f1301)((0000)(0017))")
    assert load(path).analyse(asked) == Knowledge(Container(memoryview(data), "memory")).analyse(asked)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda data: b"", "holds no fingerprint"),
        (lambda data: data[:40], "no knowledge file"),
        (lambda data: data[:-1], "damaged or cut off"),
        (lambda data: data[: len(data) // 2], "damaged or cut off"),
        (lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], "damaged or cut off"),
        (lambda data: data[:8] + struct.pack("<I", 2) + data[12:], "has format 2"),
    ],
)
def test_what_is_not_whole_is_refused(
    tmp_path: Path, data: bytes, damage: Callable[[bytes], bytes], why: str
) -> None:
    path = tmp_path / "k"
    path.write_bytes(damage(data))
    assert why in refused(path)


SECTIONS = [
    "rows_at", "gains_at", "gain_row", "process", "family", "os", "os_at", "exact_value", "sorted_value",
    "sorted_next", "tokens", "tokens_at", "posted", "posted_at", "key_at", "text_at", "known_at",
    "entry_layer", "entry_model",
]  # fmt: skip


@pytest.mark.parametrize("name", SECTIONS)
def test_contents_that_lead_astray_are_refused(data: bytes, name: str) -> None:
    """With a checksum that is right: a stranger can make that, too."""
    whole = Container(memoryview(data), "x")
    sections: dict[str, Any] = {
        section: array(whole[section].format, whole[section].tobytes()) for section in whole.names
    }
    broken = sections[name]
    if not len(broken):
        broken.append(0)
    broken[-1] = 200 if broken.typecode == "B" else 0xFFFFFFF0
    with pytest.raises(ContainerError, match=r"section (\w+)"):
        Knowledge(Container(memoryview(container.packed(whole.meta, sections)), "x"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layers", []), ("systems", [["a"]]), ("threshold", "x"), ("calibration", {}), ("tokens", -1),
        ("name", None), ("retention", {"process": "x"}), ("syn", {}),
    ],
)  # fmt: skip
def test_contents_that_are_not_as_expected_are_refused(data: bytes, name: str, value: object) -> None:
    whole = Container(memoryview(data), "x")
    sections = {section: array(whole[section].format, whole[section].tobytes()) for section in whole.names}
    meta = (
        {**whole.meta, name: value}
        if value is not None
        else {k: v for k, v in whole.meta.items() if k != name}
    )
    with pytest.raises(ContainerError):
        Knowledge(Container(memoryview(container.packed(meta, sections)), "x"))
