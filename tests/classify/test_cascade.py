"""How a fingerprint is found: as it is, in another order, without the session's, by likeness."""

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from classify.databases import database, event, line, opened, row
from fingerprint.hellos import hello_of

from vermilion import TLS
from vermilion_classify.compiling import Layer
from vermilion_classify.forms import FormError, forms, grams, tokens
from vermilion_classify.knowledge import Knowledge
from vermilion_classify.store import load, public_layers
from vermilion_fingerprint import tls, tls_forms
from vermilion_fingerprint.cursor import Cursor

KNOWN = "(0303)(13011302c02bc02f)((0000)(0017)(000a00080006001d00170018)(000b00020100)(0023)(002b0003020304))"
PERMUTED = (
    "(0303)(13011302c02bc02f)((002b0003020304)(0023)(0000)(000b00020100)(000a00080006001d00170018)(0017))"
)
RESUMED = PERMUTED.replace("(0023)", "(0029)(002a)(0015)")
LIKE = KNOWN.replace("c02bc02f", "c02bc02fc030")
YEAR = 365.25 * 86_400e6


@pytest.fixture
def known(tmp_path: Path) -> Knowledge:
    others = [line([row("other", 5)], f"(0301)({n:04x}0035000a)((ff01))") for n in range(50)]
    lines = [line([row("curl", 9), row("wget", 1)], KNOWN, last_seen="2020-01-01"), *others]
    return opened([Layer("test", "1", database(tmp_path, lines, "pmercury-0.2"))])


@pytest.mark.parametrize(
    ("fingerprint", "match", "distance"),
    [
        (KNOWN, "exact", None),
        (PERMUTED, "sorted", 0.0),
        (RESUMED, "stable", 0.0),
        # 11 tokens, and 12: 1 - 2 * 11 / 23
        (LIKE, "approximate", pytest.approx(1 - 22 / 23)),
        ("(0002)()()", "none", None),
    ],
)
def test_the_cascade(known: Knowledge, fingerprint: str, match: str, distance: Any) -> None:
    answer = known.analyse(event(fingerprint), 1)
    assert answer is not None
    assert (answer["match"], answer["distance"]) == (match, distance)
    assert answer["process"] == ("Unknown" if match == "none" else "curl")
    assert answer["status"] == ("never_seen" if match in ("approximate", "none") else "labelled")


def test_answers_do_not_depend_on_what_was_asked_before(known: Knowledge) -> None:
    asked = [KNOWN, PERMUTED, RESUMED, LIKE, "(0002)()()", LIKE + "x"]
    alone = {text: known.analyse(event(text), 3) for text in asked}
    for text in Random(7).choices(asked, k=200):
        assert known.analyse(event(text), 3) == alone[text]


def test_seen_and_not_labelled(tmp_path: Path) -> None:
    lines = [line([row("curl", 9)], KNOWN), {**line([], LIKE), "total_count": 3}]
    answer = opened([Layer("test", "1", database(tmp_path, lines))]).analyse(event(LIKE))
    assert answer is not None
    assert (answer["status"], answer["match"]) == ("unlabelled", "approximate")


@pytest.mark.parametrize(
    "text",
    ["", "(", "(0303)", "(0303)()", "(0303)()(", "(0303)()[)", "(0303)(c)()", "(0303)(c02f)((000)))",
     "(03G3)()()", "(0303)(c02f)((0000)", "tls/", "tls/1/", "(0303)(c02f)()x", "(0303)(c02f)((0000))) "],
)  # fmt: skip
def test_what_is_no_fingerprint(known: Knowledge, text: str) -> None:
    with pytest.raises(FormError, match="at offset"):
        forms(text)
    answer = known.analyse(event(text))
    assert answer is not None
    assert answer["match"] == "none"


def test_every_cut_and_every_changed_character_is_taken(known: Knowledge) -> None:
    for end in range(len(KNOWN)):
        for text in (KNOWN[:end], KNOWN[:end] + "(" + KNOWN[end + 1 :], KNOWN[:end] + "é" + KNOWN[end:]):
            assert known.analyse(event(text)) is not None


def test_a_fingerprint_of_any_length_is_taken(known: Knowledge) -> None:
    long = "(0303)(" + "1301" * 30_000 + ")(" + "(0000)" * 10_000 + ")"
    assert tokens(long) == grams(long) == []
    answer = known.analyse(event(long))
    assert answer is not None
    assert answer["match"] == "none"


def test_the_sorted_form_is_the_extractors() -> None:
    for layer in public_layers():
        for entry in layer.database.entries[::7]:
            hello = tls.parse(Cursor(hello_of(entry.keys[0])), True)
            assert forms(entry.keys[0])["sorted"] == tls_forms.npf1(hello)


def test_each_key_of_the_databases_is_a_string_that_the_extractor_gives() -> None:
    count = 0
    for layer in public_layers():
        for entry in layer.database.entries:
            for key in entry.keys:
                assert TLS.parse(hello_of(key)).fingerprint == key
                count += 1
    assert count == 4573 + 8455


def alignment(one: list[int], two: list[int]) -> float:
    """The distance by the book: a table of the longest common subsequences."""
    last = [0] * (len(two) + 1)
    for a in one:
        this = [0]
        for j, b in enumerate(two):
            this.append(last[j] + 1 if a == b else max(last[j + 1], this[j]))
        last = this
    return 1 - 2 * last[-1] / (len(one) + len(two))


def test_the_index_finds_the_nearest_and_its_distance() -> None:
    """Against every other fingerprint aligned by the book, for some of the first layer held out."""
    layer = public_layers()[0]
    few = replace(layer.database, entries=layer.database.entries[::9])
    known = opened([replace(layer, database=few)])
    keys = [key for entry in few.entries for key in entry.keys]
    each = {key: tokens(key) for key in keys}
    nowhere = known.classes(0, None, None)
    asked = missed = 0
    for key in Random(11).sample(keys, 40):
        match, distance, *_ = known.raw(key, nowhere, known.entry_of(key))
        if match == "approximate":
            nearest = min(alignment(each[key], each[other]) for other in keys if other != key)
            assert distance >= nearest - 1e-9
            missed += distance > nearest + 1e-9
            asked += 1
    assert asked > 20
    assert missed <= 1


def test_knowledge_that_grows_old_is_believed_less(tmp_path: Path) -> None:
    found = database(tmp_path, [line([row("curl", 9)], KNOWN, last_seen="2020-01-01")])
    line_ = [[knot / 20 for knot in range(21)]] * 9
    measured = {"calibration": {"process": line_, "system": line_}, "retention": 0.5}
    known = opened([Layer("test", "1", found)], measured=measured)
    new_year = 1_577_836_800_000_000

    def score(fingerprint: str, years: float) -> float:
        answer = known.analyse(event(fingerprint, time=int(new_year + years * YEAR)))
        assert answer is not None
        return answer["score"]

    assert score(PERMUTED, 0) == score(PERMUTED, -3) == pytest.approx(1.0)
    assert score(PERMUTED, 2) == pytest.approx(0.25, abs=1e-6)
    # Only what is exact, and weighed by the database's own rule, is as that says.
    assert score(KNOWN, 2) == 1.0


def test_the_public_knowledge_opens_fast_enough() -> None:
    known = load()
    assert known.entry_of("(0303)(1301)()") is None
    assert known.key(0).startswith("(03")
    with pytest.raises(IndexError):
        known.key(known.entries)
