"""`make lint` finds unused code, and every entry in its list of exceptions is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import pytest
from vulture import Vulture

from chat_service.limits import Limits
from chat_service.settings import ChatSettings

ROOT: Final = Path(__file__).parents[2]
CONFIG: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["vulture"]

UNUSED: Final = {
    "function": "def forgotten() -> None: ...",
    "class": "class Forgotten: ...",
    "method": "class _Kept:\n    def forgotten(self) -> None: ...\n\n_Kept()",
    "attribute": "class _Kept:\n    def __init__(self) -> None:\n        self.forgotten = 1\n\n_Kept()",
    "variable": "FORGOTTEN = 5",
}


def vulture(module: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vulture", "--config", str(ROOT / "pyproject.toml"), str(module)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", UNUSED)
def test_unused_code_fails_the_check(kind: str, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(UNUSED[kind])
    found = vulture(module)
    assert found.returncode == 3
    assert f"unused {kind} 'forgotten'" in found.stdout.lower()


def test_used_code_passes_the_check(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("def used() -> None: ...\n\nused()")
    assert vulture(module).returncode == 0


def test_every_exception_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    everything = Vulture(ignore_decorators=CONFIG["ignore_decorators"])
    everything.scavenge(CONFIG["paths"])
    unused = {item.name for item in everything.get_unused_code()}
    assert [each for each in CONFIG["ignore_names"] if not any(fnmatchcase(name, each) for name in unused)] == []


def attributes_read(source: str, owners: set[str]) -> Iterator[str]:
    """Yield each attribute that `source` reads of a name, or of an attribute, in `owners`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            if name in owners:
                yield node.attr


def read_in(*packages: str, owners: set[str]) -> set[str]:
    return {
        name
        for package in packages
        for path in (ROOT / package).rglob("*.py")
        for name in attributes_read(path.read_text(), owners)
    }


def test_every_setting_is_read() -> None:
    files = [ROOT / package / "settings.py" for package in ("chat_service", "servicekit")]
    own = {name for file in files for name in attributes_read(file.read_text(), {"self"})}
    read = own | read_in("chat_service", "servicekit", owners={"settings", "_settings"})
    assert set(ChatSettings.model_fields) - read - set(CONFIG["ignore_names"]) == set()


def test_every_limit_is_read() -> None:
    assert {each.name for each in fields(Limits)} - read_in("chat_service", owners={"limits", "_limits"}) == set()


def test_setting_that_is_only_written_is_not_read() -> None:
    source = "Settings(kept=1)\nsettings.kept = other.kept\nread(settings.listen, self.settings.mongo_uri)"
    assert set(attributes_read(source, {"settings"})) == {"listen", "mongo_uri"}
