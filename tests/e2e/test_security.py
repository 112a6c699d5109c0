"""TLS, SCRAM, certificates and least rights on a real Apache Kafka."""

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import secured
from cli.command import COMMAND, told, vermilion
from confluent_kafka.admin import AdminClient
from conftest import find_ports
from e2e.services import wait_for
from fingerprint.hellos import RECORDING

from vermilion.dev.kafka import Cluster
from vermilion_pipeline.kafka import KafkaBroker
from vermilion_pipeline.kafka.settings import LOGGER
from vermilion_pipeline.rights import ROLES, Right, of
from vermilion_pipeline.service import broker_and_codec
from vermilion_pipeline.settings import load
from vermilion_pipeline.topics import TOPICS

pytestmark = pytest.mark.kafka

PREFIX = "acl."
EVENTS = 53
DEBUG = ("-X", "debug=security")


@dataclass
class Secured:
    """The cluster, and what its clients are configured with."""

    bootstrap: str
    mutual: str
    certificates: secured.Certificates
    client: dict[str, str]
    folder: Path
    runs: int = 0
    """How often ``RECORDING`` has been published."""

    @property
    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, **self.client})

    def scram(self, role: str, prefix: str = PREFIX) -> dict[str, str]:
        """The environment of a role that says its name and password."""
        return self._environment(
            f"{role}-scram",
            self.bootstrap,
            prefix,
            {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": role},
            {"sasl.password": self._password(role)},
        )

    def mtls(self, role: str, prefix: str = PREFIX) -> dict[str, str]:
        """The environment of a role that shows a certificate, whose key has a password."""
        pem = str(self.certificates.issue(role, secured.password(role)))
        settings = {"security.protocol": "SSL", "ssl.certificate.location": pem, "ssl.key.location": pem}
        secrets = {"ssl.key.password": self._password(role)}
        return self._environment(f"{role}-mtls", self.mutual, prefix, settings, secrets)

    def secrets_in(self, text: str) -> list[str]:
        """What of passwords and keys is in ``text``."""
        return [secret for secret in ("hunter2", "PRIVATE KEY", *self.certificates.private) if secret in text]

    def _password(self, role: str) -> str:
        return str(self.folder / f"{role}.password")

    def _environment(
        self, name: str, servers: str, prefix: str, kafka: dict[str, str], secrets: dict[str, str]
    ) -> dict[str, str]:
        kafka = {**kafka, "ssl.ca.location": str(self.certificates.authority)}
        lines = [f'bootstrap_servers = "{servers}"', f'topic_prefix = "{prefix}"', "[kafka]"]
        lines += [f'"{key}" = "{value}"' for key, value in kafka.items()]
        lines += ["[kafka_secret_files]", *(f'"{key}" = "{value}"' for key, value in secrets.items())]
        file = self.folder / f"{name}-{prefix}toml"
        file.write_text("\n".join(lines) + "\n")
        return {"VERMILION_CONFIG": str(file)}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Give a cluster on which each role has its rights on ``acl.``, and no others."""
    folder = tmp_path_factory.mktemp("secured")
    certificates, port = secured.Certificates(folder), find_ports(1)
    users = secured.users(certificates)
    settings = secured.settings(certificates)
    with Cluster(folder / "kafka", port=port, settings=settings, users=users) as kafka:
        one = Secured(
            kafka.bootstrap, f"127.0.0.1:{secured.mutual(port)}", certificates, users.client, folder
        )
        create(one, PREFIX)
        for role in ROLES:
            # Once: written anew for each environment, it is empty to a process that starts meanwhile.
            (folder / f"{role}.password").write_text(secured.password(role) + "\n")
            secured.grant(one.admin, secured.bindings(role, PREFIX))
        yield one


def create(cluster: Secured, prefix: str) -> None:
    done = vermilion(
        *("topics", "create", "--partitions", "2", "-b", cluster.bootstrap, "--topic-prefix", prefix),
        VERMILION_KAFKA=json.dumps(cluster.client),
    )
    assert done.returncode == 0, done.stderr


@dataclass
class Running:
    """A service, with what it logs and serves."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int

    def page(self, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""


@pytest.fixture
def services(tmp_path: Path) -> Iterator[list[Running]]:
    """Give a list of what is to be ended."""
    running: list[Running] = []
    yield running
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()


def start(
    services: list[Running], name: str, environment: dict[str, str], folder: Path, *options: str
) -> Running:
    port = find_ports(1)
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*COMMAND, name, "--http-port", str(port), *options],
            stdout=out, stderr=out, env={**os.environ, "VERMILION_LOG_LEVEL": "debug", **environment},
        )  # fmt: skip
    services.append(Running(process, log, port))
    return services[-1]


@pytest.mark.parametrize("how", ["scram", "mtls"])
def test_the_chain_works_with_just_the_rights_listed_and_tells_no_secret(
    how: str, cluster: Secured, services: list[Running], tmp_path: Path
) -> None:
    def as_user(role: str) -> dict[str, str]:
        return cluster.scram(role) if how == "scram" else cluster.mtls(role)

    for name in ("fingerprint", "classify"):
        start(services, name, as_user(name), tmp_path, *DEBUG)
    wait_for(
        lambda: all("vermilion_partitions_assigned 2.0" in one.page("/metrics") for one in services),
        "the partitions: " + "".join(one.log.read_text() for one in services),
    )
    published = vermilion("capture", "-r", RECORDING, *DEBUG, **as_user("capture"))
    assert published.returncode == 0, published.stderr
    cluster.runs += 1
    events = EVENTS * cluster.runs
    done = vermilion("tail", "--from", "beginning", "--limit", str(events), *DEBUG, **as_user("tail"))
    assert len(done.stdout.splitlines()) == events, done.stderr
    as_admin = KafkaBroker({"bootstrap.servers": cluster.bootstrap, **cluster.client}).producer()
    for stage in ("payloads", "fingerprints"):
        as_admin.produce(f"{PREFIX}{stage}", b"key", b"no avro")
    as_admin.close()
    # Each stage has written its letters, by its own right: those of runs before, which were put back, too.
    runs = cluster.runs
    letters = ("tail", "deadletter", "--from", "beginning", "--limit", str(runs * (runs + 1)))
    assert vermilion(*letters, **as_user("tail")).returncode == 0
    replayed = vermilion("replay", "--from", "deadletter", **as_user("replay"))
    assert (replayed.returncode, replayed.stderr) == (
        0,
        f"{2 * runs} dead letters put back: {runs} to {PREFIX}fingerprints, {runs} to {PREFIX}payloads; "
        "0 left\n",
    )
    doctor = vermilion("doctor", "--role", "fingerprint", *DEBUG, **as_user("fingerprint"))
    assert doctor.returncode == 0, doctor.stdout
    told = [published.stderr, done.stderr, replayed.stderr, doctor.stdout + doctor.stderr]
    for one in services:
        told += [one.page(path) for path in ("/metrics", "/readyz", "/healthz")]
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(30) == 0
        told.append(one.log.read_text())
    assert not [text for text in told if cluster.secrets_in(text)]
    # It would have been seen.
    assert cluster.secrets_in((cluster.folder / "fingerprint.password").read_text()) == ["hunter2"]
    if how == "mtls":
        key = (cluster.folder / "fingerprint.pem").read_text()
        assert "ENCRYPTED PRIVATE KEY" in key
        assert len(cluster.secrets_in(key)) > 2


@pytest.mark.parametrize(("how", "sign"), [("scram", "SCRAM"), ("mtls", "private key")])
def test_librdkafka_tells_no_secret_of_how_it_logs_in(
    how: str, sign: str, cluster: Secured, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Services and commands leave out what it says at debug; whoever lets it through sees this."""
    user = cluster.scram("capture") if how == "scram" else cluster.mtls("capture")
    monkeypatch.setenv("VERMILION_CONFIG", user["VERMILION_CONFIG"])
    found = load()
    found.kafka = {**found.kafka, "debug": "security"}
    caplog.set_level("DEBUG", LOGGER.name)
    producer = broker_and_codec(found)[0].producer()
    producer.produce(f"{PREFIX}sensors", b"key", b"value")
    assert producer.flush(30) == 0
    producer.close()
    assert sign in caplog.text
    assert cluster.secrets_in(caplog.text) == []


def test_a_wrong_password_is_told_in_a_line_without_it(cluster: Secured, tmp_path: Path) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("hunter2-wrong")
    secrets = json.dumps({"sasl.password": str(wrong)})
    done = vermilion(
        "capture", "-r", RECORDING, **cluster.scram("capture"), VERMILION_KAFKA_SECRET_FILES=secrets
    )
    told(done, 1, "authentication", cluster.bootstrap)
    assert "hunter2" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_secret_is_refused_on_the_command_line() -> None:
    done = vermilion("tail", "-X", "sasl.password=hunter2")
    told(done, 2, "sasl.password", "kafka_secret_files")
    assert "hunter2" not in done.stderr


def failure_without(
    lacking: Right, role: str, cluster: Secured, prefix: str, services: list[Running], folder: Path
) -> list[str]:
    """What the role says when its user has all of its rights on ``prefix`` but one."""
    environment = cluster.scram(role, prefix)
    if role in ("fingerprint", "classify"):
        running = start(services, role, environment, folder)
        assert running.process.wait(90) == 1, running.log.read_text()
        return running.log.read_text().splitlines()
    done = vermilion(
        *{
            "capture": ("capture", "-r", RECORDING),
            "tail": ("tail", lacking.name.removeprefix(prefix), "--from", "beginning", "--quiet-for", "3"),
            "replay": ("replay", "--from", "deadletter"),
            "verify": ("replay", RECORDING, "--verify", "--timeout", "2"),
        }[role],
        **environment,
    )
    assert done.returncode == 1, done.stderr
    return done.stderr.splitlines()


def test_each_missing_right_is_named_in_one_line(
    cluster: Secured, services: list[Running], tmp_path: Path
) -> None:
    """Several at once, as each spends most of its time waiting."""
    admin = cluster.admin

    def check(role: str, number: int) -> None:
        prefix = f"{role}-{number}."
        rights = of(role, prefix)
        lacking = rights.pop(number)
        names = [f"{prefix}{topic.name}" for topic in TOPICS]
        as_admin = KafkaBroker({"bootstrap.servers": cluster.bootstrap, **cluster.client})
        as_admin.create(names, 2, None)
        secured.grant(admin, [secured.binding(role, right) for right in rights])
        source = as_admin.producer()
        for name in names:
            source.produce(name, b"key", b"no avro")
        source.close()
        folder = tmp_path / prefix
        folder.mkdir()
        lines = failure_without(lacking, role, cluster, prefix, services, folder)
        assert lines[-1].startswith("vermilion: error: "), lines
        assert f"{role} lacks: {lacking}. Grant it" in lines[-1], lines
        # It failed, and did not go on failing: each attempt is a line.
        assert not [line for line in lines if "going back" in line], lines
        as_user = KafkaBroker(
            {
                "bootstrap.servers": cluster.bootstrap,
                **cluster.client,
                "sasl.username": role,
                "sasl.password": secured.password(role),
            }
        )
        assert as_user.missing([*rights, lacking]) == [lacking]

    cases = [(role, number) for role, rights in ROLES.items() for number in range(len(rights))]
    with ThreadPoolExecutor(5) as pool:
        for outcome in [pool.submit(check, *case) for case in cases]:
            outcome.result()


def test_doctor_names_what_a_role_lacks(cluster: Secured) -> None:
    done = vermilion("doctor", "--role", "classify", **cluster.scram("fingerprint"))
    assert done.returncode == 1
    assert "no right to see topic acl.classified" in done.stdout
    assert "classify lacks Read on topic acl.fingerprints" in done.stdout
    assert "classify lacks Write on transactional id acl.classify-*" in done.stdout
    assert "classify lacks Write on topic acl.deadletter" not in done.stdout
