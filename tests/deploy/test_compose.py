"""docker-compose.yml: what it starts is built here, is confined, and is what Prometheus scrapes."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy.chart import ROOT

from vermilion.dev import kafka
from vermilion.dev.jars import java

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
VARIABLE = re.compile(r"\$\{\w+:-((?:[^${}]|\$\{\w+:-[^${}]*\})*)\}")
each_service = pytest.mark.parametrize("name", SERVICES)


def plain(text: str) -> str:
    """``text`` as it is where no variable is set."""
    while (found := VARIABLE.sub(r"\1", text)) != text:
        text = found
    return text


def built() -> set[str]:
    """The images that `make images` builds."""
    done = subprocess.run(
        ["make", "--silent", "images", "ENGINE=echo", "TAG=0", "--assume-old=setup", "--assume-old=kafka"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
        env={name: value for name, value in os.environ.items() if name != "MAKEFLAGS"},
    )  # fmt: skip
    found = re.findall(r"-t (\S+):0 -f (\S+) \.", done.stdout)
    assert all((ROOT / dockerfile).exists() for _, dockerfile in found)
    return {image for image, _ in found}


def test_every_image_but_grafana_is_built_here() -> None:
    images = {plain(service["image"]).rsplit(":", 1)[0] for service in SERVICES.values()}
    assert images - built() == {"grafana/grafana"}


@each_service
def test_no_root_file_system_is_written_no_right_kept_no_latest(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == (["NET_RAW"] if name == "capture" else [])
    # Docker starts a user who is not root without capabilities: the launcher's file must bring its own.
    assert service["security_opt"] == [f"no-new-privileges:{str(name != 'capture').lower()}"]
    assert plain(service["image"]).rsplit(":", 1)[1] not in ("", "latest")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@each_service
def test_what_it_waits_for_is_there_and_can_be_waited_for(name: str) -> None:
    waited = SERVICES[name].get("depends_on", {})
    for other, how in waited.items() if isinstance(waited, dict) else ():
        if how["condition"] == "service_completed_successfully":
            assert SERVICES[other]["restart"] == "on-failure"
        else:
            assert how["condition"] == "service_healthy"
            image = plain(SERVICES[other]["image"]).rsplit(":", 1)[0].removeprefix("vermilion-")
            (dockerfile,) = [
                *ROOT.glob(f"services/{image}/Dockerfile"),
                *ROOT.glob(f"deploy/{image}/Dockerfile"),
            ]
            assert "HEALTHCHECK" in dockerfile.read_text()


def test_prometheus_scrapes_every_service_that_has_metrics() -> None:
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert {job["job_name"] for job in scraped} == {"capture", "fingerprint", "classify"}
    for job in scraped:
        if "dns_sd_configs" in job:
            (names,) = [each["names"] for each in job["dns_sd_configs"]]
            assert set(names) <= set(SERVICES)
        else:
            # On the host's network, which has a name in the container of Prometheus.
            assert SERVICES[job["job_name"]]["network_mode"] == "host"
            (target,) = job["static_configs"][0]["targets"]
            assert f"{target.split(':')[0]}:host-gateway" in SERVICES["prometheus"]["extra_hosts"]


@pytest.mark.kafka
def test_apaches_own_image_takes_our_settings(tmp_path: Path) -> None:
    """The program that the image starts with is among Kafka's jars: storage is formatted as it says."""
    override = yaml.safe_load((ROOT / "deploy/kafka/official.yaml").read_text())["services"]["kafka"]
    mounts = dict(each.split(":")[1::-1] for each in override["volumes"])
    folders = {name: tmp_path / name for name in ("default", "mounted", "final")}
    for folder in folders.values():
        folder.mkdir()
    for name in ("log4j2.yaml", "tools-log4j2.yaml"):
        (folders["default"] / name).write_text(
            "Configuration: {Loggers: {Root: {level: INFO}, Logger: []}}\n"
        )
    ours = ROOT / mounts["/mnt/shared/config/server.properties"]
    (folders["mounted"] / "server.properties").write_text(ours.read_text())
    environment = {**SERVICES["kafka"]["environment"], **override["environment"]}
    assert environment["KAFKA_LOG_DIRS"] in mounts
    environment |= {"KAFKA_LOG_DIRS": str(tmp_path / "data"), "CLUSTER_ID": "5L6g3nShT-eMCtK--X86sw"}
    command = [java(), "-cp", f"{kafka.fetch()}/*", "kafka.docker.KafkaDockerWrapper", "setup"]
    for option, folder in zip(("-D", "-M", "-F"), folders.values(), strict=True):
        command += [option, str(folder)]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "data/meta.properties").exists()
    lines = (folders["final"] / "server.properties").read_text().splitlines()
    told = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    assert "@" not in told["advertised.listeners"]
    assert told["advertised.listeners"].startswith("CLIENTS://kafka:9092,")
    assert override["healthcheck"]["test"][0] == "CMD"
