"""A real Kafka whose disk is full: it refuses and does not say why, which passes when it begins anew."""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from conftest import find_ports

from vermilion.dev.kafka import Cluster, Node
from vermilion_pipeline.kafka import KafkaBroker
from vermilion_pipeline.kafka import producer as producers

TOPIC = "full-disk"
_NEVER = "600000"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    folder = tmp_path / "kafka" / "node1" / "topics"
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "vermilion-full-disk", str(folder)]
    try:
        subprocess.run(mount, capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=False)


def settings(node: Node) -> Mapping[str, str]:
    """Nothing else of Kafka's writes to the small disk meanwhile."""
    return {
        "metadata.log.dir": str(node.folder / "metadata"),
        "replica.high.watermark.checkpoint.interval.ms": _NEVER,
        "log.flush.offset.checkpoint.interval.ms": _NEVER,
        "log.flush.start.offset.checkpoint.interval.ms": _NEVER,
    }


@pytest.mark.kafka
def test_what_a_full_disk_refuses_is_written_when_the_broker_is_well(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record fits into a page of the log that is there; its entry of the index needs a new one."""
    monkeypatch.setattr(producers, "_AGAIN_SECONDS", 0.2)
    with Cluster(tmp_path / "kafka", port=find_ports(1), settings=settings) as cluster:
        broker = KafkaBroker({"bootstrap.servers": cluster.bootstrap})
        broker.create([TOPIC], 1, 1, {"index.interval.bytes": "100"})
        producer = broker.producer()
        producer.produce(TOPIC, b"key", b"a" * 200, (("number", b"0"),))
        assert producer.flush(30) == 0
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(bytes(4096))
        producer.produce(TOPIC, b"key", b"b" * 200, (("number", b"1"),))
        assert producer.flush(2) == 1
        filler.unlink()
        # Its index is ahead of its log now, for which it refuses all until it begins anew.
        cluster.kill(1)
        cluster.start()
        assert producer.flush(30) == 0
        assert (producer.delivered, producer.failures) == (2, {})
        producer.close()
