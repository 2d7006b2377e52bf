"""`parley chat` on a terminal opens the messenger, and ends with one sentence on an error."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.proxy.rpc import Proxy
from tests.scenarios.sdk.people import People
from tests.terminal import PARLEY, Terminal

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]


class Window:
    """A command in a pseudo-terminal of 80 x 24, with recorded output."""

    def __init__(self, child: asyncio.subprocess.Process, descriptor: int) -> None:
        self.child = child
        self._descriptor = descriptor
        self._drawn = bytearray()
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    @property
    def drawn(self) -> str:
        return self._drawn.decode(errors="replace")

    def press(self, keys: bytes) -> None:
        os.write(self._descriptor, keys)

    async def ends(self) -> int:
        async with asyncio.timeout(20):
            return await self.child.wait()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _read(self) -> None:
        try:
            self._drawn += os.read(self._descriptor, 65536)
        except OSError:
            asyncio.get_running_loop().remove_reader(self._descriptor)


@asynccontextmanager
async def window(terminal: Terminal, *words: str) -> AsyncIterator[Window]:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**terminal.environment, "TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES"):
        environment.pop(name, None)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARLEY, *words), env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = Window(child, ours)
    try:
        yield shown
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
        shown.close()


@dataclass(frozen=True, slots=True)
class Names:
    """The login names of two users with a conversation."""

    alice: str
    bob: str


@pytest.fixture
async def names(terminal: Terminal, people: People) -> Names:
    """Alice, who runs the command, and bob, to whom she has sent a message."""
    names = Names(*await people.sign_in(terminal, "alice", "bob"))
    terminal.environment["PARLEY_AS"] = names.alice
    await terminal.ok("send", names.bob, "hello bob")
    return names


async def test_named_conversation_is_opened_and_quit_key_ends_command(terminal: Terminal, names: Names) -> None:
    async with window(terminal, "chat", names.bob) as shown:
        await eventually(lambda: "hello bob" in shown.drawn and "Enter sends" in shown.drawn, 20)
        shown.press(b"\x11")
        assert await shown.ends() == 0


async def test_typed_joiners_are_sent_and_shown(terminal: Terminal, names: Names) -> None:
    typed = "می‌خواهم 🏳️‍🌈 👨‍👩‍👧"
    async with window(terminal, "chat", names.bob) as shown:
        await eventually(lambda: "Enter sends" in shown.drawn, 20)
        shown.press(f"{typed}\r".encode())
        await eventually(lambda: "✓" in shown.drawn.rpartition(typed)[0][-200:], 20)
        shown.press(b"\x11")
        assert await shown.ends() == 0
    entries = [json.loads(line) for line in (await terminal.ok("history", names.bob, "--json")).splitlines()]
    assert entries[-1]["message_appended"]["content"]["text"]["body"] == typed


async def test_message_is_copied_to_the_clipboard_of_the_terminal(terminal: Terminal, names: Names) -> None:
    async with window(terminal, "chat", names.bob) as shown:
        await eventually(lambda: "hello bob" in shown.drawn and "Enter sends" in shown.drawn, 20)
        shown.press(b"\x1b[Ac")
        copied = base64.b64encode(b"hello bob").decode()
        await eventually(lambda: f"\x1b]52;c;{copied}\a" in shown.drawn, 20)


def bells(shown: Window) -> int:
    """Return how often the bell rang: a BEL that does not end an operating system command."""
    return re.sub(r"\x1b\][^\a\x1b]*\a", "", shown.drawn).count("\a")


async def test_burst_of_messages_elsewhere_does_not_ring_for_each(terminal: Terminal, names: Names) -> None:
    async with window(terminal, "chat") as shown:
        await eventually(lambda: "Enter: open" in shown.drawn, 20)
        for number in range(5):
            await terminal.ok("send", names.alice, f"news {number}", "--as", names.bob)
        await eventually(lambda: "news 4" in shown.drawn, 20)
        assert bells(shown) >= 1
        assert bells(shown) < 5


async def test_message_rings_only_while_terminal_is_not_focused(terminal: Terminal, names: Names) -> None:
    async with window(terminal, "chat", names.bob) as shown:
        await eventually(lambda: "hello bob" in shown.drawn and "Enter sends" in shown.drawn, 20)
        await terminal.ok("send", names.alice, "while she looks", "--as", names.bob)
        await eventually(lambda: "while she looks" in shown.drawn, 20)
        assert bells(shown) == 0
        shown.press(b"\x1b[O")
        await terminal.ok("send", names.alice, "while she is away", "--as", names.bob)
        await eventually(lambda: bells(shown) == 1, 20)


@pytest.mark.parametrize(("kind", "announced"), [("off", False), ("desktop", True)])
async def test_notifications_are_off_or_on_the_desktop(
    terminal: Terminal, names: Names, kind: str, announced: bool
) -> None:
    async with window(terminal, "chat", "--notify", kind) as shown:
        await eventually(lambda: "Enter: open" in shown.drawn, 20)
        await terminal.ok("send", names.alice, "dinner?", "--as", names.bob)
        await eventually(lambda: "dinner?" in shown.drawn.replace("\x1b]9;Parley: bob: dinner?\x1b\\", ""), 20)
        assert ("\x1b]9;Parley: bob: dinner?\x1b\\" in shown.drawn) == announced
        assert bells(shown) == 0


async def test_superseded_messenger_ends_with_one_sentence(terminal: Terminal, proxy: Proxy, names: Names) -> None:
    async with window(terminal, "chat") as first:
        await eventually(lambda: "bob" in first.drawn and proxy.streams, 20)
        async with window(terminal, "chat"):
            assert await first.ends() == 1
        await eventually(lambda: "opened elsewhere" in first.drawn)
        assert "Traceback" not in first.drawn


async def test_messenger_at_another_door_ends_with_one_sentence(terminal: Terminal, proxy: Proxy, names: Names) -> None:
    async with window(terminal, "chat", "--door", "127.0.0.1:9") as shown:
        assert await shown.ends() == 1
        await eventually(lambda: f"belongs to {proxy.address}" in shown.drawn)
        assert "Traceback" not in shown.drawn


async def test_damaged_state_file_is_reported_by_name_only(terminal: Terminal, tmp_path: Path, names: Names) -> None:
    (tmp_path / "parley" / f"{names.alice}.state.json").write_text("{")
    async with window(terminal, "chat") as shown:
        assert await shown.ends() == 1
        await eventually(lambda: f"{names.alice}.state.json" in shown.drawn)
        assert "Traceback" not in shown.drawn
