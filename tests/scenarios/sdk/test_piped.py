"""Lines piped into the command, on a running system."""

from __future__ import annotations

import pytest

from tests.scenarios.sdk.people import People
from tests.terminal import Terminal

pytestmark = pytest.mark.scenario


async def test_unsent_piped_lines_are_reported_with_exit_code(terminal: Terminal, people: People) -> None:
    alice, bob = await people.sign_in(terminal, "alice", "bob")
    terminal.environment["PARLEY_AS"] = alice
    code, out, err = await terminal.run("chat", bob, typed="good\n" + "y" * 20_000 + "\nfine\n")
    assert code == 1
    assert "Not sent: “yyy" in err
    assert "One line was not sent." in err
    assert len(err) < 1000
    assert "Not sent" not in out
    listed = await terminal.ok("history", bob)
    assert "good" in listed
    assert "fine" in listed
