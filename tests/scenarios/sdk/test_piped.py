"""Lines piped into the command, on a running system."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from parley_client.cli import stdin_lines
from parley_client.cli.directory import UserDirectory
from parley_client.cli.line_chat import LineChat
from parley_client.send_queue import SendQueue
from tests.scenarios.sdk.people import Pair, People
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


async def test_more_piped_lines_than_the_queue_holds_are_all_sent(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [str(n) for n in range(20)]

    async def read_lines(_: int) -> AsyncIterator[str]:
        for line in lines:
            yield f"{line}\n"

    monkeypatch.setattr(stdin_lines, "read_lines", read_lines)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(fileno=lambda: 0))
    monkeypatch.setattr(SendQueue.__init__, "__defaults__", (3,))
    chat = await pair.alice.conversations.get(pair.chat)
    await LineChat(pair.alice, UserDirectory(pair.alice), chat).run()
    assert [each.text async for each in pair.bob.messages.list_before(pair.chat)] == lines[::-1]
