"""The sensitivity of a plan: how cores and price change with each parameter, the most important ones first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from bench.capacity.assumption import Parameter, parameters
from bench.capacity.costs import CostSource, SourcedCosts
from bench.capacity.limits import Limits
from bench.capacity.plan import Plan, make_plan
from bench.capacity.sizing import Infeasible
from bench.capacity.text_table import format_rows
from bench.capacity.usage_model import UsageModel

HALF, TWICE = 0.5, 2.0
SHOWN: Final = 15
Model = Literal["usage", "costs", "limits"]


@dataclass(frozen=True, slots=True)
class Change:
    """The change of the cores and of the price of a month, as fractions, if a parameter becomes `value`.

    Both are infinite if no number of servers is enough then.
    """

    value: float
    cores: float
    price: float


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The changes if a parameter is halved, and if it is doubled, both within its bounds."""

    parameter: Parameter
    source: CostSource
    halved: Change
    doubled: Change

    @property
    def weight(self) -> float:
        """The greatest of the changes."""
        return max(abs(each) for change in (self.halved, self.doubled) for each in (change.cores, change.price))


@dataclass(frozen=True, slots=True)
class PlanInput:
    """The input of a plan."""

    usage: UsageModel
    sourced: SourcedCosts
    limits: Limits

    def make_plan(self) -> Plan:
        """Return the plan."""
        return make_plan(self.usage, self.sourced, self.limits)

    def list_parameters(self) -> Iterator[tuple[Model, Parameter, float]]:
        """Yield the parameters with their models and their present values."""
        models: tuple[tuple[Model, Any], ...] = (
            ("usage", self.usage),
            ("costs", self.sourced.costs),
            ("limits", self.limits),
        )
        for name, model in models:
            for each in parameters(type(model)):
                yield name, each, getattr(model, each.name)

    def with_value(self, model: Model, name: str, value: float) -> PlanInput:
        """Return the input with another value of a parameter."""
        change: dict[str, Any] = {name: value}
        if model == "usage":
            return replace(self, usage=replace(self.usage, **change))
        if model == "limits":
            return replace(self, limits=replace(self.limits, **change))
        return replace(self, sourced=replace(self.sourced, costs=replace(self.sourced.costs, **change)))


def measure_sensitivity(given: PlanInput) -> list[Sensitivity]:
    """Return the sensitivity to each parameter, the greatest first. Raise Infeasible if there is no plan to change."""
    base = given.make_plan()
    found = [
        Sensitivity(
            each,
            given.sourced.source(each.name) if model == "costs" else CostSource.ASSUMED,
            _measure_change(given, base, model, each, value * HALF),
            _measure_change(given, base, model, each, value * TWICE),
        )
        for model, each, value in given.list_parameters()
    ]
    return sorted(found, key=lambda sensitivity: sensitivity.weight, reverse=True)


def _measure_change(given: PlanInput, base: Plan, model: Model, parameter: Parameter, value: float) -> Change:
    bounded = parameter.nearest(value)
    try:
        plan = given.with_value(model, parameter.name, bounded).make_plan()
    except Infeasible:
        return Change(bounded, math.inf, math.inf)
    return Change(bounded, _compare(plan.cores, base.cores), _compare(plan.bill.total, base.bill.total))


def _compare(value: float, base: float) -> float:
    """Return the change from `base` as a fraction; 0 if the base is 0, as a price may be."""
    return value / base - 1 if base else 0.0


def format_sensitivity(found: list[Sensitivity]) -> list[str]:
    """Return the table of the parameters that matter most."""
    rows: list[tuple[str, ...]] = [
        ("parameter", "source", "halved to", "cores", "price", "doubled to", "cores", "price")
    ]
    for each in found[:SHOWN]:
        texts = [text for change in (each.halved, each.doubled) for text in _format_change(change)]
        rows.append((f"  {each.parameter.name}", each.source.value, *texts))
    return format_rows(rows, left={1})


def _format_change(change: Change) -> tuple[str, str, str]:
    if math.isinf(change.cores):
        return f"{change.value:,.10g}", "no plan", "no plan"
    return f"{change.value:,.10g}", f"{change.cores:+.0%}", f"{change.price:+.0%}"
