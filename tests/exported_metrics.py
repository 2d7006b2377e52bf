"""The metrics that the code exports, as its sources declare them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = ("servicekit", "chat_service", "media_service", "presence_service", "notify_service")
KINDS: Final = ("Counter", "Gauge", "Histogram")


@dataclass(frozen=True, slots=True)
class ExportedMetric:
    """A metric by the name that Prometheus scrapes; that of a counter ends with _total."""

    name: str
    kind: str
    labels: tuple[str, ...]
    package: str

    @property
    def series(self) -> tuple[str, ...]:
        """The names that queries use."""
        if self.kind == "histogram":
            return f"{self.name}_bucket", f"{self.name}_count", f"{self.name}_sum"
        return (self.name,)


@cache
def exported_metrics() -> dict[str, ExportedMetric]:
    """Return the metrics of all services by name."""
    found = [metric for package in PACKAGES for metric in _declared_in(package)]
    by_name = {metric.name: metric for metric in found}
    assert len(by_name) == len(found), "a metric is declared twice"
    return by_name


def exported_series() -> dict[str, ExportedMetric]:
    """Return the metrics by the names that queries use."""
    return {series: metric for metric in exported_metrics().values() for series in metric.series}


def labels_of(series: set[str]) -> set[str]:
    """Return the labels that queries of these series may name: their own, and those of their targets."""
    known = exported_series()
    return {"job", "instance", "le"}.union(*(known[name].labels for name in series if name in known))


def bucket_bounds(histogram: str) -> set[str]:
    """Return the bounds of the buckets of a histogram, as Prometheus scrapes them."""
    declaration = next(
        ast.parse(text)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if f'"{histogram}",' in (text := path.read_text())
    )
    for node in ast.walk(declaration):
        if isinstance(node, ast.Call) and _is_declaration(node) and ast.literal_eval(node.args[0]) == histogram:
            buckets = next(keyword.value for keyword in node.keywords if keyword.arg == "buckets")
            return {str(float(bound)) for bound in ast.literal_eval(buckets)} | {"+Inf"}
    raise AssertionError(f"{histogram} declares no buckets")


def _declared_in(package: str) -> Iterator[ExportedMetric]:
    for path in sorted((ROOT / package).rglob("*.py")):
        text = path.read_text()
        if "prometheus_client" in text:
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call) and _is_declaration(node):
                    yield _read_declaration(node, package)


def _is_declaration(call: ast.Call) -> bool:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in KINDS and bool(call.args) and isinstance(call.args[0], ast.Constant)


def _read_declaration(call: ast.Call, package: str) -> ExportedMetric:
    name, *others = [ast.literal_eval(argument) for argument in call.args]
    kind = (call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)).lower()
    labels = tuple(others[1]) if len(others) > 1 else ()
    return ExportedMetric(f"{name}_total" if kind == "counter" else name, kind, labels, package)
