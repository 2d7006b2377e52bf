"""The command `python -m bench.capacity`: what it prints, and that docs/capacity.md shows the same."""

import json
import re
import shlex
from pathlib import Path

import pytest

from bench.capacity.__main__ import create_parser, main, run
from bench.capacity.assumption import parameters
from bench.capacity.costs import Costs
from bench.capacity.limits import Limits
from bench.capacity.page import BLOCK, PAGE, run_block, update_page
from bench.capacity.usage_model import UsageModel


def output(arguments: str) -> str:
    return run(create_parser().parse_args(shlex.split(arguments)))


@pytest.mark.parametrize(("module", "arguments", "text"), BLOCK.findall(PAGE.read_text(encoding="utf-8")))
def test_page_shows_what_the_command_prints(module: str, arguments: str, text: str, tmp_path: Path) -> None:
    assert run_block(module, arguments, tmp_path) == text
    for plot in tmp_path.iterdir():
        assert (PAGE.parent / plot.name).read_text(encoding="utf-8") == plot.read_text(encoding="utf-8"), plot.name


def test_page_shows_both_commands_and_all_plots() -> None:
    page = PAGE.read_text(encoding="utf-8")
    commands = [module + arguments for module, arguments, _ in BLOCK.findall(page)]
    assert {command.split()[0] for command in commands} == {"bench.capacity", "bench.ring"}
    assert all("--result recorded" in command for command in commands if command.startswith("bench.capacity"))
    for plot in ("capacity-cores.svg", "ring-balance.svg", "ring-storm.svg"):
        assert f"({plot})" in page


@pytest.mark.parametrize("model", [UsageModel, Costs, Limits])
def test_every_parameter_is_an_option_and_changes_the_plan(model: type) -> None:
    base = json.loads(output("--json --result recorded"))
    for each in parameters(model):
        plan = json.loads(output(f"--json --result recorded {each.option} {each.nearest(each.default * 1.5 + 1e-3)}"))
        assert plan != base, each.option


def test_help_names_every_default() -> None:
    text = " ".join(create_parser().format_help().split())
    for model in (UsageModel, Costs, Limits):
        for each in parameters(model):
            assert each.option in text
            assert f"(default {each.default:g})" in text


def test_output_marks_each_cost_as_measured_assumed_or_given() -> None:
    lines = output("--costs --result recorded --chat-delivery 9").splitlines()
    sources = {line.split()[0]: line for line in lines if line}
    assert " measured " in sources["chat_message"]
    assert " given " in sources["chat_delivery"]
    assert " assumed " in sources["chat_mesh_frame"]
    assert any(line.startswith("measured (") and "make bench-quick of 20" in line for line in lines)


def test_json_has_the_counts_and_the_sources() -> None:
    plan = json.loads(output("--json --daily-users 1e6 --result recorded"))
    assert plan["usage"]["daily_users"] == 1e6
    assert plan["groups"]["chat"]["count"] > 1
    assert plan["costs"]["chat_message"]["source"] == "measured"
    assert plan["result"]["commit"]


def test_sizes_have_a_column_each() -> None:
    first = output("--sizes 1e4 2.5e6 --result recorded").splitlines()[0]
    assert first.split() == ["daily", "users", "10,000", "2,500,000"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--online-share 1.5", "--online-share must be at least 0 and at most 1, not 1.5"),
        ("--daily-users nan", "--daily-users must be at least 1 and finite, not nan"),
        ("--daily-users -5", "--daily-users must be at least 1 and finite, not -5"),
        ("--mongod-members 2.5", "--mongod-members must be a whole number, not 2.5"),
        ("--sizes 1e6 nan", "--daily-users must be at least 1 and finite, not nan"),
        ("--chat-memory-gib 0.4", "raise --chat-memory-gib"),
        ("--result missing.json", "missing.json: No such file or directory"),
        ("--sizes 1e4 --plot missing/cores.svg", "missing/cores.svg: No such file or directory"),
    ],
)
def test_impossible_option_is_explained(arguments: str, message: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(message)):
        main(shlex.split(arguments))


def test_text_instead_of_a_number_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--daily-users", "many"])
    assert "argument --daily-users: invalid float value: 'many'" in capsys.readouterr().err


def test_deployment_that_costs_nothing_has_a_plan() -> None:
    free = "--core-hour-price 0 --disk-price 0 --s3-price 0 --traffic-price 0 --result recorded"
    assert re.search(r"a million messages +0\.00, of which cores 0\.00", output(free))
    assert "daily_users" in output(f"{free} --sensitivity")


def test_plot_of_any_sizes_has_all_kinds_of_servers(tmp_path: Path) -> None:
    for sizes in ("1e6", "5e7 1e4"):
        output(f"--sizes {sizes} --result recorded --plot {tmp_path / 'cores.svg'}")
        plot = (tmp_path / "cores.svg").read_text()
        assert all(f">{kind}<" in plot for kind in ("chat", "Envoy", "MongoDB shards", "etcd"))


def test_updated_page_has_the_present_output_and_keeps_the_rest(tmp_path: Path) -> None:
    command = "$ .venv/bin/python -m bench.capacity --result recorded --sizes 1e4\n"
    page = f"# A page\n\n```\n{command}outdated\n```\n\nWords.\n"
    updated = update_page(page, tmp_path)
    assert updated == page.replace("outdated\n", output("--result recorded --sizes 1e4") + "\n")
