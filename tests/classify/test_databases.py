"""Databases that are damaged are refused with file, line and reason; keys that drifted are mended."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from classify.databases import FP, database, line, row, write

from vermilion_classify.databases import KnowledgeError, read
from vermilion_classify.sources import FetchError, sources
from vermilion_classify.store import load
from vermilion_classify.tables import load_families, load_names, load_now, load_suffixes, load_then, ranges


def keys(path: Path) -> list[str]:
    return [key for entry in read(path).entries for key in entry.keys]


def test_of_two_alike_the_last_counts(tmp_path: Path) -> None:
    found = database(tmp_path, [line([row("old", 1)]), b"\n", line([row("new", 1)])])
    assert [entry.rows[0]["process"] for entry in found.entries] == ["new"]


BAD = [
    (b"{not json\n", "not JSON"),
    (b"[]\n", "'list' object"),
    (b"7\n", "'int' object"),
    ({"str_repr": FP, "total_count": 1}, "no field 'process_info'"),
    ({**line([row("a", 1)]), "process_info": {}}, "process_info is no list"),
    ({**line([row("a", 1)]), "total_count": 0}, "total_count is 0"),
    ({**line([row("a", 1)]), "total_count": "9"}, "total_count is '9'"),
    ({**line([row("a", 1)]), "str_repr": None}, "str_repr is no string"),
    ({**line([row("a", 1)]), "str_repr": "tcp"}, "str_repr is no fingerprint"),
    (line([row("a", 3), {"process": "b", "count": -1}]), "count is -1"),
    (line([row("a", 1, classes_ip_as={"x": 0})]), "classes_ip_as['x'] is 0"),
    (line([row("a", 1, classes_ip_as=[1])]), "'list' object"),
    (line([row("a", 1, os_info={"x": "many"})]), "os_info['x'] is 'many'"),
    (line([row("a", 1, malware="yes")]), "malware is 'yes'"),
    (line([{**row("a", 1), "process": 5}]), "process is 5"),
    (line([row("a", 1)], last_seen="yesterday"), "last_seen"),
    (line([row("a", 1)], feature_weights={"as": 1}), "feature_weights"),
]


@pytest.mark.parametrize(("bad", "why"), BAD)
def test_a_bad_line_is_named(tmp_path: Path, bad: Any, why: str) -> None:
    path = write(tmp_path / "db.gz", [line([row("a", 1)]), bad])
    with pytest.raises(KnowledgeError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: line 2: ")
    assert why in str(error.value)


def test_lenient_leaves_bad_lines_out_and_counts_them(tmp_path: Path) -> None:
    path = write(tmp_path / "db.gz", [*(bad for bad, _ in BAD), line([row("a", 1)])])
    found = read(path, lenient=True)
    assert [entry.keys for entry in found.entries] == [(FP,)]
    assert found.skipped["wrong"] == len(BAD)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "holds no fingerprint"),
        (b"plain text", "not JSON"),
        (b"\x1f\x8b\x08\0", "damaged or cut off"),
    ],
)
def test_foreign_files(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "db.gz"
    path.write_bytes(data)
    with pytest.raises(KnowledgeError) as error:
        read(path)
    assert str(path) in str(error.value)
    assert why in str(error.value)


def test_cut_off_gzip(tmp_path: Path) -> None:
    path = write(tmp_path / "db.gz", [line([row("a", 1)], f"(0303)({i:04x})()") for i in range(500)])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(KnowledgeError, match="damaged or cut off"):
        read(path)


def test_plain_lines_are_read_too(tmp_path: Path) -> None:
    packed = write(tmp_path / "db.gz", [line([row("a", 1)])])
    plain = tmp_path / "db.json"
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    assert read(plain).entries == read(packed).entries


def test_what_was_seen_and_not_labelled(tmp_path: Path) -> None:
    path = tmp_path / "seen.txt"
    path.write_text("(0303)(1301)()\n(0303)(1302)()\n")
    assert read(path).unlabelled == {"(0303)(1301)()", "(0303)(1302)()"}
    assert read(write(tmp_path / "db.gz", [line([]) | {"total_count": 5}])).unlabelled == {FP}


@pytest.mark.parametrize(
    ("drifted", "key", "kind"),
    [
        ("(0303)(c02f)", "(0303)(c02f)()", "parentheses of the extensions missing"),
        ("(0303)(c02f)(0017)", "(0303)(c02f)((0017))", "parentheses of the extensions missing"),
        ("(0303)(dadac02f)()", "(0303)(0a0ac02f)()", "GREASE values as sent"),
        (
            "(0303)(c02f)((2a2a0000)(000a000600045a5a001d)(002b0003021a1a))",
            "(0303)(c02f)((0a0a0000)(000a000600040a0a001d)(002b0003020a0a))",
            "GREASE values as sent",
        ),
    ],
)  # fmt: skip
def test_keys_that_drifted_are_mended(tmp_path: Path, drifted: str, key: str, kind: str) -> None:
    found = database(tmp_path, [line([row("a", 1)], drifted)])
    assert found.entries[0].keys == (key,)
    assert found.normalised == {kind: 1}


@pytest.mark.parametrize(
    "cut", ["(0303)", "(0303)((0019))", "(0303)(c02f)((002b))", "(0303)(c02f)((00170002abcd))"]
)
def test_keys_that_no_hello_gives_are_left_out_and_counted(tmp_path: Path, cut: str) -> None:
    found = database(tmp_path, [line([row("a", 1)], cut), line([row("a", 1)])])
    assert [entry.keys for entry in found.entries] == [(FP,)]
    assert found.skipped.total() == 1


def test_other_protocols_of_mercurys_databases_are_counted(tmp_path: Path) -> None:
    http = {"str_repr": "http/(474554)", "fp_type": "http", "total_count": 1, "process_info": []}
    assert database(tmp_path, [http, line([row("a", 1)])]).skipped == {"fingerprints of type http": 1}


def test_several_strings_of_one_fingerprint(tmp_path: Path) -> None:
    both = ["tls/1/(0303)(c02f)[]", "tls/1/(0303)(c030)[]"]
    entry = {**line([row("a", 1)]), "str_repr_array": both, "fp_type": "tls"}
    found = database(tmp_path, [entry])
    assert found.entries[0].keys == tuple(both)
    assert found.model == "mercury"


def test_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KnowledgeError, match="No such file"):
        read(tmp_path / "none.gz")
    with pytest.raises(KnowledgeError, match="No such file"):
        load(tmp_path / "none.gz")
    monkeypatch.setenv("VERMILION_RESOURCE_DIR", str(tmp_path))
    with pytest.raises(KnowledgeError, match="vermilion db fetch"):
        load()


def test_tables(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"\xff\xfe")
    for attempt in (
        lambda: load_suffixes(path),
        lambda: load_names(path),
        lambda: load_then(path, path),
        lambda: load_now(path, path),
        lambda: load_families(path),
    ):
        with pytest.raises(KnowledgeError, match=str(path)):
            attempt()
    path.write_text("Family,one,two\nOther,two,three\n\n")
    assert load_families(path) == {"one": "Family", "two": "Other", "three": "Other"}
    path.write_text("1,2,64500\n1,x,2\n")
    with pytest.raises(KnowledgeError, match="line 2"):
        load_now(path, path)


def test_ranges_of_addresses() -> None:
    starts, numbers = ranges([(30, 39, 3), (10, 19, 1), (20, 24, 1), (12, 15, 9)], "I")
    assert list(zip(starts, numbers, strict=True)) == [(0, 0), (10, 1), (25, 0), (30, 3), (40, 0)]


def test_a_wrong_sources_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERMILION_RESOURCE_DIR", str(tmp_path))
    (tmp_path / "sources.toml").write_text('[x."1"]\nregistry = 1\n')
    with pytest.raises(FetchError, match=r"sources\.toml"):
        sources()


def test_what_was_fetched_is_what_was_pinned() -> None:
    assert [source.missing() for source in sources()] == [[]] * 3
    knowledge = load()
    assert [layer["fingerprints"] for layer in knowledge.meta["layers"]] == [4573, 8455]
    # Of those that both have, the first layer's answer.
    assert knowledge.entries == 8849
