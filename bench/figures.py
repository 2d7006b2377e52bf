"""The figures of a workload, each with one value per repeat, and their arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of the table: the values of all repeats. `more_is_better` is None for a line without a judgement."""

    workload: str
    name: str
    unit: str
    values: tuple[float, ...]
    more_is_better: bool | None = False

    @property
    def mean(self) -> float:
        """The mean of all repeats."""
        return fmean(self.values)

    @property
    def spread(self) -> float:
        """The difference of the highest and the lowest repeat as a fraction of the mean; 0 if the mean is 0."""
        return (max(self.values) - min(self.values)) / self.mean if self.mean else 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The value of a figure in one repeat."""

    name: str
    unit: str
    value: float
    more_is_better: bool | None = False


def combine_repeats(workload: str, repeats: Sequence[Sequence[Sample]]) -> list[Figure]:
    """Return the figures of a workload from the samples of its repeats, which all have the same order."""
    return [
        Figure(workload, first.name, first.unit, tuple(s.value for s in (first, *rest)), first.more_is_better)
        for first, *rest in zip(*repeats, strict=True)
    ]


def cpu_us_per(cpu_seconds: float, count: int) -> float:
    """Return the microseconds of CPU per item; NaN if `count` is 0."""
    return cpu_seconds * 1e6 / count if count else math.nan


def per_cpu_second(count: int, cpu_seconds: float) -> float:
    """Return the items per second of CPU; NaN if less CPU was used than the clock of processes shows."""
    return count / cpu_seconds if cpu_seconds else math.nan


def percentile(values: Sequence[float], quantile: float) -> float:
    """Return the nearest-rank `quantile` (0 to 1) of `values`; NaN if there are none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(quantile * len(values)) - 1)]


def figure_to_json(figure: Figure) -> dict[str, Any]:
    """Return a figure as JSON."""
    return {
        "scene": figure.workload,
        "name": figure.name,
        "unit": figure.unit,
        "values": list(figure.values),
        "more_is_better": figure.more_is_better,
    }


def figure_from_json(fields: Mapping[str, Any]) -> Figure:
    """Return the figure of `figure_to_json`. Raise KeyError, TypeError or ValueError if it is not one."""
    values = tuple(float(value) for value in fields["values"])
    return Figure(fields["scene"], fields["name"], fields["unit"], values, fields["more_is_better"])
