"""The files for Prometheus and Grafana as the tests read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import yaml
from prometheus_client.metrics import MetricWrapperBase

from tests.support.documents import read
from worker.observe.metrics import Counters

_NAME: Final = re.compile(r"\bthreadsync_\w+")
_PARTS: Final = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}


def alerts() -> list[dict[str, Any]]:
    """All rules."""
    groups = yaml.safe_load(read("deploy/prometheus/alerts.yml"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """The one that is shipped."""
    parsed: dict[str, Any] = json.loads(read("deploy/grafana/dashboards/threadsync.json"))
    return parsed


def expressions() -> Iterator[str]:
    """Return the PromQL expressions of the alerts and the dashboard."""
    yield from (rule["expr"] for rule in alerts())
    yield from (target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", []))


def metrics_used() -> set[str]:
    """Names of ours in them."""
    return {name for expression in expressions() for name in _NAME.findall(expression)}


def metrics_of_workers() -> set[str]:
    """Names that a worker shows once it has counted something."""
    found = set()
    for metric in vars(Counters()).values():
        assert isinstance(metric, MetricWrapperBase)
        [family] = metric.describe()
        found |= {f"{family.name}{part}" for part in _PARTS[family.type]}
    return found
