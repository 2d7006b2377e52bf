"""Retired names do not return to the packages that used them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RETIRED = {
    "chat_service/history": "Sight Sights sight ended _brought_up turns",
    "chat_service/mesh": "Strangers strangers placing asked decide _patiently Links links Link link tell abandon "
    "_keep_up _examine Departures departures",
    "chat_service/home": "came went forgotten_in_vain",
    "chat_service/owner": "stubbornly patience barred told_to_forget doubtful _beside forget_beside took Share "
    "_contained _Audiences cover _early _elsewhere",
    "chat_service/model": "Trace Retouch decided changed MENDED barred",
    "chat_service/stream": "Places places Decided Attaching attaching Watching watching Openings openings Backlog "
    "backlog room FAREWELL_S Dialogue dialogue hear",
    "chat_service/servicers": "Roles roles paced pace",
    "chat_service/storage": "Together together stretches IndexLife index_life _settle_for_the_dead VOUCH owe owing "
    "is_silence",
    "chat_service/push": "unsettle SETTLE_S",
    "chat_service/retention": "Looks look had_by_all",
    "chat_service/accounts": "Newcomers newcomers strengthen _bury bury Attempts DeviceRates",
    "servicekit": "asked_to_end some_at_once Sighting own others until_stopped",
    "devstack": "leash _leash",
    "bench": "Grounds grounds",
    "notify_service": "Dead DeadRecord Delivery Remainder Retry RetryLoop ShownStore find_kept_back find_shown "
    "places raise_shown repeat_until_available settle",
    "parley_client": "Line Deeds deeds",
    "tests": "Village village House house Stage stage",
}
RETIRED_METRICS = ("store_repeats", "index_owing", "mesh_frames_not_taken", "troubles")


@pytest.mark.parametrize("room", RETIRED)
def test_no_retired_name_is_used(room: str) -> None:
    retired = frozenset(RETIRED[room].split())
    paths = sorted((ROOT / room).rglob("*.py"))
    assert paths, f"{room} has no modules"
    assert [where for path in paths for where, name in _names(path) if name in retired] == []


def test_no_retired_metric_is_used() -> None:
    sources = [path for room in ("servicekit", "chat_service") for path in (ROOT / room).rglob("*.py")]
    assert [
        f"{path}: parley_{metric}"
        for path in sources
        for metric in RETIRED_METRICS
        if f'"parley_{metric}' in path.read_text(encoding="utf-8")
    ] == []


def test_retired_name_is_found(tmp_path: Path) -> None:
    source = tmp_path / "link.py"
    source.write_text(
        "class Link:\n    tell: int\n    def __init__(self):\n        self.asked = 0\ndef decide(): ...\n"
    )
    assert {name for _, name in _names(source)} == {"link", "Link", "tell", "__init__", "asked", "decide"}


def _names(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the names of the module, its classes, functions and attributes, each with its location."""
    yield str(path), path.stem
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for name in _declared(node):
            yield f"{path}:{getattr(node, 'lineno', 0)}: {name}", name


def _declared(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield node.name
    if isinstance(node, ast.ClassDef):
        for each in node.body:
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                yield each.target.id
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield node.attr
