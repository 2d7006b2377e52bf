"""The results of runs, one JSON file per commit."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.figures import Figure, figure_from_json, figure_to_json
from bench.sizes import Sizes
from devstack.errors import SetupError

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one run.

    `commit` is abbreviated, and ends in `-changed` if the work tree had changes. `taken` is the time of the run in
    seconds since 1970. `machine` describes the hardware and versions. `cores_of_others` is the maximum of all
    workloads. `pace` is the CPU time of the reference loop in milliseconds, the mean of before and after the run.
    """

    commit: str
    taken: float
    machine: dict[str, str]
    sizes: Sizes
    cores_of_others: float
    pace: float
    figures: Sequence[Figure]


def current_commit(root: Path = ROOT) -> str:
    """Return the abbreviated current commit, with `-changed` for local changes; `unknown` outside a repository."""
    try:
        short = _git(root, "rev-parse", "--short=7", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", ":!bench/results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{short}-changed" if changed else short


def write_result(result: Result, folder: Path = FOLDER) -> Path:
    """Write a result, replacing one of the same commit. Return the path of its file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.commit}.json"
    figures = [figure_to_json(figure) for figure in result.figures]
    path.write_text(json.dumps({**asdict(result), "figures": figures}, indent=1) + "\n")
    return path


def stage_result(path: Path) -> None:
    """Add a result to the git index. Raise SetupError if git fails."""
    try:
        _git(path.parent, "add", "--force", "--", path.name)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(f"git cannot add {path}: {error}") from None


def latest_comparable(commit: str, sizes: Sizes, folder: Path = FOLDER) -> Result | None:
    """Return the newest result of another commit with the same sizes; None if there is none."""
    results = [read_result(path) for path in folder.glob("*.json")]
    comparable = [result for result in results if result.commit != commit and result.sizes == sizes]
    return max(comparable, key=lambda result: result.taken, default=None)


def read_result(path: Path) -> Result:
    """Return the result in a file. Raise SetupError if it is not a result of this version."""
    try:
        fields: dict[str, Any] = json.loads(path.read_text())
        figures = [figure_from_json(figure) for figure in fields["figures"]]
        return Result(**{**fields, "sizes": Sizes(**fields["sizes"]), "figures": figures})
    except (ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{path} is not a result of this version ({error}); remove it, or choose another.") from None


def _git(folder: Path, *arguments: str) -> str:
    completed = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return completed.stdout.strip()
