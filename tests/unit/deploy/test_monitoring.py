"""Alerts and dashboard speak of metrics that exist, and say what REQUIREMENTS I2 says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from vasset.gateway import metrics as gateway_metrics
from vasset.telemetry.machine import Machine
from vasset.telemetry.metrics import Metrics

WORDS = {
    "sum", "min", "max", "avg", "rate", "by", "clamp_min", "histogram_quantile", "le", "status", "state", "instance", "job",
    "direction", "in_use", "limit", "vasset", "up",
}  # fmt: skip


@pytest.fixture(scope="module")
def known_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    registry = CollectorRegistry()
    Metrics(registry=registry)
    names = {
        sample for family in [*registry.collect(), *_of_gateway()] for sample in _samples(family.name, family.type)
    }
    return names | {family.name for family in Machine(tmp_path_factory.mktemp("data")).describe()}


def _of_gateway() -> Iterator[Any]:
    for metric in (gateway_metrics.REQUESTS, gateway_metrics.SECONDS, gateway_metrics.SOCKETS):
        yield from metric.collect()


def _samples(name: str, kind: str) -> set[str]:
    return {
        name,
        *(f"{name}_{end}" for end in {"counter": ("total",), "histogram": ("bucket", "sum", "count")}.get(kind, ())),
    }


def names_in(expression: str) -> set[str]:
    without_strings = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expression)
    return set(re.findall(r"[a-z_][a-z_0-9]+", without_strings)) - WORDS


@pytest.fixture(scope="module")
def alerts(deploy: Path) -> dict[str, dict[str, Any]]:
    document = yaml.safe_load((deploy / "prometheus" / "rules.yaml").read_text())
    return {rule["alert"]: rule for group in document["groups"] for rule in group["rules"]}


def test_alerts_speak_of_metrics_that_exist(alerts: dict[str, dict[str, Any]], known_names: set[str]) -> None:
    for name, rule in alerts.items():
        assert names_in(rule["expr"]) <= known_names, name


@pytest.mark.parametrize(
    ("alert", "threshold", "severity"),
    [
        ("ApiErrorRateHigh", "> 0.05", "P1"),
        ("DownloadSuccessLow", "< 0.8", "P2"),
        ("DiskNearlyFull", "> 85", "P2"),
        ("QueueDeep", "> 1000", "P3"),
    ],
)
def test_the_alerts_of_the_requirements(
    alerts: dict[str, dict[str, Any]], alert: str, threshold: str, severity: str
) -> None:
    rule = alerts[alert]
    assert rule["expr"].endswith(threshold)
    assert rule["labels"] == {"severity": severity}


def test_every_alert_says_what_to_do(alerts: dict[str, dict[str, Any]]) -> None:
    for name, rule in alerts.items():
        assert re.fullmatch(r"\d+m", rule["for"]), name
        assert rule["annotations"].keys() == {"summary", "description"}


def test_the_dashboard_speaks_of_metrics_that_exist(deploy: Path, known_names: set[str]) -> None:
    dashboard = json.loads((deploy / "grafana" / "dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(expressions) >= 20
    for expression in expressions:
        assert names_in(expression) <= known_names, expression


def test_panels_do_not_lie_over_each_other(deploy: Path) -> None:
    dashboard = json.loads((deploy / "grafana" / "dashboard.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_prometheus_scrapes_every_role(deploy: Path) -> None:
    document = yaml.safe_load((deploy / "prometheus" / "prometheus.yaml").read_text())
    places = {
        job["dns_sd_configs"][0]["names"][0]: job["dns_sd_configs"][0]["port"] for job in document["scrape_configs"]
    }
    assert places == {"gateway": 8080, "auth": 9101, "parser": 9102, "downloader": 9103, "asset": 9104}
