"""The report of a CPU profile."""

from __future__ import annotations

from pathlib import Path
from pstats import Stats

ProfileRow = tuple[str, int, float, float]
"""A function, its calls, and the seconds in the function itself and including its callees."""


def hottest_functions(file: Path, count: int) -> list[ProfileRow]:
    """Return the `count` functions with the most time in themselves, without the time spent waiting for I/O."""
    stats = Stats(str(file)).stats  # type: ignore[attr-defined]
    rows = [(_function_name(*key), calls, own, total) for key, (_, calls, own, total, _) in stats.items()]
    # The profile attributes the time of waiting for I/O to the event loop's runner.
    busy = [row for row in rows if "asyncio/runners.py" not in row[0]]
    return sorted(busy, key=lambda row: row[2], reverse=True)[:count]


def format_profile(rows: list[ProfileRow]) -> list[str]:
    """Return the rows as lines of a table. Profiling overhead overstates the cost of short functions."""
    lines = [f"{own:7.2f} s  {total:7.2f} s  {calls:>10,}  {name}" for name, calls, own, total in rows]
    return [f"{'itself':>9}  {'in all':>9}  {'calls':>10}  function", *lines]


def _function_name(file: str, line: int, function: str) -> str:
    if file == "~":
        return function
    return f"{'/'.join(Path(file).parts[-2:])}:{line} {function}"
