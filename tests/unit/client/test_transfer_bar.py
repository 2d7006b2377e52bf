"""The progress bar of a transfer on a terminal, and its silence elsewhere."""

from __future__ import annotations

import asyncio
import sys
from io import StringIO

import pytest
from rich.console import Console

from parley_client.cli import transfers


@pytest.mark.parametrize("is_terminal", [True, False])
def test_bar_is_drawn_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    output = StringIO()
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=output, force_terminal=is_terminal, width=120, color_system=None)
    monkeypatch.setattr(transfers, "err", console)
    with transfers.show_transfer("film\x1b[31m[bold].mp4") as on_progress:
        on_progress(0, 2_000_000)
        on_progress(1_000_000, 2_000_000)
    drawn = output.getvalue()
    assert ("film[31m[bold].mp4" in drawn, "50%" in drawn, "1.0/2.0 MB" in drawn) == (is_terminal,) * 3
    assert (drawn == "") == (not is_terminal)


def test_interruption_names_the_command_that_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    output = StringIO()
    monkeypatch.setattr(transfers, "err", Console(file=output, width=20))
    monkeypatch.setattr(sys, "argv", ["/usr/bin/parley", "send", "bob", "--file", "my film.mp4"])
    with pytest.raises(asyncio.CancelledError), transfers.show_transfer("film"):
        raise asyncio.CancelledError
    assert output.getvalue() == "Interrupted. Continue with `parley send bob --file 'my film.mp4'`.\n"
