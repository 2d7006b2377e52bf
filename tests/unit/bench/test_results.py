"""Stored benchmark results and the choice of the baseline."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bench.figures import Figure
from bench.results import Result, current_commit, latest_comparable, stage_result, write_result
from bench.sizes import QUICK, TINY
from devstack.errors import SetupError

RESULT = Result("aaaaaaa", 1.0, {"CPU": "one"}, QUICK, 0.0, 20.0, [Figure("chat", "messages", "/s", (1.0, 2.0), True)])


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    return subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "code").write_text("1")
    (tmp_path / ".gitignore").write_text("*.json\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "begin")
    return tmp_path


def test_stored_result_is_loaded_unchanged(tmp_path: Path) -> None:
    assert write_result(RESULT, tmp_path).name == "aaaaaaa.json"
    assert latest_comparable("bbbbbbb", QUICK, tmp_path) == RESULT


def test_baseline_is_the_newest_result_of_another_commit(tmp_path: Path) -> None:
    for commit, taken in (("aaaaaaa", 2.0), ("bbbbbbb", 3.0), ("ccccccc", 1.0)):
        write_result(replace(RESULT, commit=commit, taken=taken), tmp_path)
    found = latest_comparable("bbbbbbb", QUICK, tmp_path)
    assert found is not None
    assert found.commit == "aaaaaaa"


def test_changed_tree_is_compared_with_its_commit(tmp_path: Path) -> None:
    write_result(RESULT, tmp_path)
    assert latest_comparable("aaaaaaa-changed", QUICK, tmp_path) == RESULT


def test_result_of_other_sizes_is_not_a_baseline(tmp_path: Path) -> None:
    write_result(replace(RESULT, sizes=TINY), tmp_path)
    assert latest_comparable("bbbbbbb", QUICK, tmp_path) is None


def test_missing_folder_has_no_baseline(tmp_path: Path) -> None:
    assert latest_comparable("bbbbbbb", QUICK, tmp_path / "missing") is None


def test_malformed_result_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_text('{"commit": 1}')
    with pytest.raises(SetupError, match=r"odd\.json is not a result"):
        latest_comparable("bbbbbbb", QUICK, tmp_path)


def test_commit_of_changed_tree_is_marked(repository: Path) -> None:
    clean = current_commit(repository)
    assert git(repository, "rev-parse", "HEAD").startswith(clean)
    (repository / "code").write_text("2")
    assert current_commit(repository) == f"{clean}-changed"


def test_commit_outside_a_repository_is_unknown(tmp_path: Path) -> None:
    assert current_commit(tmp_path) == "unknown"


def test_result_is_staged_only_on_request(repository: Path) -> None:
    path = write_result(RESULT, repository)
    assert git(repository, "status", "--porcelain") == ""
    stage_result(path)
    assert git(repository, "status", "--porcelain") == "A  aaaaaaa.json\n"


def test_staging_outside_a_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="git cannot add"):
        stage_result(write_result(RESULT, tmp_path))
