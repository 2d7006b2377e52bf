"""Every exported metric is documented, documents name only exported ones, and names follow Prometheus's rules."""

from __future__ import annotations

import re
from typing import Final

from prometheus_client import REGISTRY, generate_latest

import chat_service.__main__  # noqa: F401  all that a chat server counts
import media_service.__main__  # noqa: F401  a media server
import notify_service.__main__  # noqa: F401  a notify server
import presence_service.__main__  # noqa: F401  and a presence server
from tests.exported_metrics import ROOT, ExportedMetric, exported_metrics, exported_series
from tests.promtool import run_promtool

PAGES: Final = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").glob("*.md")]
SECTIONS: Final = {
    "Every service": "servicekit",
    "Chat": "chat_service",
    "Media": "media_service",
    "Presence": "presence_service",
    "Push": "notify_service",
}
ROW: Final = re.compile(r"\| `(parley_\w+)` \| (\w+) \|([^|]*)\| ([^|]+) \| [^|]+ \|")
# Units that are not base units: seconds, bytes and ratios are.
WRONG_UNITS: Final = {
    "ms", "milliseconds", "microseconds", "us", "ns", "minutes", "hours", "days", "kib", "mib", "kilobytes", "percent",
}  # fmt: skip


def documented_metrics() -> list[tuple[ExportedMetric, str]]:
    """Return the rows of the tables of docs/metrics.md, each with its unit."""
    found = []
    for section in re.split(r"^## ", (ROOT / "docs" / "metrics.md").read_text(), flags=re.MULTILINE)[1:]:
        package = SECTIONS[section.partition("\n")[0]]
        for name, kind, labels, unit in ROW.findall(section):
            found.append((ExportedMetric(name, kind, tuple(re.findall(r"`(\w+)`", labels)), package), unit))
    return found


def test_declared_metrics_are_those_of_the_registry() -> None:
    exported = {
        (f"{metric.name}_total" if metric.type == "counter" else metric.name, metric.type)
        for metric in REGISTRY.collect()
        if metric.name.startswith("parley_")
    }
    assert {(metric.name, metric.kind) for metric in exported_metrics().values()} == exported


def test_every_exported_metric_is_documented_as_it_is() -> None:
    documented = [metric for metric, _ in documented_metrics()]
    assert sorted(documented, key=str) == sorted(exported_metrics().values(), key=str)


def test_documents_name_only_exported_metrics() -> None:
    named = {(path.name, name) for path in PAGES for name in re.findall(r"`(parley_[a-z0-9_]+)", path.read_text())}
    known = exported_series().keys() | exported_metrics().keys() | {"parley_client", "parley_command"}
    assert ("reliability.md", "parley_ring_members") in named
    assert {(page, name) for page, name in named if name not in known} == set()


def test_metrics_are_named_by_the_rules() -> None:
    for metric in exported_metrics().values():
        words = metric.name.split("_")
        assert re.fullmatch(r"parley(_[a-z0-9]+)+", metric.name)
        assert not WRONG_UNITS.intersection(words), f"{metric.name} is in another unit than the base unit"
        assert not set(metric.labels).intersection(words), f"{metric.name} has a label in its name"
        assert (words[-1] == "total") == (metric.kind == "counter"), f"{metric.name}: only counters end with _total"
        assert not {"counter", "gauge", "histogram", "count", "sum", "bucket"}.intersection(words), metric.name


def test_units_of_time_and_size_are_in_the_names() -> None:
    for metric, unit in documented_metrics():
        for base in ("seconds", "bytes"):
            assert (unit == base) == metric.name.removesuffix("_total").endswith(f"_{base}"), metric.name


def test_promtool_finds_no_fault_with_the_metrics() -> None:
    assert run_promtool("check", "metrics", stdin=generate_latest(REGISTRY).decode()) == ""
