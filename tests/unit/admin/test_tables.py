"""Values and tables for a terminal show what they stand for, and cut off nothing."""

from __future__ import annotations

import pytest

from parley_command.admin.tables import align, format_bytes, format_seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (12.3, "12 s"),
        (59.6, "1 min 0 s"),
        (185, "3 min 5 s"),
        (7640, "2 h 7 min"),
        (4 * 86400 + 3 * 3600 + 59, "4 d 3 h"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (3482, "3.4 KiB"), (1258291, "1.2 MiB")])
def test_bytes_have_a_unit(count: int, text: str) -> None:
    assert format_bytes(count) == text


def test_columns_are_aligned_and_ids_complete() -> None:
    assert align(("id", "n"), [("a" * 40, "1"), ("b", "20")]) == [f"id{' ' * 40}n", f"{'a' * 40}  1", f"b{' ' * 41}20"]


def test_text_of_others_cannot_forge_the_screen() -> None:
    assert align(("id",), [("a\x1b[2J\nb",)]) == ["id", "a[2J b"]
