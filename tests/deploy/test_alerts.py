"""Alerts and the dashboard: each alert fires when it should, and all metrics in them exist."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from deploy.chart import ROOT, tool
from test_docs import metrics

ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
DASHBOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
UNIT_TESTS = Path(__file__).parent / "alerts_test.yaml"
SERIES = re.compile(r"\bvermilion_\w+")


def names() -> list[str]:
    """Every alert."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"]]


def exposed() -> set[str]:
    """The names of the series that the services show."""
    found = set()
    for family in metrics():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        found |= {family.name + suffix for suffix in suffixes}
    return found


def test_each_alert_fires_when_it_should_and_not_else() -> None:
    promtool = tool("promtool", "apt-get install prometheus")
    done = subprocess.run(
        [promtool, "test", "rules", UNIT_TESTS], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tests = yaml.safe_load(UNIT_TESTS.read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert fired == set(names())


def test_every_metric_in_an_alert_exists() -> None:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    used = {name for group in groups for rule in group["rules"] for name in SERIES.findall(rule["expr"])}
    assert used
    assert used - exposed() == set()


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda path: path.stem)
def test_every_metric_in_a_dashboard_exists(file: Path) -> None:
    dashboard = json.loads(file.read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert all(panel["title"] and panel["description"] for panel in panels)
    variables = [variable["query"] for variable in dashboard["templating"]["list"]]
    used = set(SERIES.findall(json.dumps([expressions, variables])))
    assert used - exposed() == set()
    # Flow, lag, loss, errors and the knowledge's age are what people look for.
    assert {
        "vermilion_events_total", "vermilion_consumer_lag", "vermilion_capture_drops_total",
        "vermilion_dlq_total", "vermilion_db_age_seconds",
    } <= used  # fmt: skip


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_lists_the_namespaces_of_sensors_and_of_services(file: Path) -> None:
    variables = {each["name"]: each for each in json.loads(file.read_text())["templating"]["list"]}
    query = variables["namespace"]["query"]["query"]
    assert query == variables["namespace"]["definition"]
    # Sensors may be alone in theirs, and capture has no vermilion_build_info.
    assert set(SERIES.findall(query)) == {"vermilion_build_info", "vermilion_capture_packets_total"}


def test_there_is_a_dashboard() -> None:
    assert DASHBOARDS


def test_operations_say_what_to_do_about_each_alert() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    assert [name for name in names() if f"**`{name}`**" not in page] == []
