"""`parley chat` on a terminal of its own: it opens the messenger, and what ends it is a sentence."""

import asyncio
import fcntl
import os
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.unit.client.conftest import Cast
from tests.unit.client.test_cli import PARLEY, Terminal


class Window:
    """A command in a pseudo-terminal of 80 x 24, whose output is kept."""

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


@pytest.fixture
async def terminal(cast: Cast, tmp_path: Path) -> Terminal:
    terminal = Terminal(cast.door, tmp_path)
    for name in ("bob", "alice"):
        await terminal.ok("register", name)
    terminal.environment["PARLEY_AS"] = "alice"
    await terminal.ok("send", "bob", "hello bob")
    return terminal


async def test_it_opens_with_the_conversation_that_was_named_and_leaves_by_a_key(terminal: Terminal) -> None:
    async with window(terminal, "chat", "bob") as shown:
        await eventually(lambda: "hello bob" in shown.drawn and "Enter sends" in shown.drawn, 20)
        shown.press(b"\x11")
        assert await shown.ends() == 0


async def test_a_second_one_takes_over_and_the_first_says_so(terminal: Terminal, cast: Cast) -> None:
    async with window(terminal, "chat") as first:
        await eventually(lambda: "bob" in first.drawn and cast.stage.streams, 20)
        async with window(terminal, "chat"):
            assert await first.ends() == 1
        await eventually(lambda: "opened elsewhere" in first.drawn)
        assert "Traceback" not in first.drawn


async def test_a_damaged_place_is_named_and_nothing_else(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "parley" / "alice.state.json").write_text("{")
    async with window(terminal, "chat") as shown:
        assert await shown.ends() == 1
        await eventually(lambda: "alice.state.json" in shown.drawn)
        assert "Traceback" not in shown.drawn
