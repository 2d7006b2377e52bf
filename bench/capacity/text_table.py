"""The layout of tables in plain text."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def format_rows(rows: Sequence[Sequence[str]], left: Collection[int] = ()) -> list[str]:
    """Return the rows as lines. The first column and those in `left` are aligned to the left, others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_join(row, widths, left) for row in rows]


def _join(row: Sequence[str], widths: Sequence[int], left: Collection[int]) -> str:
    cells = [
        cell.ljust(width) if index == 0 or index in left else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
