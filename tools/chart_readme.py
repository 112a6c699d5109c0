"""Writes the chart's README: its head by hand, below, and a table of every value.

    python tools/chart_readme.py            # write it
    python tools/chart_readme.py --check    # exit 1 when it is not what would be written

The text of a value is what stands behind ``# --`` above it in values.yaml, its default what is there.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent.parent / "deploy/helm/vermilion"
HEAD = """# vermilion

Helm chart of [Vermilion](../../../README.md): the services `fingerprint` and `classify` beside a Kafka of yours, `capture` on
your nodes, the topics, and what watches them. This page is made of `values.yaml` by `make chart-readme`.

```sh
helm install vermilion deploy/helm/vermilion --set kafka.bootstrapServers=kafka-1:9092
helm test vermilion --logs
```

With nothing given it refuses, and says what it needs. The examples in [ci](ci) are tested: the least
([minimal](ci/minimal-values.yaml)), to try out with a broker and a replay ([demo](ci/demo-values.yaml)), SCRAM over TLS
([scram](ci/scram-values.yaml)), Strimzi, KEDA and Prometheus' operator ([strimzi](ci/strimzi-values.yaml)), and sensors in
a namespace of their own ([capture](ci/capture-values.yaml)).

* **Images** are `vermilion-capture`, `vermilion-fingerprint`, `vermilion-classify`, `vermilion-knowledge`, `vermilion-cli`
  and, for the demo, `vermilion-kafka`, with the chart's appVersion as their tag; `image.registry` says where they are.
* **Every pod** is fit for Pod Security *restricted*, but for capture's, which is on the host's network with NET_RAW.
* **Updates** lose nothing and answer nothing twice: a replica commits what it has in hand, keeps its name, and is back
  before its partitions are given away. New knowledge is an image of its own; with a claim
  (`knowledge.existingClaim`) running pods take it up without a restart.
* **What stays** when the release goes: topics, KafkaTopics, claims of yours.

What to do day by day is in [docs/operations.md](../../../docs/operations.md).

## Values

| value | default | what |
|---|---|---|
"""
USUAL = {
    "image": "The image: `repository`, and `tag` or `digest` of its own",
    "requests": "What a container asks for",
    "limits": "What a container may take at most",
}
"""What values are that every component has."""
_TEXT = re.compile(r"^\s*# -- (.*)$")


def rows() -> Iterator[tuple[str, str, str]]:
    """Each value with a text of its own: path, default, text."""
    source = (CHART / "values.yaml").read_text()
    lines = source.splitlines()
    yield from _described(yaml.compose(source), yaml.safe_load(source), lines, ())


def _described(
    node: Any, value: Any, lines: list[str], path: tuple[str, ...]
) -> Iterator[tuple[str, str, str]]:
    for key, inner in node.value:
        name, found = (*path, key.value), value[key.value]
        text = _TEXT.match(lines[key.start_mark.line - 1])
        # An empty mapping and one on a line of its own are values; what is below a block has values.
        if text or not isinstance(found, dict) or inner.flow_style:
            yield ".".join(name), json.dumps(found), text[1] if text else USUAL.get(key.value, "")
        else:
            yield from _described(inner, found, lines, name)


def page() -> str:
    """The README."""
    told = (f"| `{name}` | `{default}` | {text.replace('|', chr(92) + '|')} |\n" for name, default, text in rows())
    return HEAD + "".join(told)


def main() -> int:
    """Write it, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    file = CHART / "README.md"
    if parser.parse_args().check:
        return 0 if file.read_text() == page() else 1
    file.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
