"""Figures as a table for people, beside those of an earlier commit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from bench.figures import Figure
from bench.results import Result

# Changes within the spread of the repeats are noise.
_HEADINGS = ("", "this run", "lowest … highest", "earlier", "change")


def format_table(result: Result, before: Result | None) -> list[str]:
    """The lines of the table."""
    known = {(each.scene, each.name): each for each in (before.figures if before else ())}
    rows = [(each.scene, _figure_cells(each, known.get((each.scene, each.name)))) for each in result.figures]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *(row for _, row in rows), strict=True)]
    lines = [_join_cells(_HEADINGS, widths)]
    for scene, of_scene in groupby(rows, key=lambda each: each[0]):
        lines += ["", scene, *(_join_cells(row, widths) for _, row in of_scene)]
    return lines


def format_notes(result: Result, before: Result | None) -> list[str]:
    """What a reader must know about the table."""
    lines = [f"commit {result.commit}; {', '.join(f'{name} {what}' for name, what in result.machine.items())}"]
    if before is not None:
        lines.append(_describe_comparison(result, before))
    if result.cores_of_others > MIN_REPORTED_CORES:
        lines.append(f"Other programs used up to {result.cores_of_others:.1f} cores meanwhile: take all as rough.")
    return lines


def _describe_comparison(result: Result, before: Result) -> str:
    same = "this machine" if before.machine.get("CPU") == result.machine.get("CPU") else "ANOTHER KIND OF MACHINE"
    slower = result.pace / before.pace - 1
    return (
        f"earlier: commit {before.commit}, on {same}; then the same little work took {abs(slower):.0%} "
        f"{'less' if slower > 0 else 'more'} CPU; `~` marks changes within the spread of the repeats"
    )


MIN_REPORTED_CORES = 0.2
"""What others may use before it is worth a sentence; Linux itself takes some of it."""


def _figure_cells(figure: Figure, before: Figure | None) -> tuple[str, ...]:
    lowest, highest = format_number(min(figure.values)), format_number(max(figure.values))
    spread = lowest if lowest == highest else f"{lowest} … {highest}"
    earlier, change = (format_number(before.mean), _change(figure, before)) if before else ("", "")
    return (f"  {figure.name}", f"{format_number(figure.mean)} {figure.unit}", spread, earlier, change)


def _change(figure: Figure, before: Figure) -> str:
    if figure.more_is_better is None or not before.mean or math.isnan(figure.mean / before.mean):
        return ""
    change = figure.mean / before.mean - 1
    if abs(change) <= max(figure.spread, before.spread):
        return f"~ {change:+.1%}"
    return f"{change:+.1%} {'better' if (change > 0) == figure.more_is_better else 'WORSE'}"


def format_number(value: float) -> str:
    """Three figures or more, with commas between thousands."""
    if math.isnan(value):
        return "none"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def _join_cells(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.ljust(width) if not index else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join((first, *rest)).rstrip()
