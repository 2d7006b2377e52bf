"""What a profile says, for people."""

from __future__ import annotations

from pathlib import Path
from pstats import Stats

ProfileRow = tuple[str, int, float, float]
"""A function, its calls, and the seconds in itself and with what it called."""


def hottest_functions(file: Path, count: int) -> list[ProfileRow]:
    """The functions in which most time was spent themselves, waiting for the network left out."""
    stats = Stats(str(file)).stats  # type: ignore[attr-defined]
    rows = [(_function_name(*where), calls, own, whole) for where, (_, calls, own, whole, _) in stats.items()]
    # The event loop waits in its own name.
    busy = [row for row in rows if "asyncio/runners.py" not in row[0]]
    return sorted(busy, key=lambda row: row[2], reverse=True)[:count]


def format_profile(rows: list[ProfileRow]) -> list[str]:
    """The rows for people; profiling makes short functions look dearer than they are."""
    lines = [f"{own:7.2f} s  {whole:7.2f} s  {calls:>10,}  {name}" for name, calls, own, whole in rows]
    return [f"{'itself':>9}  {'in all':>9}  {'calls':>10}  function", *lines]


def _function_name(file: str, line: int, function: str) -> str:
    if file == "~":
        return function
    return f"{'/'.join(Path(file).parts[-2:])}:{line} {function}"
