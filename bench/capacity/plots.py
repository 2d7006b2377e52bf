"""The plot of the capacity model."""

from __future__ import annotations

from collections.abc import Sequence

from bench.capacity.plan import Plan
from bench.svg_chart import Axis, Line, draw_chart, surrounding_powers


def draw_cores(plans: Sequence[Plan]) -> str:
    """Return the plot of the cores of each kind of server by the daily users of the plans."""
    ordered = sorted(plans, key=lambda plan: plan.usage.daily_users)
    lines = [
        Line(kind, [(plan.usage.daily_users, plan.groups[kind].all_cores) for plan in ordered])
        for kind in ordered[0].groups
    ]
    x = Axis("daily users", *surrounding_powers([plan.usage.daily_users for plan in plans]), logarithmic=True)
    y = Axis("", *surrounding_powers([cores for line in lines for _, cores in line.points]), logarithmic=True)
    return draw_chart("Cores of each kind of server", x, y, lines)
