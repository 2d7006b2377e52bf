"""The command `python -m bench.ring`: its options, what it refuses, and its plots."""

import re
import shlex
from pathlib import Path

import pytest

from bench.capacity.assumption import Parameter, parameters
from bench.ring.__main__ import create_parser, main
from bench.ring.ring_model import RingModel

QUICK = "--servers 2 --envoys 2 --streams 50 --connections 50 --samples 64 --conversations 20"


@pytest.mark.parametrize("each", list(parameters(RingModel)), ids=lambda each: each.name)
def test_every_parameter_is_an_option_with_its_default(each: Parameter) -> None:
    assert f"(default {each.default:g})" in " ".join(create_parser().format_help().split())
    value = each.nearest(each.default / 2)
    assert getattr(create_parser().parse_args([each.option, str(value)]), each.name) == value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--streams 0", "--streams must be at least 1 and finite, not 0"),
        ("--samples 1.5", "--samples must be a whole number, not 1.5"),
        ("--idle-share nan", "--idle-share must be at least 0.01 and at most 1, not nan"),
        ("--connect-us 0", "--connect-us must be at least 1 and finite, not 0"),
        ("--plots missing", "missing/ring-balance.svg: No such file or directory"),
        ("--servers 2 3 4 5 6 7 8 9 10 11 --plots .", "a chart has at most 9 lines, not 10"),
    ],
)
def test_impossible_option_is_explained(arguments: str, message: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(message)):
        main(shlex.split(f"{QUICK} {arguments}"))


@pytest.mark.parametrize("arguments", ["--servers 1", "--servers x", "--envoys 0", "--envoys -3", "--servers 2.5"])
def test_number_of_servers_that_cannot_lose_one_is_refused(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(shlex.split(arguments))
    assert "must be a whole number of at least 2" in capsys.readouterr().err


def test_same_options_print_and_draw_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        main(shlex.split(f"{QUICK} --plots {folder}"))
        outputs.append((capsys.readouterr().out, {path.name: path.read_text() for path in folder.iterdir()}))
    assert outputs[0] == outputs[1]
    assert outputs[0][1].keys() == {"ring-balance.svg", "ring-moves.svg", "ring-storm.svg", "ring-mesh.svg"}
