"""Knowledge that is damaged is refused with file, line and reason."""

from pathlib import Path
from typing import Any

import pytest
from classify.databases import FP, line, row, write

from vermilion_classify.destinations import TableError, load_domains, load_families, load_networks
from vermilion_classify.knowledge import KnowledgeError, load, load_entries
from vermilion_classify.sources import FetchError, sources


def test_of_two_alike_the_last_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "db.gz", [line([row("old", 1)]), b"\n", line([row("new", 1)])])
    assert load_entries(path)[FP].names == ["new"]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"{not json\n", "not JSON"),
        (b"[]\n", "list indices"),
        (b"7\n", "'int' object"),
        ({"str_repr": FP, "total_count": 1}, "no field 'process_info'"),
        (line([]), "process_info is no list"),
        ({**line([row("a", 1)]), "total_count": 0}, "total_count is 0"),
        ({**line([row("a", 1)]), "total_count": "9"}, "total_count is '9'"),
        ({**line([row("a", 1)]), "str_repr": None}, "str_repr is no string"),
        (line([row("a", 3), {"process": "b", "count": -1}]), "count is -1"),
        (line([row("a", 1, classes_ip_as={"x": 0})]), "classes_ip_as['x'] is 0"),
        (line([row("a", 1, classes_ip_as=[1])]), "'list' object"),
        (line([{**row("a", 1), "process": 5}]), "process is 5"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, bad: Any, why: str) -> None:
    path = write(tmp_path / "db.gz", [line([row("a", 1)]), bad])
    with pytest.raises(KnowledgeError) as error:
        load_entries(path)
    assert str(error.value).startswith(f"{path}: line 2: ")
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "holds no fingerprint"),
        (b"plain text", "Not a gzipped file"),
        (b"\x1f\x8b\x08\0", "damaged or cut off"),
    ],
)
def test_not_gzip(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "db.gz"
    path.write_bytes(data)
    with pytest.raises(KnowledgeError) as error:
        load_entries(path)
    assert str(path) in str(error.value)
    assert why in str(error.value)


def test_cut_off_gzip(tmp_path: Path) -> None:
    path = write(tmp_path / "db.gz", [line([row("a", 1)], f"(0303)({i:04x})()") for i in range(500)])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(KnowledgeError, match="damaged or cut off"):
        load_entries(path)


def test_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KnowledgeError, match="No such file"):
        load_entries(tmp_path / "none.gz")
    with pytest.raises(KnowledgeError, match="No such file"):
        load(sources()[0], tmp_path / "none.gz")
    monkeypatch.setenv("VERMILION_RESOURCE_DIR", str(tmp_path))
    with pytest.raises(KnowledgeError, match="vermilion db fetch"):
        load(sources()[0])


def test_tables(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"\xff\xfe")
    for attempt in (
        lambda: load_domains(path),
        lambda: load_networks(path, path),
        lambda: load_families(path),
    ):
        with pytest.raises(TableError, match=str(path)):
            attempt()
    path.write_text("Family,one,two\nOther,two,three\n\n")
    assert load_families(path) == {"one": "Family", "two": "Other", "three": "Other"}


def test_a_wrong_sources_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERMILION_RESOURCE_DIR", str(tmp_path))
    (tmp_path / "sources.toml").write_text("[x]\nversion = 1\n")
    with pytest.raises(FetchError, match=r"sources\.toml"):
        sources()


def test_what_was_fetched_is_what_was_pinned() -> None:
    (source,) = sources()
    assert source.missing() == []
    knowledge = load(source)
    assert len(knowledge.entries) == 4575
