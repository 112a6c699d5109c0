"""The chart: it renders what Kubernetes takes, asks for no more than it needs, refuses what is wrong."""

import functools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from deploy.chart import (
    CHART,
    EXAMPLES,
    MINIMAL,
    NAMESPACE,
    RELEASE,
    ROOT,
    containers,
    environment,
    helm,
    of_kind,
    pods,
    refusal,
    rendered,
    tool,
)
from test_docs import options_of

from vermilion_pipeline.rights import ROLES, Right, of
from vermilion_pipeline.settings import Settings, load
from vermilion_pipeline.topics import TOPICS

CUSTOM = ("keda.sh/", "monitoring.coreos.com/", "kafka.strimzi.io/")
DEMO = CHART / "ci/demo-values.yaml"
SCRAM = CHART / "ci/scram-values.yaml"
STRIMZI = CHART / "ci/strimzi-values.yaml"
CAPTURE = CHART / "ci/capture-values.yaml"
NAME = f"{RELEASE}-vermilion"
each_example = pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)


@each_example
def test_lint_is_strict_and_content(values: Path) -> None:
    done = helm("lint", "--strict", CHART, "--values", values)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", ["1.27", "1.34"])
def test_kubernetes_schemas_take_it(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # It reads 2 MB of definitions anew for every object.
    contents = functools.cache(kubernetes_validate.utils.schema_contents)
    monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", contents)
    objects = [json.dumps(found) for values in EXAMPLES for found in rendered(values)]
    for found in map(json.loads, dict.fromkeys(objects)):
        if not found["apiVersion"].startswith(CUSTOM):
            kubernetes_validate.validate(found, version, strict=True)


def test_the_schemas_do_refuse() -> None:
    service = rendered()[0]
    service["spec"]["unheard"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, "1.34", strict=True)


def custom(prefixes: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        found for values in EXAMPLES for found in rendered(values) if found["apiVersion"].startswith(prefixes)
    ]


def checked(command: list[str], objects: list[dict[str, Any]]) -> list[str]:
    done = subprocess.run(command, input=json.dumps(objects), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_models_of_keda_and_prometheus_operator_take_it() -> None:
    if not (script := ROOT / ".tools/crds/node/check.mjs").exists():
        pytest.skip("the models are not here: make tools")
    command, objects = [tool("node", "apt-get install nodejs"), str(script)], custom(CUSTOM[:2])
    assert {found["kind"] for found in objects} == {"ScaledObject", "PrometheusRule", "ServiceMonitor"}
    assert checked(command, objects) == []
    for found in objects:
        found["spec"]["unheard"] = 1
    assert len(checked(command, objects)) == len(objects)


def test_models_of_strimzi_take_it() -> None:
    if not (models := ROOT / ".tools/crds/strimzi").exists():
        pytest.skip("the models are not here: make tools")
    tool("javac", "a JDK compiles the check: apt-get install openjdk-17-jdk-headless")
    command = ["java", "-cp", f"{models}/*", str(ROOT / "tools/crds/Strimzi.java")]
    objects = custom(CUSTOM[2:])
    assert {found["kind"] for found in objects} == {"KafkaTopic", "KafkaUser"}
    wrong = json.loads(json.dumps(objects[0]))
    wrong["metadata"]["name"] = "wrong"
    wrong["spec"]["unheard"] = 1
    lines = checked(command, [*objects, wrong])
    assert [line for line in lines if "wrong" not in line] == []
    assert any("unheard" in line for line in lines)


def test_with_nothing_given_it_says_what_it_needs() -> None:
    assert "Set kafka.bootstrapServers to its addresses" in refusal(None)


def test_with_kafka_given_it_is_a_working_system() -> None:
    objects = rendered()
    assert set(of_kind(objects, "StatefulSet")) == {f"{NAME}-fingerprint", f"{NAME}-classify"}
    assert set(of_kind(objects, "Job")) == {f"{NAME}-topics"}
    assert {found["kind"] for found in objects} == {
        "Job", "NetworkPolicy", "Pod", "PodDisruptionBudget", "Service", "ServiceAccount", "StatefulSet",
    }  # fmt: skip


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
        (("fingerprint.replicas=13",), "more than topics.partitions=12"),
        (('classify.autoscaling.mode="keda"',), "needs keda.prometheusAddress"),
        (('registry={"url": "http://r", "existingSecret": "s"}',), "leave one out"),
    ],
)
def test_what_does_not_go_together_is_told_in_a_sentence(settings: tuple[str, ...], sentence: str) -> None:
    assert sentence in refusal(MINIMAL, *settings)


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


@each_example
def test_no_root_no_privilege_no_latest(values: Path) -> None:
    found = list(pods(rendered(values)))
    assert found
    for name, spec in found:
        capture = "-capture-" in name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec.get("hostNetwork", False) is capture, name
        assert not {"hostPID", "hostIPC", "shareProcessNamespace"} & spec.keys(), name
        assert not any("hostPath" in volume for volume in spec["volumes"]), name
        for container in containers(spec):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["capabilities"] == {"drop": ["ALL"]} | ({"add": ["NET_RAW"]} if capture else {})
            assert not {"privileged", "procMount", "runAsUser"} & security.keys(), name
            assert re.fullmatch(r"(?!.*:latest$)\S+(:[\w.-]+|@sha256:[0-9a-f]{64})", container["image"])
            assert container["resources"]["limits"]["memory"], name
            assert container["resources"]["requests"]["cpu"], name


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


@each_example
def test_commands_exist_with_their_options(values: Path) -> None:
    lines = []
    for _, spec in pods(rendered(values)):
        for container in containers(spec):
            words = [*container["command"], *container.get("args", [])]
            if words[0] == "vermilion-capture":
                words = ["vermilion", "capture", *words[1:]]
            if words[0] == "vermilion":
                lines.append(words)
            elif words[0] == "sh" and (inner := re.search(r"vermilion [a-z ]+[a-z]", words[2])):
                lines.append(inner[0].split())
    assert lines
    for _, *words in lines:
        command, given = options_of(" ".join(words))
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word.partition("=")[0] for word in given if word.startswith("-")} <= known, words


@each_example
def test_selectors_find_the_pods_and_ports_have_their_names(values: Path) -> None:
    objects = rendered(values)
    labelled = [
        (found["spec"]["template"]["metadata"]["labels"], found["spec"]["template"]["spec"])
        for found in objects
        if found["kind"] in {"StatefulSet", "DaemonSet"}
    ]
    for service in of_kind(objects, "Service").values():
        chosen = [spec for labels, spec in labelled if service["spec"]["selector"].items() <= labels.items()]
        assert chosen, service["metadata"]["name"]
        for spec in chosen:
            ports = {port["name"] for container in spec["containers"] for port in container["ports"]}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for found in [*of_kind(objects, "StatefulSet").values(), *of_kind(objects, "DaemonSet").values()]:
        selector = found["spec"]["selector"]["matchLabels"]
        assert sum(selector.items() <= labels.items() for labels, _ in labelled) == 1


@each_example
def test_mounts_have_volumes(values: Path) -> None:
    for name, spec in pods(rendered(values)):
        volumes = {volume["name"] for volume in spec["volumes"]}
        if name.endswith("-kafka"):
            volumes.add("data")
        mounted = {mount["name"] for each in containers(spec) for mount in each.get("volumeMounts", [])}
        assert mounted == volumes, name


def test_a_replica_has_its_ordinals_name_and_longer_to_leave_than_a_transaction_takes() -> None:
    for found in of_kind(rendered(), "StatefulSet").values():
        spec = found["spec"]["template"]["spec"]
        # transaction.timeout.ms is 10 s; the broker may take as long again to answer.
        assert spec["terminationGracePeriodSeconds"] >= 30
        variables = {each["name"]: each for each in spec["containers"][0]["env"]}
        names = list(variables)
        assert variables["VERMILION_INSTANCE"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
        assert json.loads(variables["VERMILION_KAFKA"]["value"]) == {
            "group.instance.id": "$(VERMILION_INSTANCE)"
        }
        # Kubernetes expands only what stands before.
        assert names.index("VERMILION_INSTANCE") < names.index("VERMILION_KAFKA")
    for found in of_kind(rendered(MINIMAL, "kafka.staticMembership=false"), "StatefulSet").values():
        assert "VERMILION_KAFKA" not in environment(found["spec"]["template"]["spec"]["containers"][0])


def test_scaling_is_capped_at_the_partitions_and_takes_the_number_of_replicas_over() -> None:
    objects = rendered(SCRAM)
    scalers = of_kind(objects, "HorizontalPodAutoscaler")
    assert scalers[f"{NAME}-fingerprint"]["spec"]["maxReplicas"] == 24
    assert scalers[f"{NAME}-fingerprint"]["spec"]["metrics"][0]["pods"]["metric"] == {
        "name": "vermilion_consumer_lag"
    }
    assert scalers[f"{NAME}-classify"]["spec"]["metrics"][0]["resource"]["name"] == "cpu"
    assert of_kind(objects, "ScaledObject") == {}
    objects = rendered(STRIMZI)
    scaled = of_kind(objects, "ScaledObject")
    assert [
        scaled[f"vermilion-{name}"]["spec"]["maxReplicaCount"] for name in ("fingerprint", "classify")
    ] == [
        12,
        6,
    ]
    query = scaled["vermilion-classify"]["spec"]["triggers"][0]["metadata"]["query"]
    assert query == f'sum(vermilion_consumer_lag{{namespace="{NAMESPACE}",pod=~"vermilion-classify-[0-9]+"}})'
    assert of_kind(objects, "HorizontalPodAutoscaler") == {}
    for found in (rendered(SCRAM), rendered(STRIMZI)):
        assert all("replicas" not in each["spec"] for each in of_kind(found, "StatefulSet").values())


def test_topics_are_those_of_the_flow_and_outlive_the_release() -> None:
    topics = of_kind(rendered(STRIMZI), "KafkaTopic")
    assert [found["spec"]["topicName"] for found in topics.values()] == [
        topic.full_name("vermilion.") for topic in TOPICS
    ]
    for found in topics.values():
        assert found["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        assert (found["spec"]["partitions"], found["spec"]["replicas"]) == (12, 3)


def test_kafka_users_have_the_rights_of_their_roles_and_no_others() -> None:
    users = of_kind(rendered(STRIMZI), "KafkaUser")
    kinds = {"topic": "topic", "group": "group", "transactionalId": "transactional id"}

    def granted(role: str) -> set[Right]:
        rights = set()
        for entry in users[f"vermilion-{role}"]["spec"]["authorization"]["acls"]:
            (operation,) = set(entry["operations"]) - {"Describe"}
            resource = entry["resource"]
            prefixed = resource["patternType"] == "prefix"
            rights.add(Right(operation, kinds[resource["type"]], resource["name"], prefixed))  # type: ignore[arg-type]
        return rights

    assert {role.removeprefix("vermilion-") for role in users} == {
        "capture",
        "fingerprint",
        "classify",
        "replay",
    }
    for role in ("capture", "fingerprint", "classify"):
        assert granted(role) == set(of(role, "vermilion."))
    assert granted("replay") == {*of("capture", "vermilion."), Right("Read", "topic", "vermilion.classified")}
    assert set(ROLES) >= {"capture", "fingerprint", "classify"}


def test_secrets_are_files_and_never_in_what_is_rendered() -> None:
    objects = rendered(SCRAM)
    spec = dict(pods(objects))
    fingerprint, classify = spec[f"{NAME}-fingerprint"], spec[f"{NAME}-classify"]
    found = environment(fingerprint["containers"][0])
    assert found["VERMILION_KAFKA"] == {
        "client.rack": "a",
        "group.instance.id": "$(VERMILION_INSTANCE)",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "fingerprint",
        "security.protocol": "SASL_SSL",
        "socket.keepalive.enable": "true",
        "ssl.ca.location": "/etc/vermilion/authority/ca.crt",
    }
    assert found["VERMILION_KAFKA_SECRET_FILES"] == {"sasl.password": "/etc/vermilion/user/password"}
    secrets = {
        each["name"]: each["secret"]["secretName"] for each in fingerprint["volumes"] if "secret" in each
    }
    assert secrets == {"user": "kafka-fingerprint", "authority": "kafka-authority"}
    assert [each["secret"]["secretName"] for each in classify["volumes"] if "secret" in each] == [
        "kafka-user",
        "kafka-authority",
    ]
    assert of_kind(objects, "Secret") == {}
    variables = {each["name"]: each for each in classify["containers"][0]["env"]}
    assert variables["VERMILION_REGISTRY_URL"]["valueFrom"] == {
        "secretKeyRef": {"name": "registry", "key": "url"}
    }


def test_hooks_need_nothing_that_the_release_brings() -> None:
    for values in EXAMPLES:
        objects = rendered(values)
        brought = {(found["kind"], found["metadata"]["name"]) for found in objects}
        for name, job in of_kind(objects, "Job").items():
            if "helm.sh/hook" not in job["metadata"].get("annotations", {}):
                continue
            spec = job["spec"]["template"]["spec"]
            assert "serviceAccountName" not in spec, name
            for volume in spec["volumes"]:
                named = ("ConfigMap", volume.get("configMap", {}).get("name"))
                assert named not in brought, name


def test_new_knowledge_in_a_claim_changes_a_job_and_no_pod() -> None:
    digest = "sha256:" + 64 * "b"
    old, new = rendered(STRIMZI), rendered(STRIMZI, f'knowledge.image.digest="{digest}"')
    changed = [found["kind"] for found in new if found not in old]
    assert changed == ["Job"]
    assert set(of_kind(old, "Job")) != set(of_kind(new, "Job"))


def test_a_replay_runs_again_only_when_it_is_another_one() -> None:
    def job(*settings: str) -> str:
        (name,) = [name for name in of_kind(rendered(DEMO, *settings), "Job") if "replay" in name]
        return name

    assert job() == job("classify.replicas=2") == job('image.tag="2"')
    assert job() != job("replay.loop=2")
    assert job() != job('kafka.topicPrefix="other."')


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
    import tomllib

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "cli/pyproject.toml").read_text())
    assert chart["appVersion"] == project["project"]["version"]


@each_example
def test_every_variable_is_a_setting(values: Path) -> None:
    known = {f"VERMILION_{name.upper()}" for name in Settings.model_fields} | {"HOME"}
    for name, spec in pods(rendered(values)):
        for container in containers(spec):
            given = [variable["name"] for variable in container.get("env", [])]
            assert set(given) <= known, name
            assert len(given) == len(set(given)), name


def test_a_groups_settings_are_read_as_they_are_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = dict(pods(rendered(CAPTURE)))[f"{NAME}-capture-core"]
    for variable in spec["containers"][0]["env"]:
        if "value" in variable:
            monkeypatch.setenv(variable["name"], variable["value"])
    found = load()
    assert found.interface == ["tap0", "tap1"]
    assert (found.bpf, found.workers, found.ring_mib, found.promiscuous) == ("not port 9092", 2, 128, False)
    assert (found.exclude_port, found.exclude_network) == ([9092], ["192.0.2.0/24"])
    assert (found.depth, found.http_port) == (16384, 9465)


@each_example
def test_everything_is_denied_but_what_each_component_needs(values: Path) -> None:
    objects = rendered(values)
    policies = [found["spec"] for found in of_kind(objects, "NetworkPolicy").values()]
    whole = {"app.kubernetes.io/name": "vermilion", "app.kubernetes.io/instance": RELEASE}
    assert {"podSelector": {"matchLabels": whole}, "policyTypes": ["Ingress", "Egress"]} in policies

    def allowed(component: str, direction: str) -> set[int]:
        ports = set()
        for policy in policies:
            (chosen,) = policy["podSelector"].get("matchExpressions", [{"values": []}])
            labels = policy["podSelector"]["matchLabels"]
            if component in chosen["values"] or labels.get("app.kubernetes.io/component") == component:
                ports |= {port["port"] for rule in policy.get(direction, []) for port in rule["ports"]}
        return ports

    demo = "demo" in values.stem
    for component in ("fingerprint", "classify"):
        assert allowed(component, "ingress") == {9464}
        assert {53} < allowed(component, "egress") <= {53, 443, 9092, 9093, 9094}
    assert allowed("knowledge", "egress") == allowed("knowledge", "ingress") == set()
    assert allowed("kafka", "ingress") == ({9092} if demo else set())
    assert 9464 in allowed("test", "egress")


@pytest.mark.parametrize(
    ("toggle", "values", "brings"),
    [
        ("fingerprint.enabled", MINIMAL, "StatefulSet Service PodDisruptionBudget"),
        ("classify.enabled", MINIMAL, "StatefulSet Service PodDisruptionBudget"),
        ("capture.enabled", CAPTURE, "DaemonSet DaemonSet Service"),
        ("replay.enabled", DEMO, "Job"),
        ("podDisruptionBudget.enabled", MINIMAL, "PodDisruptionBudget PodDisruptionBudget"),
        ("networkPolicy.enabled", MINIMAL, 4 * "NetworkPolicy "),
        ("serviceMonitor.enabled", MINIMAL, "ServiceMonitor"),
        ("prometheusRule.enabled", MINIMAL, "PrometheusRule"),
        ("grafanaDashboard.enabled", MINIMAL, "ConfigMap"),
        ("strimzi.users", STRIMZI, 4 * "KafkaUser "),
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
        ('registry.existingSecret=""', SCRAM, "VERMILION_REGISTRY_URL"),
    ],
)
def test_each_part_can_be_left_out(setting: str, values: Path, part: str) -> None:
    assert part in json.dumps(rendered(values))
    assert part not in json.dumps(rendered(values, setting))
