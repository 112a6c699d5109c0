"""Values: what is wrong is refused in words, and each switches what it says."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy.chart import (
    CAPTURE,
    CHART,
    DECRYPTION,
    DEMO,
    MINIMAL,
    NAME,
    ROOT,
    SCRAM,
    STRIMZI,
    of_kind,
    refusal,
    rendered,
)


def test_with_nothing_given_it_says_what_it_needs() -> None:
    assert "Set kafka.bootstrapServers to its addresses" in refusal(None)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (("kafka.demo.enabled=true",), "Leave one out"),
        (('kafka.auth={"type": "sasl"}',), "needs a Secret for the role"),
        (('kafka.auth={"type": "sasl", "secret": "s"}',), "needs a user for the role"),
        (('kafka.auth={"type": "certificate", "secret": "s"}',), "needs kafka.tls.enabled=true"),
        (('topics.mode="strimzi"',), "set strimzi.cluster"),
        (("strimzi.users=true", 'strimzi.cluster="c"'), "needs kafka.auth.type"),
        (("capture.enabled=true",), "needs capture.groups"),
        (("replay.enabled=true",), "set replay.existingClaim or replay.configMap"),
        (('replay={"enabled": true, "existingClaim": "a", "configMap": "b"}',), "Leave one out"),
        (
            ('capture.groups=[{"name": "a", "interfaces": ["x"]}, {"name": "a", "interfaces": ["y"]}]',),
            "have the same name",
        ),
        (('fingerprint.keyLog={"existingSecret": "a", "existingClaim": "b"}',), "leave one out"),
        (
            (
                'fingerprint.keyLog.existingClaim="keys"',
                'capture={"enabled": true, "groups": [{"name": "a", "interfaces": ["x"]}]}',
            ),
            "set capture.depth=0",
        ),
        (("fingerprint.replicas=13",), "more than topics.partitions=12"),
        (('classify.autoscaling.mode="keda"',), "needs keda.prometheusAddress"),
        (('registry={"url": "http://r", "existingSecret": "s"}',), "leave one out"),
        (
            (
                'fingerprint.keyLog.existingSecret="keys"',
                'replay={"enabled": true, "configMap": "captures"}',
            ),
            "set replay.depth=0",
        ),
        (('fullnameOverride="2024-flows"',), "set fullnameOverride"),
        (('fullnameOverride="flows.of"',), "set fullnameOverride"),
    ],
)
def test_what_does_not_go_together_is_told_in_a_sentence(settings: tuple[str, ...], sentence: str) -> None:
    assert sentence in refusal(MINIMAL, *settings)


@pytest.mark.parametrize(
    ("auth", "sentence"),
    [
        ({"type": "sasl", "mechanism": "PLAIN"}, "kafka.auth.mechanism is PLAIN"),
        ({"type": "sasl", "mechanism": "SCRAM-SHA-256"}, "kafka.auth.mechanism is SCRAM-SHA-256"),
        ({"type": "sasl", "keys": {"password": "word"}}, 'kafka.auth.keys.password must be "password"'),
        ({"type": "sasl", "keys": {"username": "name"}}, 'kafka.auth.keys.username must be ""'),
        ({"type": "certificate", "keys": {"key": "tls.key"}}, 'kafka.auth.keys.key must be "user.key"'),
        ({"type": "certificate", "keys": {"certificate": "a"}}, 'certificate must be "user.crt"'),
    ],
)
def test_users_of_strimzi_are_what_strimzi_makes(auth: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(STRIMZI, f"kafka.auth={json.dumps(auth)}")
    # What the other kind of user would have does not matter.
    assert rendered(STRIMZI, 'kafka.auth={"type": "certificate", "keys": {"password": "word"}}')
    assert rendered(STRIMZI, 'kafka.auth={"type": "sasl", "keys": {"key": "word"}}')


@pytest.mark.parametrize(
    "setting",
    [
        'unheard="of"',
        "fingerprint.replica=3",
        'fingerprint.replicas="three"',
        "fingerprint.terminationGracePeriodSeconds=10",
        'fingerprint.autoscaling.mode="hpa,keda"',
        'fingerprint.autoscaling={"mode": "hpa", "keda": true}',
        'image.tag="latest"',
        'classify.image.tag="latest"',
        'classify.image.digest="sha256:12"',
        'image.registry="https://registry.example.com"',
        "security.user=0",
        'kafka.bootstrapServers="kafka"',
        'kafka.config={"sasl.password": "x"}',
        'kafka.config={"linger.ms": 5}',
        'registry.url="http://user:password@registry"',
        "topics.partitions=0",
        'capture.groups=[{"name": "all"}]',
        'capture.groups=[{"name": "all", "interfaces": ["eth0"], "privileged": true}]',
        'replay.files=["/etc/passwd"]',
        'replay.files=["--verify"]',
        'podDisruptionBudget.maxUnavailable="0%"',
        'prometheusRule.alerts={"Unheard": {"enabled": false}}',
        "httpPort=70000",
        "replay.ttlSecondsAfterFinished=1",
    ],
)
def test_the_schema_refuses(setting: str) -> None:
    assert "values don't meet the specifications of the schema" in refusal(MINIMAL, setting)


def test_the_schema_knows_every_value_and_is_closed_everywhere() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def closed(part: Any, path: str) -> list[str]:
        if isinstance(part, list):
            return [found for inner in part for found in closed(inner, path)]
        if not isinstance(part, dict):
            return []
        # A mapping of names that are the user's own says what its values are.
        open_here = part.get("type") == "object" and part.get("additionalProperties", True) is True
        below = [found for name, inner in part.items() for found in closed(inner, f"{path}.{name}")]
        return [path, *below] if open_here else below

    # Helm hands `global` to every chart that is in another one.
    assert closed(schema, "") == [".properties.global"]

    def unknown(value: Any, part: dict[str, Any]) -> list[str]:
        part = schema["$defs"][part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part
        if not isinstance(value, dict) or "properties" not in part:
            return []
        names = [name for name in part["properties"] if name not in value]
        return names + [n for name, inner in value.items() for n in unknown(inner, part["properties"][name])]

    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(unknown(values, schema)) <= {"global", "cpu", "ephemeral-storage"} | set(
        schema["properties"]["prometheusRule"]["properties"]["alerts"]["properties"]
    )


def test_the_registry_the_tag_and_a_digest_make_an_image() -> None:
    def image(*settings: str) -> str:
        found = of_kind(rendered(MINIMAL, *settings), "StatefulSet")[f"{NAME}-classify"]
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"])

    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    digest = "sha256:" + 64 * "a"
    assert image() == f"vermilion-classify:{version}"
    assert image('image.registry="registry.example.com:5000/team"', 'image.tag="1"') == (
        "registry.example.com:5000/team/vermilion-classify:1"
    )
    assert image('classify.image.tag="2"', 'image.tag="1"') == "vermilion-classify:2"
    assert image(f'classify.image.digest="{digest}"') == f"vermilion-classify@{digest}"


def test_every_alert_can_be_changed_or_left_out() -> None:
    rules = of_kind(rendered(STRIMZI), "PrometheusRule")["vermilion"]["spec"]["groups"][0]["rules"]
    given = yaml.safe_load((CHART / "files/prometheus/alerts.yaml").read_text())["groups"][0]["rules"]
    known = json.loads((CHART / "values.schema.json").read_text())["properties"]["prometheusRule"]
    assert [rule["alert"] for rule in given] == list(known["properties"]["alerts"]["properties"])
    expected = [rule for rule in given if rule["alert"] != "VermilionKnowledgeOld"]
    expected[0] |= {"for": "30m", "labels": {"severity": "critical"}}
    assert rules == expected


def test_the_readme_is_of_these_values() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools/chart_readme.py", "--check"], check=False)
    assert done.returncode == 0, "make chart-readme"
    assert not re.search(r"\|\s*\|$", (CHART / "README.md").read_text(), re.MULTILINE), (
        "a value without a text"
    )


def test_versions_agree() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "cli/pyproject.toml").read_text())
    assert chart["appVersion"] == project["project"]["version"]


@pytest.mark.parametrize(
    ("toggle", "values", "brings"),
    [
        ("fingerprint.enabled", MINIMAL, "StatefulSet Service PodDisruptionBudget"),
        ("classify.enabled", MINIMAL, "StatefulSet Service PodDisruptionBudget"),
        ("capture.enabled", CAPTURE, "DaemonSet DaemonSet Service"),
        ("replay.enabled", DEMO, "Job"),
        ("podDisruptionBudget.enabled", MINIMAL, "PodDisruptionBudget PodDisruptionBudget"),
        ("networkPolicy.enabled", MINIMAL, 5 * "NetworkPolicy "),
        ("serviceMonitor.enabled", MINIMAL, "ServiceMonitor"),
        ("prometheusRule.enabled", MINIMAL, "PrometheusRule"),
        ("grafanaDashboard.enabled", MINIMAL, "ConfigMap"),
        ("strimzi.users", STRIMZI, 2 * "KafkaUser "),
        ("knowledge.publish", STRIMZI, "Job"),
    ],
)
def test_each_toggle_brings_its_objects_and_nothing_else(toggle: str, values: Path, brings: str) -> None:
    # What users are called by themselves, when Strimzi makes none.
    more = (
        ['kafka.auth.secret="someone"', 'kafka.tls.caSecret="authority"'] if toggle == "strimzi.users" else []
    )
    names = [
        {(found["kind"], found["metadata"]["name"]) for found in rendered(values, f"{toggle}={on}", *more)}
        for on in ("true", "false")
    ]
    assert sorted(kind for kind, _ in names[0] - names[1]) == sorted(brings.split())
    assert names[1] <= names[0]


@pytest.mark.parametrize(
    ("setting", "values", "part"),
    [
        ("topologySpread.enabled=false", MINIMAL, "topologySpreadConstraints"),
        ('topics.mode="none"', MINIMAL, "--partitions"),
        ("kafka.demo.persistence.enabled=false", DEMO, "volumeClaimTemplates"),
        ("kafka.tls.enabled=false", SCRAM, "ssl.ca.location"),
        ('fingerprint.keyLog.existingClaim=""', DECRYPTION, "key-log"),
        ('registry.existingSecret=""', SCRAM, "VERMILION_REGISTRY_URL"),
    ],
)
def test_each_part_can_be_left_out(setting: str, values: Path, part: str) -> None:
    assert part in json.dumps(rendered(values))
    assert part not in json.dumps(rendered(values, setting))


def test_the_demo_broker_brings_its_objects_and_nothing_else() -> None:
    # Jobs are named by where Kafka is.
    without = ("replay.enabled=false", 'topics.mode="none"')
    there, given = (
        {(found["kind"], found["metadata"]["name"]) for found in rendered(DEMO, *without, *more)}
        for more in ((), ("kafka.demo.enabled=false", 'kafka.bootstrapServers="kafka:9092"'))
    )
    assert sorted(kind for kind, _ in there - given) == [
        "ConfigMap",
        "NetworkPolicy",
        "Service",
        "StatefulSet",
    ]
    assert given <= there
