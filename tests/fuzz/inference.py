"""What inference takes from strangers: an event's strings, and a database's lines."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile

import orjson
from classify.databases import FP, NO_MONTHS, TABLES, line, row
from fuzz import seeds

from vermilion import TLS, NeedMore
from vermilion_classify.compiling import Layer, SystemTables, compiled
from vermilion_classify.container import Container
from vermilion_classify.databases import Database, Entry, KnowledgeError, read
from vermilion_classify.knowledge import Knowledge
from vermilion_fingerprint.cursor import Malformed


@cache
def hellos() -> tuple[str, ...]:
    """The fingerprints of our own captures."""
    found: dict[str, None] = {FP: None}
    for stream in seeds.streams():
        try:
            found[TLS.parse(stream).fingerprint] = None
        except (NeedMore, Malformed):
            continue
    return tuple(found)


@cache
def knowledge() -> Knowledge:
    """Knowledge of half of them, and of SYNs."""
    rows = [row("a", 3, os_info={"(Linux)(Ubuntu 18.04)(x)": 3}, classes_hostname_domains={"example.com": 2})]
    entries = [Entry((text,), 4, [*rows, row("b", 1)]) for text in hellos()[::2]]
    layer = Layer("fuzz", "1", Database(Path("none"), "pmercury-0.2", entries))
    systems = SystemTables(
        {"(ffff)(020404ec)(01)(030306)(01)(01)(08)(04)(00)(00)": {"(MacOS)(x)(10.15.4)": 1.0}}
    )
    return Knowledge(Container(memoryview(compiled([layer], TABLES, systems, NO_MONTHS)), "fuzz"))


def answer(data: bytes) -> tuple[str, float, object]:
    """An event whose strings are the parts of ``data`` between zero bytes; what is told of it."""
    fingerprint, name, address, syn, *_ = [*data.split(b"\0"), b"", b"", b"", b""]
    event = {
        "type": "tls", "event_start": len(data), "dst_port": len(data) % 65_536,
        "fingerprints": {"tls": fingerprint.decode(errors="replace")},
        "tls": {"server_name": name.decode(errors="replace") if name else None},
        "dst_ip": address.decode(errors="replace") or "198.51.100.7", "syn": syn.decode(errors="replace"),
    }  # fmt: skip
    try:
        found = knowledge().analyse(event, 3)
    except ValueError:  # an address that is none
        return "none", 0.0, None
    assert found is not None
    orjson.dumps(found)
    return found["match"], found["score"], found


def answers() -> Iterator[bytes]:
    """Such events."""
    for text in hellos():
        yield b"\0".join(
            [text.encode(), b"www.example.com", b"198.51.100.7", b"(faf0)(020405b4)(04)(08)(01)(030307)"]
        )
        yield b"\0".join([text.encode(), b"", b"2001:db8::1"])


def lines(data: bytes, folder: str | None) -> None:
    """A database file."""
    with NamedTemporaryFile(dir=folder) as file:
        file.write(data)
        file.flush()
        for lenient in (False, True):
            try:
                found = read(Path(file.name), lenient=lenient)
            except KnowledgeError:
                continue
            compiled([Layer("fuzz", "1", found)], TABLES, SystemTables(), NO_MONTHS)


def databases() -> Iterator[bytes]:
    """Lines of each format."""
    rows = [
        row(
            "a",
            3,
            os_info={"cpe:2.3:o:apple:macos:12:*": 3},
            classes_ip_as={"64500:Example": 2},
            malware=True,
        )
    ]
    yield orjson.dumps(line(rows, hellos()[-1], first_seen="2019-01-01", last_seen="2019-09-20"))
    mercury = {"fp_type": "tls", "str_repr_array": ["tls/1/(0303)(1301)[(0000)]", "tls/(0303)(1302)()"]}
    yield orjson.dumps({**line([row("b", 1, classes_port_port={"443": 1})]), **mercury}) + b"\n"
    yield b"\n".join(text.encode() for text in hellos()[:5])
