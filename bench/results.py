"""Results of earlier runs, one file each, by commit."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.figures import Figure, figure_to_json, figure_from_json
from bench.sizes import Sizes
from devstack.errors import SetupError

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True, slots=True)
class Result:
    """One run. `commit` is short, and ends in `-changed` when the code was not as committed.

    `taken` is in seconds since 1970; `machine` says in words what it ran on; `cores_of_others` is the most of any
    scene. `pace` is what the same little work took, in milliseconds, on average before and after.
    """

    commit: str
    taken: float
    machine: dict[str, str]
    sizes: Sizes
    cores_of_others: float
    pace: float
    figures: Sequence[Figure]


def current_commit(root: Path = ROOT) -> str:
    """What is measured; `unknown` outside a repository."""
    try:
        short = _git(root, "rev-parse", "--short=7", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", ":!bench/results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{short}-changed" if changed else short


def write_result(result: Result, folder: Path = FOLDER) -> Path:
    """Write a result, over an earlier one of the same commit; its file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.commit}.json"
    figures = [figure_to_json(each) for each in result.figures]
    path.write_text(json.dumps({**asdict(result), "figures": figures}, indent=1) + "\n")
    return path


def stage_result(path: Path) -> None:
    """Have the next commit carry a result. Raises Trouble."""
    try:
        _git(path.parent, "add", "--force", "--", path.name)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(f"git does not take {path}: {error}") from None


def latest_comparable(commit: str, sizes: Sizes, folder: Path = FOLDER) -> Result | None:
    """The newest result of another commit, of as much as is measured now."""
    found = [_read(path) for path in folder.glob("*.json")]
    others = [each for each in found if each.commit != commit and each.sizes == sizes]
    return max(others, key=lambda each: each.taken, default=None)


def _read(path: Path) -> Result:
    try:
        kept: dict[str, Any] = json.loads(path.read_text())
        figures = [figure_from_json(each) for each in kept["figures"]]
        return Result(**{**kept, "sizes": Sizes(**kept["sizes"]), "figures": figures})
    except (ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{path} is not a result that this version wrote ({error}); remove it.") from None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()
