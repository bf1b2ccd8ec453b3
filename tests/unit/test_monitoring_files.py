"""Files of Prometheus and Grafana: their metrics, services and pages exist.

That the exporter shows the other metrics is `test_what_prometheus_is_to_read_is_there` in tests/acceptance.
"""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any, Final

import pytest
import yaml

from tests.support.compose import compose_file, environment
from tests.support.documents import anchors, fault_of, read
from tests.support.monitoring import alerts, dashboard, expressions, metrics_of_workers, metrics_used

SERVICES: Final = compose_file()["services"]
PROMETHEUS: Final = yaml.safe_load(read("deploy/prometheus/prometheus.yml"))
DATASOURCES: Final = yaml.safe_load(read("deploy/grafana/provisioning/datasources/prometheus.yml"))
every_alert = pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
every_panel = pytest.mark.parametrize("panel", dashboard()["panels"], ids=lambda panel: panel["title"])


@every_alert
def test_an_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    """Every alert has a severity, a summary, a description, and a runbook that exists."""
    assert alert["labels"]["severity"] in ("critical", "warning")
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook"}
    page, _, anchor = notes["runbook"].partition("#")
    assert anchor == alert["alert"].lower()
    assert anchor in anchors(read(page))


@every_alert
def test_what_an_alert_tells_to_type_can_be_typed(alert: dict[str, Any]) -> None:
    """Every command in an alert can be typed, with a label's value in place of its name."""
    for line in re.findall(r"`(threadsync [^`]+)`", alert["annotations"]["description"]):
        assert fault_of(re.sub(r"\{\{.*?\}\}", "blocked", line)) is None


def test_every_alert_has_a_name_of_its_own() -> None:
    """Every alert has its own name, and the page has exactly their headings."""
    names = [alert["alert"] for alert in alerts()]
    assert len(names) == len(set(names))
    page = read("docs/operate/alerts.md")
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == names


def test_what_workers_count_is_spelled_as_they_spell_it() -> None:
    """Every counter and histogram in use is one that workers count, spelled with its suffix."""
    counted = {name for name in metrics_used() if name.endswith(("_total", "_bucket"))}
    assert counted
    assert counted <= metrics_of_workers()


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_an_expression_is_whole(expression: str) -> None:
    """Brackets and quotes of an expression close (no parser of PromQL can be installed here)."""
    bare = re.sub(r'"[^"]*"', "", expression)
    assert '"' not in bare
    for left, right in ("()", "[]", "{}"):
        assert bare.count(left) == bare.count(right)


def test_prometheus_reads_services_that_show_something() -> None:
    """Prometheus scrapes the services and ports of the compose file that show metrics."""
    jobs = {job["job_name"]: job for job in PROMETHEUS["scrape_configs"]}
    [target] = jobs["threadsync"]["static_configs"][0]["targets"]
    name, _, port = target.partition(":")
    command = SERVICES[name]["command"]
    assert command[command.index("--port") + 1] == port
    assert environment(SERVICES[name])["METRICS_HOST"] == "0.0.0.0"
    assert "ports" not in SERVICES[name]
    [found] = jobs["threadsync-workers"]["dns_sd_configs"]
    for name in found["names"]:
        env = environment(SERVICES[name])
        assert (env["METRICS_HOST"], env["METRICS_PORT"]) == ("0.0.0.0", str(found["port"]))
        assert set(SERVICES[name]["networks"]) & set(SERVICES["prometheus"]["networks"])
    assert {name for name, service in SERVICES.items() if "METRICS_PORT" in environment(service)} == set(
        found["names"]
    )


def test_files_are_where_they_are_looked_for() -> None:
    """Rules, datasources and dashboards lie where Prometheus and Grafana look for them."""
    assert PROMETHEUS["rule_files"] == ["alerts.yml"]
    assert "./deploy/prometheus:/etc/prometheus:ro" in SERVICES["prometheus"]["volumes"]
    assert "--config.file=/etc/prometheus/prometheus.yml" in SERVICES["prometheus"]["command"]
    [provider] = yaml.safe_load(read("deploy/grafana/provisioning/dashboards/threadsync.yml"))["providers"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]
    [source] = DATASOURCES["datasources"]
    assert source["url"] == "http://prometheus:9090"


def test_the_dashboard_has_its_rows() -> None:
    """The dashboard has its rows and a fixed address."""
    board = dashboard()
    assert board["uid"] == "threadsync"
    rows = [panel["title"] for panel in board["panels"] if panel["type"] == "row"]
    assert rows == ["Commands", "Queues", "Syncs & Jira", "Health"]
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers))


@every_panel
def test_a_panel_asks_the_datasource_that_is_there(panel: dict[str, Any]) -> None:
    """Every panel asks the provisioned datasource, and has a unit."""
    if panel["type"] == "row":
        return
    [source] = DATASOURCES["datasources"]
    assert panel["targets"]
    assert {target["datasource"]["uid"] for target in panel["targets"]} == {source["uid"]}
    assert panel["fieldConfig"]["defaults"]["unit"]


def test_no_panel_lies_upon_another() -> None:
    """No two panels overlap, because Grafana would move one of them."""

    def squares(panel: dict[str, Any]) -> set[tuple[int, int]]:
        at = panel["gridPos"]
        across, down = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
        assert at["x"] + at["w"] <= 24
        return {(x, y) for x in across for y in down}

    for one, other in combinations(dashboard()["panels"], 2):
        assert not squares(one) & squares(other), (one["title"], other["title"])
