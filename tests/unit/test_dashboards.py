"""The dashboards of Grafana: every query names an exported metric, and every exported metric is on a dashboard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import yaml

from parley.common.v1.error_pb2 import ErrorReason
from tests.exported_metrics import bucket_bounds, exported_metrics, exported_series, labels_of
from tests.promql import label_names, metric_names
from tests.promtool import run_promtool
from tests.unit.test_alerts import RUNBOOK, alerts
from tools.dashboards.__main__ import DASHBOARDS, FOLDER, rendered_files, write_dashboards
from tools.dashboards.grafana import COLUMNS
from tools.dashboards.overview import SERVER_FAULTS

# Metrics that are on no dashboard, and why.
NOT_SHOWN: Final[dict[str, str]] = {}
# Prometheus's own metric, and those of the process, which the client library exports.
PROCESS: Final = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}
ENVOY_LABELS: Final = {"envoy_cluster_name", "envoy_http_conn_manager_prefix", "envoy_response_code_class"}
BUCKET: Final = re.compile(r'(\w+)_bucket\{le="([^"]+)"\}')


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each panel with the file of its dashboard."""
    for name in rendered_files():
        for panel in json.loads((FOLDER / name).read_text())["panels"]:
            yield name, panel


def queries() -> list[str]:
    return [target["expr"] for _, panel in panels() for target in panel.get("targets", [])]


def test_written_dashboards_are_those_of_the_code(tmp_path: Path) -> None:
    (tmp_path / "removed.json").touch()
    write_dashboards(tmp_path)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_text() for path in FOLDER.iterdir()}, "run `make dashboards`"


def test_every_query_names_exported_metrics() -> None:
    read = {name for query in queries() for name in metric_names(query)}
    others = {name for name in read - exported_series().keys() if not name.startswith("envoy_")}
    assert others == PROCESS


def test_every_exported_metric_is_on_a_dashboard_or_has_a_reason() -> None:
    series = exported_series()
    shown = {series[name].name for query in queries() for name in metric_names(query) if name in series}
    assert exported_metrics().keys() - shown == NOT_SHOWN.keys()


def test_queries_name_only_labels_of_their_metrics() -> None:
    for query in queries():
        assert label_names(query) <= labels_of(metric_names(query)) | ENVOY_LABELS, query


def test_legends_name_only_labels_that_the_query_keeps() -> None:
    for name, panel in panels():
        for target in panel.get("targets", []):
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            kept = labels_of(metric_names(target["expr"])) | ENVOY_LABELS
            assert legend <= kept, (name, panel["title"])
            if " by (" in target["expr"]:
                assert legend <= label_names(target["expr"]), (name, panel["title"])


def test_queried_buckets_exist() -> None:
    queried = {pair for query in queries() for pair in BUCKET.findall(query)}
    assert ("parley_commit_seconds", "1.0") in queried
    assert all(bound in bucket_bounds(histogram) for histogram, bound in queried)


def test_promtool_understands_every_query(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries())
    ]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run_promtool("check", "rules", file)


def test_overview_begins_with_the_service_levels() -> None:
    assert DASHBOARDS[0].uid == "parley-overview"
    _, panel = next((name, panel) for name, panel in panels() if panel["type"] != "row")
    assert panel["title"].startswith("Send → appended → delivered")
    read = {name for target in panel["targets"] for name in metric_names(target["expr"])}
    assert {"parley_sends_refused_total", "parley_commit_seconds_bucket", "parley_delivery_seconds_bucket"} <= read


def test_alert_counts_the_refusals_of_the_service_level() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name, _ in ErrorReason.items()}
    assert set(SERVER_FAULTS.split("|")) < reasons
    assert alerts()["ParleySendsRefused"]["expr"].count(f'reason=~"{SERVER_FAULTS}"') == 2
    named = re.search(r"^\| send accepted \|.*", RUNBOOK.read_text(), flags=re.MULTILINE)
    assert named
    assert re.findall(r"`(\w+)`", named[0]) == SERVER_FAULTS.split("|")


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    for name in rendered_files():
        content = json.loads((FOLDER / name).read_text())["panels"]
        assert len({panel["id"] for panel in content}) == len(content)
        positions = [panel["gridPos"] for panel in content]
        assert all(each["x"] + each["w"] <= COLUMNS for each in positions)
        assert not any(_overlap(one, other) for one, other in combinations(positions, 2)), name


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    side_by_side = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    stacked = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not (side_by_side or stacked)
