"""The bundled recordings of real programs, answered, with what the programs really were."""

import json
from collections.abc import Iterator
from pathlib import Path

from vermilion import scan
from vermilion_classify import store
from vermilion_classify.evaluating import Answer, Held
from vermilion_classify.knowledge import Knowledge

RECORDINGS = Path(__file__).parent.parent / "recordings"
NAMES = ("programs", "programs-2019")

# Processes that speak for a program, where they are not named like it.
_SPEAKERS = {
    "git": {"git-remote-https"}, "python-requests": {"python"}, "libwww-perl": {"perl"}, "maven": {"java"},
    "npm": {"node"}, "pip": {"python"}, "openssh": {"ssh"},
}  # fmt: skip


def recorded(database: Path | None = None) -> Iterator[tuple[str, Held]]:
    """Each recording's TLS clients as the knowledge in ``database`` (else the public one) answers them."""
    knowledge = store.load(database)
    for name in NAMES:
        yield name, _answers(knowledge, name)


def _answers(knowledge: Knowledge, name: str) -> Held:
    listed = json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))
    programs = {(each["src_ip"], each["src_port"], each["dst_ip"]): each["program"] for each in listed}
    held = Held([], [])
    for event in scan(RECORDINGS / f"{name}.pcap", knowledge, types={"tls"}, alternatives=3):
        answer, program = event["analysis"], programs[event["src_ip"], event["src_port"], event["dst_ip"]]
        if answer is None:
            continue
        told = [answer["process"], *(each["process"] for each in answer["probable_processes"])]
        right = [_is(each, program) for each in told]
        score = None if answer["match"] == "none" else answer["score"]
        held.processes.append(Answer(score, right[0], any(right)))
        # All recordings are of programs on Linux.
        families = [each["family"] == "linux" for each in answer["os"]]
        held.systems.append(
            Answer(
                answer["os"][0]["score"] if families else None, bool(families) and families[0], any(families)
            )
        )
    return held


def _is(process: str, program: str) -> bool:
    name = process.lower().removesuffix(".exe")
    return name == program or name.rstrip("0123456789.") in {program, *_SPEAKERS.get(program, ())}
