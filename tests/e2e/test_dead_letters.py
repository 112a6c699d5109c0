"""Dead letters on a real Apache Kafka: read with ``tail``, and put back once what was wrong is mended."""

import ctypes
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from cli.command import told, vermilion
from e2e.services import Service, wait_for
from fingerprint.hellos import RECORDING

pytestmark = pytest.mark.kafka


def test_a_capture_that_became_dead_letters_comes_out_whole_once_mended(
    start: Callable[..., Service],
    kafka_bootstrap: str,
    registry_url: str,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = ("-b", kafka_bootstrap, "--topic-prefix", prefix)
    assert vermilion("topics", "create", *here, "--partitions", "3").returncode == 0
    events = len(vermilion("scan", "-e", "-r", RECORDING).stdout.splitlines())
    # The mistake: capture knows the registry, and the services have not been told of it.
    monkeypatch.setenv("VERMILION_REGISTRY_URL", registry_url)
    published = vermilion("capture", "-r", RECORDING, *here)
    assert published.returncode == 0, published.stderr
    records = int(published.stderr.split(" of ")[0].split()[-1])
    monkeypatch.delenv("VERMILION_REGISTRY_URL")
    fingerprint = start("fingerprint")
    wait_for(lambda: fingerprint.metric("dlq_total") == records, "the dead letters")
    done = vermilion("tail", "deadletter", "--from", "beginning", "--limit", str(records), *here)
    letters = [json.loads(line) for line in done.stdout.splitlines()]
    assert {letter["headers"]["vermilion_stage"] for letter in letters} == {"fingerprint"}
    assert {letter["headers"]["vermilion_error_class"] for letter in letters} == {"DecodeError"}
    assert all("needs a schema registry" in one["headers"]["vermilion_error_message"] for one in letters)
    origins = [
        tuple(one["headers"][f"vermilion_origin_{name}"] for name in ("topic", "partition", "offset"))
        for one in letters
    ]
    assert len(set(origins)) == records
    assert {topic for topic, _, _ in origins} == {f"{prefix}payloads"}
    assert fingerprint.stop() == 0

    # Mended: the services are told.
    monkeypatch.setenv("VERMILION_REGISTRY_URL", registry_url)
    start("fingerprint", 1)
    start("classify")
    first = vermilion("replay", "--from", "deadletter", "--limit", "10", *here)
    assert (first.returncode, first.stdout) == (0, "")
    assert first.stderr == f"10 dead letters put back: 10 to {prefix}payloads; 0 left\n"
    rest = vermilion("replay", "--from", "deadletter", *here)
    assert f"{records - 10} dead letters put back" in rest.stderr
    again = vermilion("replay", "--from", "deadletter", *here)
    assert (again.returncode, again.stderr) == (0, "0 dead letters put back; 0 left\n")
    done = vermilion("tail", "--format", "json", "--from", "beginning", "--limit", str(events), *here)
    classified = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({event["event_id"] for event in classified}) == events
    rest = vermilion("tail", "--from", "beginning", "--quiet-for", "3", *here)
    assert len(rest.stdout.splitlines()) == events


def test_a_letter_from_elsewhere_is_told_and_left(kafka_bootstrap: str, prefix: str, tmp_path: Path) -> None:
    from vermilion_pipeline import headers
    from vermilion_pipeline.kafka import KafkaBroker
    from vermilion_pipeline.ports import Message, Partition

    here = ("-b", kafka_bootstrap, "--topic-prefix", prefix)
    told(vermilion("replay", "--from", "deadletter", *here), 1, "vermilion topics create")
    assert vermilion("topics", "create", *here, "--partitions", "1").returncode == 0
    producer = KafkaBroker({"bootstrap.servers": kafka_bootstrap}).producer()
    for topic in ("elsewhere", f"{prefix}payloads"):
        letter = Message(Partition(topic, 0), 7, b"key", b"value", (("a", b"b"),), 0)
        key, value, head = headers.dead_letter(letter, "fingerprint", ValueError("no"))
        producer.produce(f"{prefix}deadletter", key, value, head)
    producer.close()
    done = vermilion("replay", "--from", "deadletter", *here)
    assert done.returncode == 1
    assert f"{prefix}deadletter[0] offset 0: left: it came from 'elsewhere'" in done.stderr
    assert done.stderr.endswith(f"1 dead letters put back: 1 to {prefix}payloads; 1 left\n")


def test_a_header_whose_name_is_no_text_stops_nobody(kafka_bootstrap: str, prefix: str) -> None:
    from vermilion_pipeline.kafka import KafkaBroker

    here = ("-b", kafka_bootstrap, "--topic-prefix", prefix)
    assert vermilion("topics", "create", *here, "--partitions", "1").returncode == 0
    produce_with_header(kafka_bootstrap, f"{prefix}payloads", b"\xff\xfe")
    broker = KafkaBroker({"bootstrap.servers": kafka_bootstrap})
    with closing(broker.reader([f"{prefix}payloads"], beginning=True)) as reader:
        found: list[Any] = []
        while not found:
            found = reader.poll(10, 1.0)
    assert [(message.value, message.headers) for message in found] == [(b"junk", ())]


def produce_with_header(bootstrap: str, topic: str, name: bytes) -> None:
    """A record with a header of any name, by librdkafka's own interface: Python's takes text only."""
    (file,) = Path(confluent_kafka.__file__).parent.parent.glob("confluent_kafka.libs/librdkafka-*.so*")
    library = ctypes.CDLL(str(file))
    for made in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_headers_new"):
        getattr(library, made).restype = ctypes.c_void_p
    why, room = ctypes.create_string_buffer(512), ctypes.c_size_t(512)
    settings = ctypes.c_void_p(library.rd_kafka_conf_new())
    library.rd_kafka_conf_set(settings, b"bootstrap.servers", bootstrap.encode(), why, room)
    client = ctypes.c_void_p(library.rd_kafka_new(0, settings, why, room))
    head = ctypes.c_void_p(library.rd_kafka_headers_new(ctypes.c_size_t(1)))
    sizes = ctypes.c_ssize_t(len(name)), ctypes.c_ssize_t(1)
    assert library.rd_kafka_header_add(head, name, sizes[0], b"v", sizes[1]) == 0
    # rdkafka.h: RD_KAFKA_VTYPE_TOPIC, _VALUE, _MSGFLAGS (RD_KAFKA_MSG_F_COPY), _HEADERS, _END
    record = (1, topic.encode(), 4, b"junk", ctypes.c_size_t(4), 7, 2, 10, head, 0)
    assert library.rd_kafka_producev(client, *record) == 0
    assert library.rd_kafka_flush(client, 30_000) == 0
    library.rd_kafka_destroy(client)
