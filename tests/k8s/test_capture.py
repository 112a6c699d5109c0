"""Capture as a DaemonSet: it sees what pods say to each other, and holds no right while it does."""

import json
import os
import re

from deploy.chart import Object
from k8s.cluster import Namespace, bare, wait_for
from k8s.flows import Event, Flows, everything

INTERFACE = os.environ.get("VERMILION_K8S_INTERFACE", "cni0")
RELEASE = "sensors"
PORT = 8080
# Until the server is there; it is asked once.
ASK = """
import sys, time, urllib.request
asked = urllib.request.Request(sys.argv[1], headers={"User-Agent": sys.argv[2]})
for _ in range(60):
    try:
        sys.exit(urllib.request.urlopen(asked, timeout=30).status != 200)
    except OSError:
        time.sleep(1)
sys.exit("nobody serves")
"""


def test_capture_sees_what_one_pod_says_to_another_and_nothing_of_it_stays(flows: Flows) -> None:
    with Namespace("sensors", "privileged") as namespace:
        wait_for(lambda: namespace.get("serviceaccounts"), "the namespace's account")
        before = everything(namespace)
        values = {
            "image.tag": flows.images.tag,
            "kafka.bootstrapServers": flows.kafka,
            "topics.mode": "none",
            "fingerprint.enabled": False,
            "classify.enabled": False,
            "capture": {
                "enabled": True,
                "groups": [
                    # Of frames that a bridge hands on its interface sees nothing, unless it is promiscuous.
                    # Without the filter it would see every probe and all of Kafka, and never be quiet.
                    {
                        "name": "all",
                        "interfaces": [INTERFACE],
                        "promiscuous": True,
                        "bpf": f"tcp port {PORT}",
                    }
                ],
                "resources": {"requests": {"cpu": "50m"}},
            },
        }
        namespace.install(RELEASE, values, "--wait", "--timeout=3m")
        namespace.helm("test", RELEASE)
        server = _server(namespace, flows)
        for agent in ("before", "after"):
            ((sensor, pod),) = namespace.pods(RELEASE, "capture").items()
            _holds_no_right(namespace, sensor, pod)
            client = _asks(namespace, flows, server, agent)
            seen = _seen(flows, pod["spec"]["nodeName"], agent)
            assert [(event["src_ip"], event["dst_ip"], event["dst_port"]) for event in seen] == [
                (client, server, PORT)
            ]
            namespace.kubectl("delete", "pod", sensor)
            namespace.kubectl("rollout", "status", "daemonset", "--timeout=120s")
        namespace.kubectl("delete", "pods", "server", "before", "after")
        namespace.helm("uninstall", RELEASE, "--wait")
        wait_for(lambda: everything(namespace) == before, f"{everything(namespace) - before} to go")


def _holds_no_right(namespace: Namespace, sensor: str, pod: Object) -> None:
    """The process that captures: not root, no capability, none to be gained."""
    assert pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False
    status = namespace.kubectl("exec", sensor, "--", "cat", "/proc/1/status")
    found = dict(re.findall(r"^(\w+):\t(.*)$", status, re.MULTILINE))
    assert found["Uid"].split() == ["10001"] * 4
    assert {found[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert found["NoNewPrivs"] == "1"


def _server(namespace: Namespace, flows: Flows) -> str:
    """The address of a pod that serves HTTP."""
    serve = ["python3", "-m", "http.server", str(PORT), "--directory", "/tmp"]  # noqa: S108 (in the pod)
    server = bare("server", f"vermilion-cli:{flows.images.tag}", serve, {"app": "server"})
    namespace.kubectl("create", "--filename=-", given=json.dumps(server))
    namespace.kubectl("wait", "--for=condition=Ready", "pod/server", "--timeout=120s")
    return str(namespace.get("pods", "--selector=app=server")[0]["status"]["podIP"])


def _asks(namespace: Namespace, flows: Flows, server: str, agent: str) -> str:
    """The address of a pod that has asked the server, once."""
    words = ["python3", "-c", ASK, f"http://{server}:{PORT}/", agent]
    client = bare(agent, f"vermilion-cli:{flows.images.tag}", words, {"app": agent})
    namespace.kubectl("create", "--filename=-", given=json.dumps(client))
    namespace.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{agent}", "--timeout=120s")
    return str(namespace.get("pods", f"--selector=app={agent}")[0]["status"]["podIP"])


def _seen(flows: Flows, sensor: str, agent: str) -> list[Event]:
    """What the chain tells of that request."""
    found: list[Event] = []

    def answered() -> bool:
        found[:] = [
            event
            for event in flows.answers(sensor)
            if event["type"] == "http" and event.get("http", {}).get("user_agent") == agent
        ]
        return bool(found)

    wait_for(answered, f"the request of {agent} to be told", 120)
    return found
