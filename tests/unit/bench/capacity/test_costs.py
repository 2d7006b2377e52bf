"""The costs of the model: which come from a result of the benchmark, and what is said of each."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.capacity.assumption import OutOfBounds, parameters
from bench.capacity.costs import Costs, CostSource, choose_costs
from bench.capacity.measured_costs import MEASURED, RECORDED, measure_costs, measured_receipts, newest_result
from bench.figures import Figure
from bench.results import Result, read_result, write_result
from bench.sizes import QUICK, TINY
from devstack.errors import SetupError

PRESENCE = "presence of 1000 users, a change every 10 s each, 20 watchers"
FIGURES = [
    Figure("durable 1-1, 50 pairs, window 4, receipts included", "chat CPU", "µs/message", (400.0, 500.0)),
    Figure("durable 1-1, 50 pairs, window 4, receipts included", "receipts per message", "", (0.5, 0.3), None),
    Figure("group of 100, 50 messages/s, without receipts", "chat CPU", "µs/delivery", (80.0,)),
    Figure("JPEG pictures of 12 megapixels and 5.0 MB, one at a time", "worker CPU", "ms/picture", (240.0,)),
    Figure(PRESENCE, "deliveries", "/s", (2000.0,), None),
    Figure(PRESENCE, "heartbeats", "/s", (125.0,), None),
    Figure(PRESENCE, "chat CPU with heartbeats", "µs/delivery", (60.0,)),
    Figure(PRESENCE, "chat CPU beyond heartbeats", "µs/delivery", (55.0,)),
    Figure(PRESENCE, "envoy CPU beyond heartbeats", "µs/delivery", (float("nan"),)),
]
RESULT = Result("aaaaaaa", 0.0, {"CPU": "one"}, QUICK, 0.0, 20.0, FIGURES)


def test_costs_are_the_means_of_the_figures_in_the_unit_of_the_model() -> None:
    costs = measure_costs(FIGURES)
    assert costs["chat_message"] == 450
    assert costs["chat_delivery"] == 80
    # 240 ms for 12 megapixels.
    assert costs["media_megapixel"] == 20_000
    assert measured_receipts(RESULT) == pytest.approx(0.4)


def test_cost_of_a_heartbeat_is_the_difference_by_hand() -> None:
    # 5 µs for each of 2,000 deliveries a second are 10 ms, for 125 heartbeats.
    assert measure_costs(FIGURES)["chat_heartbeat"] == pytest.approx(80)


def test_figure_without_a_value_is_not_measured() -> None:
    assert "envoy_presence" not in measure_costs(FIGURES)


def test_given_costs_precede_measured_and_these_assumed_ones() -> None:
    sourced = choose_costs(RESULT, {"chat_delivery": 7.0})
    assert (sourced.costs.chat_message, sourced.source("chat_message")) == (450, CostSource.MEASURED)
    assert (sourced.costs.chat_delivery, sourced.source("chat_delivery")) == (7, CostSource.GIVEN)
    assert sourced.costs.envoy_delivery == Costs().envoy_delivery
    assert sourced.source("envoy_delivery") is CostSource.ASSUMED


def test_without_a_result_everything_is_assumed() -> None:
    sourced = choose_costs(None, {})
    assert {sourced.source(each.name) for each in parameters(Costs)} == {CostSource.ASSUMED}


def test_cost_below_zero_is_refused() -> None:
    with pytest.raises(OutOfBounds, match="--chat-message"):
        choose_costs(None, {"chat_message": -1.0})


def test_newest_complete_result_is_chosen(tmp_path: Path) -> None:
    for commit, taken, sizes in (("aaaaaaa", 2.0, QUICK), ("bbbbbbb", 3.0, QUICK), ("ccccccc", 4.0, TINY)):
        write_result(replace(RESULT, commit=commit, taken=taken, sizes=sizes, figures=FIGURES[:3]), tmp_path)
    assert newest_result(tmp_path).commit == "bbbbbbb"


def test_without_results_the_recorded_one_is_chosen(tmp_path: Path) -> None:
    assert newest_result(tmp_path) == read_result(RECORDED)


def test_recorded_result_names_its_commit_and_its_machine() -> None:
    recorded = read_result(RECORDED)
    assert recorded.commit != "unknown"
    assert not recorded.commit.endswith("-changed")
    assert recorded.machine["CPU"]
    assert measured_receipts(recorded) > 0


def test_file_that_is_no_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_text(json.dumps({"commit": 1}))
    with pytest.raises(SetupError, match=r"odd\.json"):
        newest_result(tmp_path)


def test_every_measured_cost_is_a_cost() -> None:
    assert MEASURED.keys() <= {each.name for each in parameters(Costs)}
