"""Every alert fires in a situation in which it should, does not in others, and has its section in the runbook."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.alert_cases.case import AlertCase, Series
from tests.alert_cases.platform import PLATFORM_CASES
from tests.alert_cases.services import SERVICE_CASES
from tests.exported_metrics import PACKAGES, ROOT, exported_series, labels_of
from tests.promql import label_names, metric_names
from tests.promtool import run_promtool

CASES: Final = {**PLATFORM_CASES, **SERVICE_CASES}
RULES: Final = ROOT / "k8s" / "monitoring" / "alerts.yaml"
RUNBOOK: Final = ROOT / "docs" / "runbook.md"
# Prometheus's own metric, and those of Envoy.
OTHERS: Final = {"up", "envoy_cluster_membership_healthy"}
OTHER_LABELS: Final = {"envoy_cluster_name"}
LAST_MINUTE: Final = 59


@cache
def alerts() -> dict[str, dict[str, Any]]:
    """Return the rules by the name of the alert."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_every_alert_is_tried_both_ways() -> None:
    assert CASES.keys() == alerts().keys()
    assert len(CASES) >= 12
    assert all(case.fires and case.quiet for case in CASES.values())


def test_every_alert_has_severity_summary_and_runbook() -> None:
    for name, rule in alerts().items():
        assert rule["labels"].keys() == {"severity"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "runbook"}
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"


def test_runbook_has_a_section_for_each_alert_and_no_other() -> None:
    sections = re.split(r"^### ", RUNBOOK.read_text(), flags=re.MULTILINE)[1:]
    assert [section.partition("\n")[0] for section in sections] == list(alerts())
    for section in sections:
        assert re.findall(r"^- \*\*(\w+\.)\*\*", section, flags=re.MULTILINE) == ["Means.", "Look.", "Do."], section


def test_runbook_names_only_log_events_that_exist() -> None:
    text = " ".join(RUNBOOK.read_text().split())
    events = {name for pair in re.findall(r"log events? `([^`]+)`(?: and `([^`]+)`)?", text) for name in pair if name}
    sources = "".join(path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    assert "ring changed" in events
    assert {event for event in events if f'"{event}"' not in sources} == set()


def test_alerts_read_only_exported_metrics() -> None:
    read = {name for rule in alerts().values() for name in metric_names(rule["expr"])}
    assert read - exported_series().keys() == OTHERS


def test_alerts_name_only_labels_of_the_metrics_they_read() -> None:
    for name, rule in alerts().items():
        known = labels_of(metric_names(rule["expr"])) | OTHER_LABELS
        assert label_names(rule["expr"]) <= known, name


def test_alerts_fire_when_they_should_and_not_otherwise(tmp_path: Path) -> None:
    run_promtool("check", "rules", RULES)
    run_promtool("test", "rules", *[_write_tests(name, case, tmp_path) for name, case in CASES.items()])


def test_prometheus_accepts_the_configuration_and_names_jobs_by_service(tmp_path: Path) -> None:
    config = yaml.safe_load(RULES.with_name("prometheus.yaml").read_text())
    (scrape,) = config["scrape_configs"]
    # Debian's promtool is built without the discovery of Kubernetes.
    scrape.pop("kubernetes_sd_configs")
    (tmp_path / RULES.name).write_text(RULES.read_text())
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(config))
    assert f"{len(CASES)} rules found" in run_promtool("check", "config", tmp_path / "prometheus.yaml")
    kept = next(rule["regex"] for rule in scrape["relabel_configs"] if rule.get("action") == "keep")
    services = kept.removeprefix("(").removesuffix(");metrics")
    absent = " or ".join(f'absent(up{{job="{service}"}})' for service in services.split("|"))
    assert alerts()["ParleyServerDown"]["expr"] == f'up{{job=~"{services}"}} == 0 or {absent}'
    labels = {rule.get("target_label"): rule["source_labels"] for rule in scrape["relabel_configs"]}
    assert labels["job"] == ["__meta_kubernetes_pod_label_app_kubernetes_io_name"]
    assert labels["instance"] == ["__meta_kubernetes_pod_name"]
    # A target label of the same name would rename these labels of the metrics.
    assert not labels.keys() & {label for metric in exported_series().values() for label in metric.labels}


def test_promtool_notices_an_alert_that_does_not_fire(tmp_path: Path) -> None:
    case = CASES["ParleyS3Down"]
    wrong = AlertCase(fires=case.quiet[0], quiet=(), labels=case.labels)
    with pytest.raises(AssertionError, match="FAILED"):
        run_promtool("test", "rules", _write_tests("ParleyS3Down", wrong, tmp_path))


def _write_tests(name: str, case: AlertCase, folder: Path) -> Path:
    """Write the tests of an alert for promtool, with a file of its rule alone: all rules would take 10 s."""
    rules, tests = folder / f"{name}.rules.yaml", folder / f"{name}.yaml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": name, "rules": [alerts()[name]]}]}))
    content = {"rule_files": [rules.name], "evaluation_interval": "1m", "tests": list(_tests_of(name, case))}
    tests.write_text(yaml.safe_dump(content))
    return tests


def _tests_of(name: str, case: AlertCase) -> Iterator[dict[str, Any]]:
    rule = alerts()[name]
    fired = {"exp_labels": {**case.labels, **rule["labels"]}, "exp_annotations": rule["annotations"]}
    silent = [*range(case.earliest), *([] if case.over is None else [case.over])]
    yield _test(case.fires, [(name, case.minute, [fired]), *((name, minute, []) for minute in silent)])
    for series, labels in case.fires_too:
        also_fired = {"exp_labels": {**labels, **rule["labels"]}, "exp_annotations": rule["annotations"]}
        yield _test(series, [(name, case.minute, [also_fired])])
    for series in case.quiet:
        yield _test(series, [(name, minute, []) for minute in range(LAST_MINUTE + 1)])


def _test(series: Series, expected: list[tuple[str, int, list[dict[str, Any]]]]) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"alertname": name, "eval_time": f"{minute}m", "exp_alerts": fired} for name, minute, fired in expected
        ],
    }
