"""The chart: no pod asks for more than it needs, and every part fits the others."""

import json
import re
from pathlib import Path

import pytest
from deploy.chart import (
    CAPTURE,
    DECRYPTION,
    DEMO,
    EXAMPLES,
    MINIMAL,
    NAME,
    NAMESPACE,
    RELEASE,
    SCRAM,
    STRIMZI,
    containers,
    each_example,
    environment,
    of_kind,
    pods,
    refusal,
    rendered,
)
from test_docs import options_of

from vermilion_pipeline.rights import Right, of
from vermilion_pipeline.settings import Settings, load
from vermilion_pipeline.topics import TOPICS


def test_with_kafka_given_it_is_a_working_system() -> None:
    objects = rendered()
    assert set(of_kind(objects, "StatefulSet")) == {f"{NAME}-fingerprint", f"{NAME}-classify"}
    assert set(of_kind(objects, "Job")) == {f"{NAME}-topics"}
    assert {found["kind"] for found in objects} == {
        "Job", "NetworkPolicy", "Pod", "PodDisruptionBudget", "Service", "ServiceAccount", "StatefulSet",
    }  # fmt: skip


@each_example
def test_no_root_no_privilege_no_latest(values: Path) -> None:
    found = list(pods(rendered(values)))
    assert found
    for name, spec in found:
        capture = "-capture-" in name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"].get("runAsUser", 10001) > 0, name
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
    everything = (
        "capture.enabled=true",
        'capture.groups=[{"name": "a", "interfaces": ["eth0"]}]',
        "replay.enabled=true",
        'replay.configMap="captures"',
    )
    users = of_kind(rendered(STRIMZI, *everything), "KafkaUser")
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
    assert granted("replay") == set(of("verify", "vermilion."))


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


def test_a_key_log_is_a_secret_of_fingerprint_alone() -> None:
    sets = of_kind(
        rendered(MINIMAL, 'fingerprint.keyLog={"existingSecret": "keys", "key": "log"}'), "StatefulSet"
    )
    fingerprint, classify = (
        sets[f"{NAME}-{name}"]["spec"]["template"]["spec"] for name in ("fingerprint", "classify")
    )
    (volume,) = [each for each in fingerprint["volumes"] if each["name"] == "key-log"]
    assert volume["secret"]["secretName"] == "keys"
    assert volume["secret"]["items"] == [{"key": "log", "path": "log"}]
    (container,) = fingerprint["containers"]
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == "key-log"]
    assert mount["readOnly"]
    assert "subPath" not in mount  # which would never see the Secret change
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert variables["VERMILION_KEY_LOG"] == f"{mount['mountPath']}/log"
    assert "key-log" not in str(classify)
    assert "KEY_LOG" not in str(rendered())


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
    assert (found.depth, found.transport, found.http_port) == (0, ["udp"], 9465)
    assert found.snaplen == 2048


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
        assert {53, 5353} < allowed(component, "egress") <= {53, 5353, 443, 8080, 9092, 9093, 9094}
    assert allowed("knowledge", "egress") == allowed("knowledge", "ingress") == set()
    assert allowed("kafka", "ingress") == ({9092} if demo else set())
    assert 9464 in allowed("test", "egress")


@pytest.mark.parametrize("publish", [True, False])
def test_a_claim_is_read_only_as_a_whole_only_where_no_job_writes_it(publish: bool) -> None:
    # A volume gets its group when it is first mounted on a node, and never through a read-only claim.
    objects = rendered(STRIMZI, f"knowledge.publish={json.dumps(publish)}")
    spec = dict(pods(objects))["vermilion-classify"]
    (volume,) = [each for each in spec["volumes"] if each["name"] == "knowledge"]
    assert volume["persistentVolumeClaim"]["readOnly"] is not publish
    (mount,) = [each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "knowledge"]
    assert mount["readOnly"] is True


def _kafka_and_registry(*settings: str, values: Path = MINIMAL) -> list[int]:
    policy = of_kind(rendered(values, *settings), "NetworkPolicy")
    (spec,) = [found["spec"] for name, found in policy.items() if name.endswith("-clients")]
    return [port["port"] for rule in spec["egress"][1:] for port in rule["ports"]]


def test_ports_are_those_of_the_addresses() -> None:
    assert _kafka_and_registry(values=STRIMZI) == [9093, 8080]
    assert _kafka_and_registry(values=DECRYPTION) == [9092]
    assert _kafka_and_registry('registry.url="http://registry"') == [9092, 80]
    assert _kafka_and_registry('registry.url="https://registry/path"') == [9092, 443]
    assert _kafka_and_registry('registry.existingSecret="registry"') == [9092, 443]
    assert _kafka_and_registry('registry.url="https://r"', "networkPolicy.registryPort=1") == [9092, 1]


def test_a_replay_and_the_topics_pass_what_is_given() -> None:
    jobs = of_kind(rendered(DECRYPTION), "Job")
    arguments = {
        spec["containers"][0]["name"]: spec["containers"][0]["args"]
        for spec in (job["spec"]["template"]["spec"] for job in jobs.values())
    }
    assert {"--depth=0", "--transport=tcp"} < set(arguments["replay"])
    assert arguments["topics"] == ["--config=retention.ms=86400000"]
    assert all("ttlSecondsAfterFinished" not in job["spec"] for job in jobs.values())


@pytest.mark.parametrize("number", ["null", "20002"])
def test_capture_is_of_the_launchers_group_whoever_it_runs_as(number: str) -> None:
    found = rendered(CAPTURE, f"security.user={number}", f"security.group={number}")
    security = dict(pods(found))[f"{NAME}-capture-core"]["securityContext"]
    assert security["supplementalGroups"] == [10001]
    assert security.get("runAsUser") == json.loads(number) == security.get("runAsGroup")


def test_capture_may_be_given_its_capability_by_the_file() -> None:
    found = rendered(CAPTURE, "capture.allowPrivilegeEscalation=true")
    (container,) = dict(pods(found))[f"{NAME}-capture-core"]["containers"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is True


def test_a_key_log_that_grows_is_a_claim() -> None:
    spec = dict(pods(rendered(DECRYPTION)))[f"{NAME}-fingerprint"]
    (volume,) = [each for each in spec["volumes"] if each["name"] == "key-log"]
    assert volume["persistentVolumeClaim"] == {"claimName": "keys", "readOnly": True}
    assert environment(spec["containers"][0])["VERMILION_KEY_LOG"] == "/etc/vermilion/key-log/sslkeylog"


def test_looking_at_topics_needs_no_user_that_nobody_makes() -> None:
    objects = rendered(STRIMZI, 'kafka.auth.users.admin.secret=""')
    users = of_kind(objects, "KafkaUser")
    assert set(users) == {"vermilion-fingerprint", "vermilion-classify", "vermilion-admin"}
    granted = users["vermilion-admin"]["spec"]["authorization"]["acls"]
    assert {each["resource"]["name"] for each in granted} == {
        topic.full_name("vermilion.") for topic in TOPICS
    }
    assert all(each["operations"] == ["Describe"] for each in granted)
    volumes = dict(pods(objects))["vermilion-test"]["volumes"]
    assert "vermilion-admin" in [each.get("secret", {}).get("secretName") for each in volumes]


@pytest.mark.parametrize("values", [DECRYPTION, DEMO, STRIMZI], ids=lambda path: path.stem)
def test_every_pod_goes_where_all_go_and_has_the_common_labels(values: Path) -> None:
    given = 'placement={"priorityClassName": "low", "nodeSelector": {"a": "b"}}'
    objects = rendered(values, given, 'commonLabels={"team": "net"}')
    for name, spec in pods(objects):
        if "-capture-" not in name:
            assert (spec["priorityClassName"], spec["nodeSelector"]["a"]) == ("low", "b"), name
    for found in objects:
        template = found.get("spec", {}).get("template", found)
        assert template["metadata"]["labels"]["team"] == "net"
    own = dict(pods(rendered(MINIMAL, given, 'fingerprint.nodeSelector={"c": "d"}')))
    assert own[f"{NAME}-fingerprint"]["nodeSelector"] == {"c": "d"}


def test_labels_of_ones_own_are_beside_ours_and_never_twice() -> None:
    monitors = tuple(
        f'{kind}={{"enabled": true, "labels": {{"release": "prometheus"}}}}'
        for kind in ("serviceMonitor", "prometheusRule", "grafanaDashboard")
    )
    common = 'commonLabels={"release": "all", "app.kubernetes.io/part-of": "soc"}'
    objects = rendered(DEMO, *monitors, common)
    for found in objects:
        monitored = (
            found["kind"] in ("ServiceMonitor", "PrometheusRule") or "dashboard" in found["metadata"]["name"]
        )
        labels = found["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "soc"
        assert labels["release"] == ("prometheus" if monitored else "all"), found["metadata"]["name"]
    for ours in ("app.kubernetes.io/name", "app.kubernetes.io/component", "helm.sh/chart"):
        assert "commonLabels" in refusal(MINIMAL, f'commonLabels={{"{ours}": "mine"}}')


def test_a_replay_waits_for_topics_that_strimzi_makes_by_its_own_user() -> None:
    replay = ("replay.enabled=true", 'replay.configMap="captures"', "replay.loop=1000000")
    for values, waits in ((STRIMZI, True), (MINIMAL, False)):
        ((name, spec),) = [each for each in pods(rendered(values, *replay)) if "-replay-" in each[0]]
        assert [each["name"] for each in spec.get("initContainers", [])] == ["topics"] * waits, name
        assert "--loop=1000000" in spec["containers"][0]["args"]
        assert "--timeout=600" in spec["containers"][0]["args"]
        if waits:
            assert environment(spec["initContainers"][0]) == environment(spec["containers"][0])
    (user,) = [
        user for name, user in of_kind(rendered(STRIMZI, *replay, "replay.verify=false"), "KafkaUser").items()
        if name.endswith("-replay")
    ]  # fmt: skip
    seen = {
        entry["resource"]["name"]: entry["operations"][0] for entry in user["spec"]["authorization"]["acls"]
    }
    # Without --verify it reads nothing, and sees whether all are there.
    assert set(seen) == {topic.full_name("vermilion.") for topic in TOPICS}
    assert "Read" not in seen.values()


def test_probes_find_the_stages_by_either_kind_of_address() -> None:
    stages = of_kind(rendered(), "StatefulSet").values()
    containers = [stage["spec"]["template"]["spec"]["containers"][0] for stage in stages]
    assert [environment(each)["VERMILION_HTTP_HOST"] for each in containers] == ["::", "::"]


def test_a_prometheus_that_knows_nothing_is_not_taken_for_no_lag() -> None:
    scaled = of_kind(rendered(STRIMZI), "ScaledObject").values()
    assert scaled
    for each in scaled:
        assert each["spec"]["triggers"][0]["metadata"]["ignoreNullValues"] == "false"


def test_the_demos_topics_fit_into_its_volume() -> None:
    objects = rendered(DEMO, "kafka.demo.persistence.enabled=false")
    demo = dict(pods(objects))[f"{NAME}-kafka"]
    assert {"name": "data", "emptyDir": {"sizeLimit": "2Gi"}} in demo["volumes"]
    settings = of_kind(objects, "ConfigMap")[f"{NAME}-kafka"]["data"]["server.properties"]
    told = dict(line.split("=", 1) for line in settings.splitlines() if "=" in line and line[0] != "#")
    kept = int(told["log.retention.bytes"]) + int(told["log.segment.bytes"])
    assert kept * len(TOPICS) * 12 < 2 << 30
