"""Lines piped into the command, on the real system."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from devstack.stack import Stack
from tests.unit.client.test_cli import Terminal

pytestmark = pytest.mark.scenario


async def test_piped_lines_that_were_not_sent_are_told_and_end_the_command_so(stack: Stack, tmp_path: Path) -> None:
    terminal, bob = Terminal(stack.door, tmp_path), f"bob-{uuid.uuid4().hex[:8]}"
    terminal.environment["PARLEY_PASSWORD"] = "correct horse battery"
    for name in (bob, f"alice-{uuid.uuid4().hex[:8]}"):
        await terminal.ok("register", name)
    terminal.environment["PARLEY_AS"] = name
    code, out, err = await terminal.run("chat", bob, typed="good\n" + "y" * 20_000 + "\nfine\n")
    assert code == 1
    assert "Not sent: “yyy" in err
    assert "One line was not sent." in err
    assert len(err) < 1000
    assert "Not sent" not in out
    listed = await terminal.ok("history", bob)
    assert "good" in listed
    assert "fine" in listed
