"""The table of a result's figures, compared with the result of an earlier commit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from bench.figures import Figure
from bench.results import Result

_HEADINGS = ("", "this run", "lowest … highest", "earlier", "change")


def format_table(result: Result, before: Result | None) -> list[str]:
    """Return the lines of the table; `before` is the result to compare with, if any."""
    earlier = {(figure.workload, figure.name): figure for figure in (before.figures if before else ())}
    rows = [(f.workload, _figure_cells(f, earlier.get((f.workload, f.name)))) for f in result.figures]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *(row for _, row in rows), strict=True)]
    lines = [_join_cells(_HEADINGS, widths)]
    for workload, group in groupby(rows, key=lambda row: row[0]):
        lines += ["", workload, *(_join_cells(row, widths) for _, row in group)]
    return lines


def format_notes(result: Result, before: Result | None) -> list[str]:
    """Return the notes below the table: the commit, the machine, the comparison, and interference by other programs."""
    lines = [f"commit {result.commit}; {', '.join(f'{name} {value}' for name, value in result.machine.items())}"]
    if before is not None:
        lines.append(_describe_comparison(result, before))
    if result.cores_of_others > MIN_REPORTED_CORES:
        lines.append(
            f"Other programs used up to {result.cores_of_others:.1f} cores during the run: the figures are approximate."
        )
    return lines


def _describe_comparison(result: Result, before: Result) -> str:
    same = "this machine" if before.machine.get("CPU") == result.machine.get("CPU") else "ANOTHER KIND OF MACHINE"
    slower = result.pace / before.pace - 1
    return (
        f"earlier: commit {before.commit}, on {same}; the reference loop took {abs(slower):.0%} "
        f"{'less' if slower > 0 else 'more'} CPU then; `~` marks changes within the spread of the repeats"
    )


MIN_REPORTED_CORES = 0.2
"""The cores that other programs may use before a note reports it; the kernel's own threads use some of them."""


def _figure_cells(figure: Figure, before: Figure | None) -> tuple[str, ...]:
    lowest, highest = format_number(min(figure.values)), format_number(max(figure.values))
    spread = lowest if lowest == highest else f"{lowest} … {highest}"
    earlier, change = (format_number(before.mean), _change(figure, before)) if before else ("", "")
    return (f"  {figure.name}", f"{format_number(figure.mean)} {figure.unit}", spread, earlier, change)


def _change(figure: Figure, before: Figure) -> str:
    """Return the change of the mean in percent, with a judgement unless it is noise within the spread."""
    if figure.more_is_better is None or not before.mean or math.isnan(figure.mean / before.mean):
        return ""
    change = figure.mean / before.mean - 1
    if abs(change) <= max(figure.spread, before.spread):
        return f"~ {change:+.1%}"
    return f"{change:+.1%} {'better' if (change > 0) == figure.more_is_better else 'WORSE'}"


def format_number(value: float) -> str:
    """Return `value` with at least three significant digits and thousands separators; `none` for NaN."""
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
