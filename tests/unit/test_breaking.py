"""The contract check accepts additions and names every removed or renamed element."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tools import breaking, stubs

ACCOUNT = "protos/parley/chat/v1/account.proto"
MESH = "protos/parley/internal/v1/mesh.proto"
# A field of each file, as the file declares it.
FIELDS = [(ACCOUNT, "string login_name = 2;", "login_name"), (MESH, "int64 ring_revision = 2;", "ring_revision")]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a copy of the contract, of its baseline and of what buf needs to read both."""
    shutil.copy(stubs.ROOT / "buf.yaml", tmp_path)
    shutil.copytree(stubs.PROTOS, tmp_path / "protos")
    shutil.copytree(stubs.INCLUDE, tmp_path / "build" / "include")
    return tmp_path


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_contract_of_the_tree_keeps_its_baseline() -> None:
    assert breaking.check() == 0


def test_unchanged_contract_passes(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert breaking.check(repository) == 0
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(("proto", "field", "name"), FIELDS)
def test_removed_field_fails_and_is_named(
    proto: str, field: str, name: str, repository: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    edit(repository / proto, field, "")
    assert breaking.check(repository) != 0
    output = capfd.readouterr().out
    assert f'with name "{name}"' in output
    assert "was deleted" in output


@pytest.mark.parametrize(("proto", "field", "name"), FIELDS)
def test_renamed_field_fails_and_is_named(
    proto: str, field: str, name: str, repository: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    edit(repository / proto, field, field.replace(name, "renamed"))
    assert breaking.check(repository) != 0
    output = capfd.readouterr().out
    assert f'from "{name}" to "renamed"' in output


@pytest.mark.parametrize(("proto", "field", "name"), FIELDS)
def test_added_field_passes(
    proto: str, field: str, name: str, repository: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    edit(repository / proto, field, f"{field} string added = 1999;")
    assert breaking.check(repository) == 0
    assert capfd.readouterr().out == ""


def test_removed_file_fails_and_is_named(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (repository / ACCOUNT).unlink()
    assert breaking.check(repository) != 0
    assert ACCOUNT.removeprefix("protos/") in capfd.readouterr().out


def test_missing_baseline_fails(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (repository / breaking.BASELINE).unlink()
    assert breaking.check(repository) != 0
    assert breaking.BASELINE in capfd.readouterr().err


def test_recorded_break_is_printed_and_then_passes(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    edit(repository / ACCOUNT, "string login_name = 2;", "")
    assert breaking.record(repository) == 0
    assert "login_name" in capfd.readouterr().out
    assert breaking.check(repository) == 0


def test_changed_comment_leaves_baseline_unchanged(repository: Path) -> None:
    baseline = repository / breaking.BASELINE
    assert breaking.record(repository) == 0
    before = baseline.read_bytes()
    edit(repository / ACCOUNT, "string login_name = 2;", "// Another sentence.\n  string login_name = 2;")
    assert breaking.record(repository) == 0
    assert baseline.read_bytes() == before
