"""The sensitivity of a plan to its parameters, against changes computed by hand."""

import pytest

from bench.capacity.assumption import parameters
from bench.capacity.costs import Costs, CostSource, choose_costs
from bench.capacity.limits import Limits
from bench.capacity.sensitivity import SHOWN, PlanInput, Sensitivity, format_sensitivity, measure_sensitivity
from bench.capacity.usage_model import UsageModel

GIVEN = PlanInput(UsageModel(daily_users=2e7), choose_costs(None, {"chat_message": 500.0}), Limits())


@pytest.fixture(scope="module")
def found() -> dict[str, Sensitivity]:
    return {each.parameter.name: each for each in measure_sensitivity(GIVEN)}


def test_every_parameter_is_measured(found: dict[str, Sensitivity]) -> None:
    assert set(found) == {each.name for model in (UsageModel, Costs, Limits) for each in parameters(model)}


def test_price_follows_the_users(found: dict[str, Sensitivity]) -> None:
    users = found["daily_users"]
    assert (users.halved.value, users.doubled.value) == (1e7, 4e7)
    # All but the spare servers, and what is rounded up, is proportional.
    assert users.halved.price == pytest.approx(-0.5, abs=0.01)
    assert users.doubled.price == pytest.approx(1.0, abs=0.02)


def test_price_of_a_core_changes_the_price_by_the_part_of_cores(found: dict[str, Sensitivity]) -> None:
    plan = GIVEN.make_plan()
    price = found["core_hour_price"].doubled
    assert price.cores == 0
    assert price.price == pytest.approx(plan.bill.cores / plan.bill.total)


def test_changed_value_stays_within_its_bounds(found: dict[str, Sensitivity]) -> None:
    assert found["utilisation"].doubled.value == 1
    assert found["utilisation"].doubled.cores < 0 < found["utilisation"].halved.cores


def test_parameters_are_sorted_by_their_greatest_change(found: dict[str, Sensitivity]) -> None:
    weights = [each.weight for each in found.values()]
    assert weights == sorted(weights, reverse=True)


def test_source_of_a_cost_is_named(found: dict[str, Sensitivity]) -> None:
    assert found["chat_message"].source is CostSource.GIVEN
    assert found["chat_delivery"].source is CostSource.ASSUMED


def test_table_has_the_first_ones(found: dict[str, Sensitivity]) -> None:
    lines = format_sensitivity(list(found.values()))
    assert len(lines) == SHOWN + 1
    assert [line.split()[0] for line in lines[1:]] == list(found)[:SHOWN]
