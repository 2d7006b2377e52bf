"""No test sleeps before it asserts; it waits for an event or advances a clock. The few exceptions are reviewed."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parents[1]
# By file: the number of its sleeps, and why no event can replace them.
REVIEWED: Final = {
    "eventually.py": (2, "between two checks of eventually(), and run_ready() itself"),
    "footprint.py": (1, "between two samples of the memory of a process"),
    "integration/servicekit/test_membership.py": (2, "leases expire by the clock of a real etcd"),
    "proxy/wire.py": (1, "the delay of a slow connection"),
    "raw/follower.py": (3, "the pace at which a device reconnects and sends"),
    "raw/watcher.py": (1, "the pace of heartbeats"),
    "scenarios/media/test_collection.py": (1, "files are sent at the moments around their removal"),
    "scenarios/presence/audience.py": (1, "how long a part of the system is away"),
    "scenarios/presence/test_crowd.py": (1, "the pace at which devices reconnect"),
    "scenarios/test_admin.py": (2, "the pace at which a user writes"),
    "scenarios/test_credential_rotation.py": (1, "the pace at which a user writes and asks for presence"),
    "scenarios/test_chat_server_dies.py": (3, "the pace at which a user writes and reads"),
    "scenarios/test_frozen_store.py": (
        2,
        "how long the store is frozen, and that no send is acknowledged meanwhile",
    ),
    "scenarios/test_handshakes.py": (1, "a refused device reconnects after the requested delay"),
    "scenarios/test_slow_devices.py": (1, "a device resumes reading later than most streams are flushed"),
    "scenarios/test_hostile_clients.py": (3, "the pace of a flood, and that memory does not grow"),
    "scenarios/test_hostile_devices.py": (3, "the pace of other devices and of samples, and that memory does not grow"),
}
# These tests consist of timed messages and faults.
REVIEWED_FOLDER: Final = "faults/"


def sleeps(source: str) -> int:
    """Return the number of calls of asyncio.sleep and time.sleep in a module."""
    nodes = list(ast.walk(ast.parse(source)))
    names = {
        alias.asname or alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module in {"asyncio", "time"}
        for alias in node.names
        if alias.name == "sleep"
    }
    called = [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)]
    return sum(name in {"asyncio.sleep", "time.sleep"} | names for name in called)


def test_tests_contain_only_reviewed_sleeps() -> None:
    found = Counter[str]()
    for path in TESTS.rglob("*.py"):
        found[path.relative_to(TESTS).as_posix()] = sleeps(path.read_text())
    unlisted = {name: count for name, count in found.items() if count and not name.startswith(REVIEWED_FOLDER)}
    assert unlisted == {name: count for name, (count, _) in REVIEWED.items()}, "wait for an event, or use a ManualClock"


def test_sleeps_imported_by_name_are_found() -> None:
    assert sleeps("import asyncio\nasync def f():\n    await asyncio.sleep(0)") == 1
    assert sleeps("import time\ntime.sleep(1)\ntime.sleep(2)") == 2
    assert sleeps("from asyncio import sleep as rest\nfrom time import sleep\nrest(1)\nsleep(1)") == 2
    assert sleeps("clock.sleep(1)\nprogram('import time; time.sleep(60)')") == 0
