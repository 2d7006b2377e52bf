"""The charts are valid SVG, and points are where their values are."""

import xml.etree.ElementTree as ET

import pytest

from bench.svg_chart import COLOURS, Axis, Line, TooManyLines, draw_chart, surrounding_powers

SVG = "{http://www.w3.org/2000/svg}"


def test_places_on_axes() -> None:
    linear, powers = Axis("", 0, 50), Axis("", 1, 1000, logarithmic=True)
    assert [linear.place(value) for value in (0, 25, 50, 60)] == [0, 0.5, 1, 1]
    assert [powers.place(value) for value in (1, 10, 1000)] == pytest.approx([0, 1 / 3, 1])


def test_ticks_are_steps_or_powers_of_ten() -> None:
    assert Axis("", 0, 50).ticks() == [0, 10, 20, 30, 40, 50]
    assert Axis("", 3, 1000, logarithmic=True).ticks() == [10, 100, 1000]


@pytest.mark.parametrize(
    ("values", "powers"), [([1e4, 5e7], (1e4, 1e8)), ([1e6], (1e6, 1e7)), ([0.3, 7, 2], (0.1, 10)), ([3], (1, 10))]
)
def test_powers_of_ten_surround_the_values_and_differ(values: list[float], powers: tuple[float, float]) -> None:
    assert surrounding_powers(values) == pytest.approx(powers)


def test_chart_has_a_line_and_a_name_for_each_series() -> None:
    lines = [Line("one < two", [(0, 0), (10, 5)]), Line("three", [(0, 5)])]
    root = ET.fromstring(draw_chart("a & b", Axis("x", 0, 10), Axis("y", 0, 5), lines))
    points = [line.get("points") for line in root.iter(f"{SVG}polyline")]
    assert points == ["70.0,330.0 570.0,40.0", "70.0,40.0"]
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"a & b", "one < two", "three", "x", "y"} <= set(texts)


def test_chart_with_too_many_lines_is_refused() -> None:
    lines = [Line(str(number), [(0, 0)]) for number in range(len(COLOURS) + 1)]
    with pytest.raises(TooManyLines, match="at most"):
        draw_chart("", Axis("", 0, 1), Axis("", 0, 1), lines)
