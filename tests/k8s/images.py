"""The images of `make images` on the cluster's nodes, as they are, and as an update would bring them."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

import yaml
from classify.databases import NO_MONTHS, TABLES, database, line, row
from deploy.chart import CHART
from k8s.cluster import run

from vermilion_classify import container
from vermilion_classify.compiling import Layer, SystemTables, compiled

PARTS = ("capture", "fingerprint", "classify", "cli", "knowledge", "kafka")
KNOWLEDGE_VERSION = "of-this-test"


@dataclass(frozen=True)
class Images:
    """What is on the nodes."""

    tag: str
    """Of what `make images` built."""
    other: str
    """Of the same, as an update would bring it; its knowledge is ``knowledge``."""
    knowledge: Path


def loaded(folder: Path, command: str) -> Images:
    """Save all images into one tar below ``folder``, and have ``command`` put it on the nodes."""
    engine = os.environ.get("ENGINE", "docker")
    registry = os.environ.get("REGISTRY", "")
    tag = os.environ.get("TAG") or str(yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"])
    other = f"{tag}-next"

    def image(part: str, tag: str) -> str:
        return f"{registry}vermilion-{part}:{tag}"

    for part in PARTS:
        if part != "knowledge":
            run(engine, "tag", image(part, tag), image(part, other))
    knowledge = _another_knowledge(folder)
    (knowledge.parent / "Dockerfile").write_text(
        f"FROM {image('knowledge', tag)}\nCOPY {knowledge.name} /usr/share/vermilion/\n"
    )
    run(engine, "build", "--tag", image("knowledge", other), knowledge.parent)
    tar = folder / "images.tar"
    try:
        run(engine, "save", "--output", tar, *(image(part, each) for part in PARTS for each in (tag, other)))
        run(*shlex.split(command), tar)
    finally:
        tar.unlink(missing_ok=True)
    return Images(tag, other, knowledge)


def _another_knowledge(folder: Path) -> Path:
    """Knowledge that knows nobody of the recordings."""
    place = folder / "knowledge"
    place.mkdir()
    layer = Layer("test", KNOWLEDGE_VERSION, database(folder, [line([row("anything", 1)])]))
    container.write(place / "vermilion.knowledge", compiled([layer], TABLES, SystemTables(), NO_MONTHS))
    return place / "vermilion.knowledge"
