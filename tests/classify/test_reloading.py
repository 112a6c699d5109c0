"""New knowledge takes effect at once and whole; what is wrong is refused, and what is in use stays."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from classify.databases import NO_MONTHS, TABLES, database, line, row

from vermilion_classify import container
from vermilion_classify.compiling import Layer, SystemTables, compiled
from vermilion_classify.databases import KnowledgeError
from vermilion_classify.reloading import Reloading
from vermilion_classify.store import load


def made(tmp_path: Path, version: str) -> bytes:
    found = database(tmp_path, [line([row("a", 1)])])
    return compiled([Layer("test", version, found)], TABLES, SystemTables(), NO_MONTHS)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Callable[[Path], Reloading]]:
    begun: list[Reloading] = []

    def begin(path: Path) -> Reloading:
        begun.append(Reloading(path, load, every=0.02))
        return begun[-1]

    yield begin
    for each in begun:
        each.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def version(reloading: Reloading) -> str:
    return reloading.current().version["version"]


def test_a_file_renamed_over_it(tmp_path: Path, watched: Callable[[Path], Reloading]) -> None:
    path = tmp_path / "k"
    container.write(path, made(tmp_path, "1"))
    found = watched(path)
    before = found.current()
    container.write(path, made(tmp_path, "2"))
    until(lambda: version(found) == "2")
    assert before.version["version"] == "1"
    assert before.entries == 1  # what was mapped stays, though its file has no name any more


def test_a_symbolic_link_behind_a_link(tmp_path: Path, watched: Callable[[Path], Reloading]) -> None:
    """As Kubernetes mounts a ConfigMap: ``k -> ..data/k``, ``..data -> ..1``, and that is swapped."""
    for number in ("1", "2"):
        container.write(tmp_path / f"..{number}" / "k", made(tmp_path, number))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "k").symlink_to("..data/k")
    found = watched(tmp_path / "k")
    (tmp_path / "..tmp").symlink_to("..2")
    (tmp_path / "..tmp").replace(tmp_path / "..data")
    until(lambda: version(found) == "2")


def test_what_is_wrong_is_refused_and_the_next_is_taken(
    tmp_path: Path, watched: Callable[[Path], Reloading]
) -> None:
    path = tmp_path / "k"
    container.write(path, made(tmp_path, "1"))
    found = watched(path)
    container.write(path, made(tmp_path, "2")[:-3])
    until(lambda: found.failures == 1)
    assert version(found) == "1"
    path.unlink()
    time.sleep(0.1)
    assert (version(found), found.failures) == ("1", 1)
    container.write(path, made(tmp_path, "3"))
    until(lambda: version(found) == "3")


def test_asked_to_reload(tmp_path: Path) -> None:
    path = tmp_path / "k"
    container.write(path, made(tmp_path, "1"))
    loads: list[Path] = []

    def counted(asked: Path) -> object:
        loads.append(asked)
        return load(asked)

    found = Reloading(path, counted, every=1000)  # type: ignore[arg-type]
    found.reload()
    until(lambda: len(loads) == 2)
    found.close()


def test_without_a_first_one_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError):
        Reloading(tmp_path / "none", load)
