"""The command line of the capacity model: `python -m bench.capacity --daily-users 50e6`."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from bench.capacity.assumption import OutOfBounds, add_options, given_values
from bench.capacity.costs import Costs, SourcedCosts, choose_costs
from bench.capacity.limits import Limits
from bench.capacity.measured_costs import RECORDED, newest_result
from bench.capacity.plan import Plan, make_plan
from bench.capacity.plots import draw_cores
from bench.capacity.report import format_costs, format_plan, format_sizes, format_sources
from bench.capacity.sensitivity import PlanInput, format_sensitivity, measure_sensitivity
from bench.capacity.sizing import Infeasible
from bench.capacity.usage_model import UsageModel
from bench.results import Result, read_result
from devstack.errors import SetupError

SIZES: Final = (1e4, 1e5, 1e6, 1e7, 5e7)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the plan that the arguments ask for. Exit with a message if one of them is out of bounds."""
    options = create_parser().parse_args(arguments)
    try:
        print(run(options))
    except (OutOfBounds, Infeasible, SetupError) as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}")


def create_parser() -> ArgumentParser:
    """Return the parser of the options: those of the command, and one for each parameter of the model."""
    parser = ArgumentParser(prog="python -m bench.capacity", description=__doc__)
    parser.add_argument("--sizes", type=float, nargs="*", metavar="N", help="compare these numbers of daily users")
    parser.add_argument("--sensitivity", action="store_true", help="print the parameters that matter most")
    parser.add_argument("--costs", action="store_true", help="print the costs of single events with their sources")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    parser.add_argument("--plot", metavar="FILE", help="write the cores of each kind of server, by size, as SVG")
    parser.add_argument(
        "--result", metavar="FILE", help="a result of make bench-quick (default the newest), or `recorded`"
    )
    add_options(parser, "usage", UsageModel)
    add_options(parser, "costs of single events, instead of measured or assumed ones", Costs)
    add_options(parser, "servers, limits and prices", Limits)
    return parser


def run(options: Namespace) -> str:
    """Return the output of the command. Raise OutOfBounds, Infeasible, or SetupError for a file that is no result."""
    usage = UsageModel(**given_values(options, UsageModel))
    sourced = choose_costs(_choose_result(options.result), given_values(options, Costs))
    limits = Limits(**given_values(options, Limits))
    if options.costs:
        return "\n".join([*format_costs(sourced), "", *format_sources(sourced)])
    if options.sizes is not None or options.plot:
        plans = [make_plan(replace(usage, daily_users=size), sourced, limits) for size in options.sizes or SIZES]
        if options.plot:
            Path(options.plot).write_text(draw_cores(plans), encoding="utf-8")
        return "\n".join([*format_sizes(plans), "", *format_sources(sourced)])
    if options.sensitivity:
        found = measure_sensitivity(PlanInput(usage, sourced, limits))
        return "\n".join([*format_sensitivity(found), "", *format_sources(sourced)])
    plan = make_plan(usage, sourced, limits)
    if options.json:
        return json.dumps(plan_to_json(plan, sourced, limits), indent=1)
    return "\n".join([*format_plan(plan, sourced), "", *format_sources(sourced)])


def plan_to_json(plan: Plan, sourced: SourcedCosts, limits: Limits) -> dict[str, Any]:
    """Return a plan with its costs and their sources, and its limits, as JSON."""
    result = sourced.result
    return {
        **asdict(plan),
        "costs": {name: {"value": value, "source": sourced.source(name).value} for name, value in _items(sourced)},
        "limits": asdict(limits),
        "result": {"commit": result.commit, "taken": result.taken, "machine": result.machine} if result else None,
    }


def _items(sourced: SourcedCosts) -> list[tuple[str, float]]:
    return list(asdict(sourced.costs).items())


def _choose_result(name: str | None) -> Result:
    if name is None:
        return newest_result()
    return read_result(RECORDED if name == "recorded" else Path(name))


if __name__ == "__main__":
    main()
