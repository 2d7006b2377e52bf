"""docs/security.md names, for each threat, a defence and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.unit.test_documents import symbols

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "security.md"
TEST: Final = re.compile(r"`(tests/[\w/.]+)(?:::(\w+))?`")
HEAD: Final = "| threat | defence | tested by |"


def threats(text: str) -> list[list[str]]:
    """Return the cells of the rows of all tables of threats."""
    rows, inside = [], False
    for line in text.splitlines():
        inside = line.startswith("|") and (inside or line == HEAD)
        if inside and line != HEAD and not line.startswith("|---"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


THREATS: Final = threats(PAGE.read_text(encoding="utf-8"))


def test_page_has_threats_of_every_kind() -> None:
    assert len(THREATS) > 30


@pytest.mark.parametrize("row", THREATS, ids=lambda row: row[0])
def test_threat_has_defence_and_existing_tests(row: list[str]) -> None:
    threat, defence, tested_by = row
    assert threat
    assert defence
    named = TEST.findall(tested_by)
    assert named, "no test is named"
    for path, function in named:
        assert (ROOT / path).is_file(), path
        assert Path(path).name.startswith("test_"), path
        assert not function or (function.startswith("test_") and function in symbols(ROOT / path)), function


def test_row_without_test_is_found() -> None:
    [row] = threats(f"{HEAD}\n|---|---|---|\n| theft | a lock | none |\n\n| other | table |\n")
    assert row == ["theft", "a lock", "none"]
    assert TEST.findall(row[2]) == []
