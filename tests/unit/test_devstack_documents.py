"""The commands in the documents exist and need no other installation."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def targets() -> set[str]:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in listed.splitlines()}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_documented_make_command_is_a_target(name: str) -> None:
    named = set(re.findall(r"(?:`|^)make ([a-z][a-z0-9-]*)", (ROOT / name).read_text(), re.MULTILINE))
    assert "run" in named
    assert named <= targets()


def test_commands_of_contributing_are_make_targets() -> None:
    table = re.findall(r"^\| .* \| `(.*)` \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert len(table) >= 6
    assert all(command.startswith("make ") for command in table)
