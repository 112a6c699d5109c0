"""What pods are given: names as texts, Secrets that they can read, the registry's authority, a place."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy.chart import (
    CAPTURE,
    CHART,
    DEMO,
    SCRAM,
    STRIMZI,
    Object,
    containers,
    environment,
    helm,
    of_kind,
    pods,
    rendered,
)

TEXTS = {
    "claimName", "image", "key", "mountPath", "name", "namespace", "path", "priorityClassName", "secretName",
    "serviceAccountName", "serviceName", "storageClassName", "topicName", "topologyKey", "value",
}  # fmt: skip
MAPPINGS = {"annotations", "labels", "matchLabels", "selector"}


def _texts(part: Any, name: str = "") -> Iterator[tuple[str, object]]:
    """All that must be a text in an object, with what it is called there."""
    if isinstance(part, list):
        for inner in part:
            yield from [(name, inner)] if name == "args" else _texts(inner)
    elif isinstance(part, dict):
        for key, inner in part.items():
            if key in TEXTS and not isinstance(inner, dict):
                yield key, inner
            elif name in MAPPINGS and not isinstance(inner, dict | list):
                yield f"{name}.{key}", inner
            else:
                yield from _texts(inner, key)


def test_names_that_look_like_numbers_or_no_are_texts() -> None:
    settings = {
        "fullnameOverride": "no",
        "nameOverride": "10",
        "image": {"pullSecrets": ["1"]},
        "kafka": {
            "bootstrapServers": "k:1",
            "topicPrefix": "1.",
            "tls": {"enabled": True, "caSecret": "2", "caKey": "3"},
            "auth": {
                "type": "sasl",
                "username": "4",
                "secret": "5",
                "keys": {"username": "6", "password": "7"},
            },
        },
        "registry": {"existingSecret": "8", "key": "9", "caSecret": "10", "caKey": "11"},
        "capture": {"enabled": True, "depth": 0, "groups": [{"name": "10", "interfaces": ["e"]}]},
        "fingerprint": {"keyLog": {"existingSecret": "12", "key": "13"}},
        "knowledge": {"existingClaim": "14"},
        "placement": {"priorityClassName": "15"},
        "replay": {"enabled": True, "existingClaim": "16", "sensor": "a: b #c", "depth": 0},
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "topologySpread": {"topologyKey": "17"},
    }
    given = [word for key, value in settings.items() for word in ("--set-json", f"{key}={json.dumps(value)}")]
    more = ["topics.mode=strimzi", "strimzi.cluster=y", "strimzi.namespace=18"]
    given += [word for setting in more for word in ("--set-string", setting)]
    done = helm("template", "2024", CHART, "--kube-version", "1.34.0", *given)
    assert done.returncode == 0, done.stderr
    objects = [found for found in yaml.load_all(done.stdout, yaml.CSafeLoader) if found]
    found = [text for each in objects for text in _texts(each)]
    assert [text for text in found if not isinstance(text[1], str)] == []
    assert ("labels.app.kubernetes.io/instance", "2024") in found
    assert ("labels.vermilion/group", "10") in found
    assert ("args", "--sensor=a: b #c") in found


def _modes(objects: list[Object]) -> set[int]:
    volumes = [volume for _, spec in pods(objects) for volume in spec["volumes"]]
    return {volume["secret"]["defaultMode"] for volume in volumes if volume["name"] in {"user", "key-log"}}


def test_secrets_can_be_read_where_pods_have_no_group() -> None:
    log = 'fingerprint.keyLog.existingSecret="keys"'
    assert _modes(rendered(SCRAM, log)) == {0o440}
    assert _modes(rendered(SCRAM, log, "security.group=null")) == {0o444}
    # OpenShift gives each pod a group.
    openshift = helm(
        "template", "t", CHART, "--values", SCRAM, "--set-json", "security={\"user\": null, \"group\": null}",
        "--kube-version", "1.34.0", "--api-versions", "security.openshift.io/v1",
    )  # fmt: skip
    assert _modes([found for found in yaml.load_all(openshift.stdout, yaml.CSafeLoader) if found]) == {0o440}


@pytest.mark.parametrize("values", [SCRAM, STRIMZI, CAPTURE, DEMO], ids=lambda path: path.stem)
def test_the_registrys_authority_is_where_its_address_is(values: Path) -> None:
    authority = ('registry.caSecret="authority"', 'registry.caKey="root.pem"')
    registry = () if values in {SCRAM, STRIMZI} else ('registry.url="https://registry"',)
    asked = 0
    for name, spec in pods(rendered(values, *authority, *registry)):
        for container in containers(spec):
            variables = {each["name"] for each in container.get("env", [])}
            assert ("SSL_CERT_FILE" in variables) == ("VERMILION_REGISTRY_URL" in variables), name
            if "SSL_CERT_FILE" not in variables:
                continue
            asked += 1
            file = environment(container)["SSL_CERT_FILE"]
            (mount,) = [each for each in container["volumeMounts"] if each["name"] == "registry-authority"]
            assert mount["readOnly"] is True
            (volume,) = [each for each in spec["volumes"] if each["name"] == "registry-authority"]
            assert volume["secret"]["secretName"] == "authority"
            (item,) = volume["secret"]["items"]
            assert (item["key"], f"{mount['mountPath']}/{item['path']}") == ("root.pem", file)
    assert asked >= 2
    assert "SSL_CERT_FILE" not in json.dumps(rendered(values))
    # Without a registry nothing is asked, and nothing mounted.
    without = rendered(values, *authority, 'registry.url=""', 'registry.existingSecret=""')
    assert "registry-authority" not in json.dumps(without)


def test_the_job_that_publishes_knowledge_goes_where_classify_mounts_it() -> None:
    taint = [{"key": "role", "operator": "Exists"}]
    where = ('classify.nodeSelector={"zone": "a"}', f"classify.tolerations={json.dumps(taint)}")

    def job(*settings: str) -> tuple[str, Object]:
        ((name, found),) = of_kind(rendered(STRIMZI, *settings), "Job").items()
        return name, found["spec"]["template"]["spec"]

    name, spec = job(*where, 'placement.nodeSelector={"zone": "b"}')
    assert (spec["nodeSelector"], spec["tolerations"]) == ({"zone": "a"}, taint)
    # Another place is another Job: they cannot be changed.
    assert name != job('placement.nodeSelector={"zone": "b"}')[0]
    assert job('placement.nodeSelector={"zone": "b"}')[1]["nodeSelector"] == {"zone": "b"}
