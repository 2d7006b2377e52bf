"""The printed table and its comparison with an earlier commit."""

from dataclasses import replace

import pytest

from bench.figures import Figure
from bench.results import Result
from bench.sizes import QUICK
from bench.table import format_notes, format_number, format_table

MACHINE = {"CPU": "a fast one", "cores": "2"}


def result(*figures: Figure, commit: str = "abc1234") -> Result:
    return Result(commit, 1.0, MACHINE, QUICK, 0.0, 20.0, figures)


def messages(*values: float) -> Figure:
    return Figure("chat", "messages", "/s", values, more_is_better=True)


def cpu(*values: float) -> Figure:
    return Figure("chat", "CPU", "µs/message", values, more_is_better=False)


def change(now: Figure, before: Figure) -> str:
    return format_table(result(now), result(before))[-1].rpartition("  ")[2]


def test_table_is_aligned_and_grouped_by_scene() -> None:
    now = result(messages(3100.0, 3300.0), cpu(95.0, 95.0), replace(cpu(3.0, 3.5), workload="group"))
    before = result(messages(2500.0, 2600.0), cpu(100.0, 100.0))
    assert format_table(now, before) == [
        "                   this run  lowest … highest  earlier         change",
        "",
        "chat",
        "  messages         3,200 /s     3,100 … 3,300    2,550  +25.5% better",
        "  CPU       95.0 µs/message              95.0      100   -5.0% better",
        "",
        "group",
        "  CPU       3.25 µs/message       3.00 … 3.50",
    ]


@pytest.mark.parametrize(
    ("now", "before", "told"),
    [
        (messages(200.0), messages(100.0), "+100.0% better"),
        (messages(100.0), messages(200.0), "-50.0% WORSE"),
        (cpu(200.0), cpu(100.0), "+100.0% WORSE"),
        (cpu(100.0), cpu(200.0), "-50.0% better"),
        (messages(95.0, 105.0), messages(98.0), "~ +2.0%"),
        (messages(98.0), messages(95.0, 105.0), "~ -2.0%"),
    ],
)
def test_change_is_better_worse_or_noise(now: Figure, before: Figure, told: str) -> None:
    assert change(now, before) == told


@pytest.mark.parametrize("before", [messages(0.0), replace(messages(5.0), name="another")])
def test_incomparable_figures_show_no_change(before: Figure) -> None:
    assert "%" not in format_table(result(messages(1.0)), result(before))[-1]


def test_informational_line_shows_no_change() -> None:
    information = replace(cpu(100.0), more_is_better=None)
    assert "%" not in format_table(result(information), result(information))[-1]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00"), (2.345, "2.35"), (12.34, "12.3"), (1234.5, "1,234"), (float("nan"), "none")],
)
def test_numbers_have_three_significant_digits(value: float, text: str) -> None:
    assert format_number(value) == text


def test_notes_report_busy_and_different_machine() -> None:
    now = replace(result(messages(1.0)), cores_of_others=1.4)
    before = replace(result(commit="def5678"), machine={"CPU": "a slow one"}, pace=25.0)
    told = "\n".join(format_notes(now, before))
    assert "commit abc1234; CPU a fast one, cores 2" in told
    assert "earlier: commit def5678, on ANOTHER KIND OF MACHINE; the reference loop took 20% more CPU then" in told
    assert "Other programs used up to 1.4 cores" in told


def test_idle_machine_needs_no_note() -> None:
    assert len(format_notes(result(messages(1.0)), None)) == 1
