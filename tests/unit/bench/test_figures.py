"""The arithmetic of benchmark figures."""

import math

import pytest

from bench.figures import (
    Figure,
    Sample,
    combine_repeats,
    cpu_us_per,
    figure_from_json,
    figure_to_json,
    per_cpu_second,
    percentile,
)


def test_cpu_per_message_is_in_microseconds() -> None:
    assert cpu_us_per(1.5, 10_000) == pytest.approx(150.0)


def test_items_per_second_of_cpu() -> None:
    assert per_cpu_second(500, 2.0) == pytest.approx(250.0)
    assert math.isnan(per_cpu_second(500, 0.0))


def test_cost_of_zero_messages_is_nan() -> None:
    assert math.isnan(cpu_us_per(1.0, 0))


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 50), (0.505, 51), (0.99, 99), (0.991, 100), (1.0, 100)])
def test_percentiles_are_observed_values(share: float, value: int) -> None:
    assert percentile([*range(100, 0, -1)], share) == value


def test_percentile_of_one_value_is_that_value() -> None:
    assert [percentile([7], share) for share in (0.0, 0.5, 0.99)] == [7, 7, 7]


def test_percentile_of_no_values_is_nan() -> None:
    assert math.isnan(percentile([], 0.5))


def test_repeats_are_merged_line_by_line() -> None:
    first = [Sample("messages", "/s", 100.0, more_is_better=True), Sample("CPU", "µs", 10.0)]
    second = [Sample("messages", "/s", 120.0, more_is_better=True), Sample("CPU", "µs", 14.0)]
    assert combine_repeats("chat", [first, second]) == [
        Figure("chat", "messages", "/s", (100.0, 120.0), more_is_better=True),
        Figure("chat", "CPU", "µs", (10.0, 14.0), more_is_better=False),
    ]


def test_repeats_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        combine_repeats("chat", [[Sample("a", "", 1.0), Sample("b", "", 1.0)], [Sample("a", "", 1.0)]])


def test_spread_is_relative_to_the_mean() -> None:
    assert Figure("chat", "messages", "/s", (90.0, 110.0)).spread == pytest.approx(0.2)
    assert Figure("chat", "receipts", "", (0.0, 0.0)).spread == 0.0


def test_figure_round_trips_through_json() -> None:
    figure = Figure("chat", "messages", "/s", (1.0, 2.0), more_is_better=None)
    assert figure_from_json(figure_to_json(figure)) == figure
