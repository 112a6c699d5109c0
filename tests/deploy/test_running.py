"""What the chart renders runs: its commands, environment and files as processes, on a real Kafka."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import secured
from cli.command import vermilion
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from deploy.chart import (
    CAPTURE,
    DEMO,
    MINIMAL,
    NAME,
    NAMESPACE,
    ROOT,
    SCRAM,
    Object,
    of_kind,
    pods,
    rendered,
    tool,
)
from deploy.kubelet import Cluster, Pod
from e2e.services import wait_for
from fingerprint.hellos import RECORDING

from vermilion.dev import kafka
from vermilion_classify.store import default_path

PREFIX = "vermilion."

pytestmark = pytest.mark.kafka


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, path: str) -> tuple[int, str]:
    """Status and text; 0 while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status), str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


class Running:
    """The pods of a release, by the names of what makes them."""

    def __init__(self, cluster: Cluster, objects: list[Object]) -> None:
        self.objects, self.cluster = objects, cluster
        self.specs = dict(pods(objects))
        self.ports: dict[str, int] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def pod(self, name: str, number: int = 0) -> Pod:
        """Start the pod of that number of a StatefulSet, at a port of its own."""
        port = self.ports.setdefault(f"{name}-{number}", free_port())
        pod = Pod(self.cluster, f"{name}-{number}", self.specs[name], {"VERMILION_HTTP_PORT": str(port)})
        return self._stack.enter_context(pod).start()

    def job(self, part: str) -> str:
        """Run the Job with ``part`` in its name to its end, as often as it may be tried; what it wrote."""
        (job,) = [job for name, job in of_kind(self.objects, "Job").items() if part in name]
        name = job["metadata"]["name"]
        for _ in range(job["spec"]["backoffLimit"]):
            with contextlib.suppress(AssertionError):
                return Pod(self.cluster, name, self.specs[name]).run()
        return Pod(self.cluster, name, self.specs[name]).run()

    def wait_until_ready(self, *started: tuple[Pod, str]) -> None:
        for pod, name in started:
            port = self.ports[pod.name]
            wait_for(lambda pod=pod, port=port: ready(pod, port), f"{pod.name} to be ready")  # type: ignore[misc]
            assert probes(self.specs[name]["containers"][0], port) == {"/healthz": 200, "/readyz": 200}


def ready(pod: Pod, port: int) -> bool:
    assert pod.running, pod.log()
    return get(port, "/readyz")[0] == 200


def probes(container: Object, port: int) -> dict[str, int]:
    """The status of each path that Kubernetes would ask."""
    paths = {found["httpGet"]["path"] for name, found in container.items() if name.endswith("Probe")}
    return {path: get(port, path)[0] for path in paths}


def members(port: int, group: str) -> list[str]:
    """The names that a group's members keep over restarts; none while its coordinator is looked for."""
    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0})
    with contextlib.suppress(KafkaException):
        found = admin.describe_consumer_groups([group])[group].result(30)
        return [member.group_instance_id for member in found.members]
    return []


def answers(bootstrap: str, count: int) -> list[dict[str, Any]]:
    """So many records of ``classified``; fails where there are more."""
    here = ("-b", bootstrap, "--topic-prefix", PREFIX, "--format", "json", "--from", "beginning")
    found = vermilion("tail", "classified", *here, "--limit", str(count)).stdout.splitlines()
    assert len(found) == count
    assert len(vermilion("tail", "classified", *here, "--quiet-for", "2").stdout.splitlines()) == count
    return [json.loads(line) for line in found]


@pytest.fixture
def kafka_home(tmp_path: Path) -> Path:
    """Give what the image of the demo's Kafka has in /opt/kafka."""
    home = tmp_path / "opt"
    (home / "versions/one").mkdir(parents=True)
    try:
        (home / "versions/one/libs").symlink_to(kafka.fetch())
    except kafka.DevError as error:
        pytest.fail(f"Apache Kafka cannot run here: {error}", pytrace=False)
    for name in ("start.sh", "log4j2.properties"):
        shutil.copy(ROOT / "deploy/kafka" / name, home)
    return home


def test_the_demo_classifies_what_is_replayed(tmp_path: Path, kafka_home: Path) -> None:
    port = free_port()
    objects = rendered(DEMO)
    configs: dict[str, dict[str, bytes]] = {"captures": {RECORDING.name: RECORDING.read_bytes()}}
    for name, config in of_kind(objects, "ConfigMap").items():
        configs[name] = {file: text.encode() for file, text in config["data"].items()}
    here = {
        f"{NAME}-kafka.{NAMESPACE}.svc": "127.0.0.1",
        "9092": str(port),
        **{taken: str(free_port()) for taken in ("9093", "9094", "19092")},
        "/opt/kafka/start.sh": str(kafka_home / "start.sh"),
        "/usr/share/vermilion/vermilion.knowledge": str(default_path()),
    }
    cluster = Cluster(tmp_path / "pods", here, configs=configs)
    expected = [json.loads(line) for line in vermilion("scan", "-a", "-e", RECORDING).stdout.splitlines()]
    with Running(cluster, objects) as release:
        broker = release.pod(f"{NAME}-kafka")
        assert "created" in release.job("-topics-"), broker.log()
        fingerprint, classify = release.pod(f"{NAME}-fingerprint"), release.pod(f"{NAME}-classify")
        release.wait_until_ready((fingerprint, f"{NAME}-fingerprint"), (classify, f"{NAME}-classify"))
        # A group's member of a name of its own keeps its partitions while it restarts.
        for pod, stage in ((fingerprint, "fingerprint"), (classify, "classify")):
            wait_for(
                lambda group=PREFIX + stage, name=pod.name: members(port, group) == [name],  # type: ignore[misc]
                f"{pod.name} to be in its group by its name",
            )
        told = release.job("-replay-")
        assert f"{len(expected)} of {len(expected)} answered (100 %)" in told
        found = answers(f"127.0.0.1:{port}", len(expected))
        assert sorted(each["event_start"] for each in found) == sorted(
            each["event_start"] for each in expected
        )
        assert {each["analysis"]["process"] for each in found if each["type"] == "tls"} == {
            each["analysis"]["process"] for each in expected if "analysis" in each
        }
        promised = {
            f"{NAME}-{part}.{NAMESPACE}.svc:9464": f"127.0.0.1:{release.ports[f'{NAME}-{part}-0']}"
            for part in ("fingerprint", "classify")
        }
        tested = Cluster(tmp_path / "tests", {**here, **promised})
        assert Pod(tested, "test", release.specs[f"{NAME}-test"]).run().count(" ready") == 2
        assert [fingerprint.stop(), classify.stop()] == [0, 0]


def test_prometheus_reads_both_services_and_our_alerts(tmp_path: Path, kafka_bootstrap: str) -> None:
    tool("prometheus", "apt-get install prometheus"), tool("promtool", "apt-get install prometheus")
    prefix = f"scraped-{uuid.uuid4().hex[:8]}."
    here = ("-b", kafka_bootstrap, "--topic-prefix", prefix)
    assert vermilion("topics", "create", *here, "--partitions", "1").returncode == 0
    objects = rendered(
        MINIMAL,
        f"kafka.bootstrapServers={json.dumps(kafka_bootstrap)}",
        f"kafka.topicPrefix={json.dumps(prefix)}",
    )
    knowledge = {"/usr/share/vermilion/vermilion.knowledge": str(default_path())}
    with Running(Cluster(tmp_path / "pods", knowledge), objects) as release:
        stages = [(release.pod(name), name) for name in (f"{NAME}-fingerprint", f"{NAME}-classify")]
        release.wait_until_ready(*stages)
        prometheus_reads(tmp_path, release.ports)
        assert [pod.stop() for pod, _ in stages] == [0, 0]


def prometheus_reads(folder: Path, ports: dict[str, int]) -> None:
    """A real Prometheus reads the services and our alerts."""
    program = tool("prometheus", "apt-get install prometheus")
    promtool = tool("promtool", "apt-get install prometheus")
    for port in ports.values():
        done = subprocess.run(
            [promtool, "check", "metrics"], input=get(port, "/metrics")[1], capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode in (0, 3), done.stderr  # 3: matters of taste
    settings = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "400ms", "evaluation_interval": "500ms"},
        "rule_files": [str(ROOT / "deploy/prometheus/alerts.yaml")],
        "scrape_configs": [
            {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
            for name, port in ports.items()
        ],
    }
    file, port = folder / "prometheus.json", free_port()
    file.write_text(json.dumps(settings))
    command = [program, f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
        )

    def read() -> bool:
        assert process.poll() is None, (folder / "prometheus.log").read_text()
        status, text = get(port, "/api/v1/query?query=vermilion_build_info")
        if status != 200:
            return False
        stages = {each["metric"]["stage"] for each in json.loads(text)["data"]["result"]}
        rules = json.loads(get(port, "/api/v1/rules")[1])["data"]["groups"]
        health = {rule["health"] for group in rules for rule in group["rules"]}
        return stages == {"fingerprint", "classify"} and health == {"ok"}

    try:
        wait_for(read, "Prometheus to have read both services and evaluated every alert")
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def scram(tmp_path: Path, kafka_ports: Any) -> Iterator[tuple[str, secured.Certificates]]:
    """Give a Kafka that takes our roles by SCRAM over TLS, each with its rights alone."""
    certificates = secured.Certificates(tmp_path)
    users = secured.users(certificates)
    try:
        with kafka.Cluster(
            tmp_path / "kafka", port=kafka_ports(1), settings=secured.settings(certificates), users=users
        ) as cluster:
            admin = AdminClient({"bootstrap.servers": cluster.bootstrap, **users.client})
            for role in ("capture", "fingerprint", "classify", "tail", "verify"):
                secured.grant(admin, secured.bindings(role, PREFIX))
            yield cluster.bootstrap, certificates
    except kafka.DevError as error:
        pytest.fail(f"Apache Kafka cannot run here: {error}", pytrace=False)


def test_users_and_authorities_reach_the_services_and_a_replica_that_restarts_loses_nothing(
    tmp_path: Path, scram: tuple[str, secured.Certificates], monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap, certificates = scram
    roles = ("capture", "fingerprint", "classify", "admin")
    users = {role: {"username": role, "secret": f"kafka-{role}"} for role in roles}
    users["replay"] = {"username": "verify", "secret": "kafka-verify"}
    objects = rendered(
        SCRAM,
        f"kafka.bootstrapServers={json.dumps(bootstrap)}",
        f"kafka.auth.users={json.dumps(users)}",
        'registry.existingSecret=""',
        "topics.replication=1",
        "topics.partitions=4",
        'capture={"enabled": true, "groups": [{"name": "all", "interfaces": ["eth0"]}]}',
        'replay={"enabled": true, "configMap": "captures"}',
    )
    secrets = {f"kafka-{role}": {"password": secured.password(role).encode()} for role in (*roles, "verify")}
    secrets["kafka-authority"] = {"ca.crt": certificates.authority.read_bytes()}
    here = {"/usr/share/vermilion/vermilion.knowledge": str(default_path())}
    captures = {"captures": {RECORDING.name: RECORDING.read_bytes()}}
    cluster = Cluster(tmp_path / "pods", here, secrets=secrets, configs=captures)
    expected = len(vermilion("scan", "-e", RECORDING).stdout.splitlines())
    with Running(cluster, objects) as release:
        assert "created" in release.job("-topics")
        started = [
            (release.pod(name, number), name)
            for name, number in ((f"{NAME}-fingerprint", 0), (f"{NAME}-classify", 0), (f"{NAME}-classify", 1))
        ]
        release.wait_until_ready(*started)
        # The interface is not there: the sensor's environment and files, with a recording.
        spec = release.specs[f"{NAME}-capture-all"]
        spec["containers"][0]["command"] = ["vermilion", "capture", "-r", str(RECORDING)]
        for number, (pod, name) in enumerate(started[:2]):
            Pod(cluster, f"capture-{number}", spec).run()
            assert pod.stop() == 0
            release.wait_until_ready((release.pod(name), name))
        Pod(cluster, "capture-last", spec).run()
        assert f"{expected} of {expected} answered (100 %)" in release.job("-replay-")
        monkeypatch.setenv("VERMILION_KAFKA", json.dumps(secured.client(certificates, "tail")))
        found = answers(bootstrap, 4 * expected)
        assert len({each["event_id"] for each in found}) == 4 * expected


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may capture without the launcher's capability")
def test_a_sensor_of_the_daemon_set_reads_its_interface(tmp_path: Path, kafka_bootstrap: str) -> None:
    prefix = f"sensor-{uuid.uuid4().hex[:8]}."
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        group = {"name": "all", "interfaces": ["lo"], "bpf": f"tcp port {port}", "ringMib": 8}
        objects = rendered(
            CAPTURE,
            f"kafka.bootstrapServers={json.dumps(kafka_bootstrap)}",
            f"kafka.topicPrefix={json.dumps(prefix)}",
            f"capture.groups={json.dumps([group])}",
        )
        here = ("-b", kafka_bootstrap, "--topic-prefix", prefix)
        assert vermilion("topics", "create", *here, "--partitions", "1").returncode == 0
        with Running(Cluster(tmp_path / "pods", {}), objects) as release:
            sensor = release.pod(f"{NAME}-capture-all")
            release.wait_until_ready((sensor, f"{NAME}-capture-all"))
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"hello, sensor")
            wait_for(
                lambda: (
                    "vermilion_capture_records_total 0" not in get(release.ports[sensor.name], "/metrics")[1]
                ),
                "the sensor to have seen a packet",
            )
            assert sensor.stop() == 0, sensor.log()
    done = vermilion("tail", "payloads", "--format", "json", "--from", "beginning", "--quiet-for", "2", *here)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    seen = [record for record in records if port in (record.get("src_port"), record.get("dst_port"))]
    assert seen
    assert {record["sensor"] for record in seen} == {"node"}


@pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("setcap", "capsh", "cc"))),
    reason="needs root, setcap and capsh (libcap2-bin) and a C compiler",
)
def test_the_launcher_keeps_its_right_where_escalation_is_not_allowed() -> None:
    security = next(pods(rendered(CAPTURE)))[1]["containers"][0]["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"]["add"] == ["NET_RAW"]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        binary = Path(folder, "vermilion-capture")
        source = ROOT / "services/capture/launcher/vermilion-capture.c"
        subprocess.run(["cc", '-DVERMILION="/bin/echo"', "-o", binary, source], check=True)
        subprocess.run(["setcap", "cap_net_raw+ep", binary], check=True)

        def started(held: str) -> tuple[int, str]:
            # As a runtime does: another user, what was added is held, and no_new_privs (capabilities(7): then
            # a file gives what its process holds already, and nothing else).
            user = ["--keep=1", "--gid=10001", "--uid=10001", f"--caps={held}", "--no-new-privs"]
            command = ["capsh", *user, f"--shell={binary}", "--", "--interface", "lo"]
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
            return done.returncode, done.stdout or done.stderr

        assert started("cap_net_raw=ep") == (0, "capture --interface lo\n")
        code, told = started("=")
        assert code == 1
        assert "no right to open packet sockets" in told
