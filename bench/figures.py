"""What a scene yields: figures, each with one value a repeat, and the arithmetic behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `more_is_better` None: the line is there for information."""

    scene: str
    name: str
    unit: str
    values: tuple[float, ...]
    more_is_better: bool | None = False

    @property
    def mean(self) -> float:
        """Of all repeats."""
        return fmean(self.values)

    @property
    def spread(self) -> float:
        """Between the lowest and the highest repeat, as a share of the mean; 0 when that is 0."""
        return (max(self.values) - min(self.values)) / self.mean if self.mean else 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A figure of one repeat, still alone."""

    name: str
    unit: str
    value: float
    more_is_better: bool | None = False


def combine_repeats(scene: str, repeats: Sequence[Sequence[Sample]]) -> list[Figure]:
    """The figures of a scene, from the same lines of every repeat."""
    return [
        Figure(scene, first.name, first.unit, tuple(line.value for line in (first, *rest)), first.more_is_better)
        for first, *rest in zip(*repeats, strict=True)
    ]


def cpu_us_per(cpu_seconds: float, count: int) -> float:
    """Microseconds of CPU for one of `pieces`; not a number when there were none."""
    return cpu_seconds * 1e6 / count if count else math.nan


def percentile(values: Sequence[float], quantile: float) -> float:
    """The smallest of `values` that so large a share of them (0 to 1) does not exceed. NaN when there are none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(quantile * len(values)) - 1)]


def figure_to_json(figure: Figure) -> dict[str, Any]:
    """A figure as it is kept."""
    return {
        "scene": figure.scene,
        "name": figure.name,
        "unit": figure.unit,
        "values": list(figure.values),
        "more_is_better": figure.more_is_better,
    }


def figure_from_json(fields: Mapping[str, Any]) -> Figure:
    """A figure that was kept."""
    values = tuple(float(each) for each in fields["values"])
    return Figure(fields["scene"], fields["name"], fields["unit"], values, fields["more_is_better"])
