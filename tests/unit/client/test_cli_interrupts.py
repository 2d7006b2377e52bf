"""Signals to a command that reads from a person: it ends at once, and leaves the terminal as it was."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from parley_client import Door, Session
from tests.eventually import eventually
from tests.terminal import PARLEY, Terminal

NOWHERE = "127.0.0.1:9"
ALTERNATE_SCREEN, MAIN_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
TIMEOUT_S = 20


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    terminal = Terminal(NOWHERE, tmp_path, "password")
    terminal.keep(Session("0" * 32, "1" * 32, "alice", "token", 0.0, "refresh", door=Door(NOWHERE)))
    return terminal


class Screen:
    """A pseudo-terminal; `shown` is everything that was written to it."""

    def __init__(self) -> None:
        self.shown = b""
        self._master, self.slave = pty.openpty()
        os.set_blocking(self._master, False)
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def _read(self) -> None:
        self.shown += os.read(self._master, 65536)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        os.close(self.slave)


@pytest.fixture
async def screen() -> AsyncIterator[Screen]:
    screen = Screen()
    yield screen
    screen.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


@asynccontextmanager
async def command(
    terminal: Terminal, stdin: int, stdout: int, *words: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {**terminal.environment, "TERM": "xterm-256color"}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARLEY, *words), env=environment, stdin=stdin, stdout=stdout, stderr=stdout
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


def unread_bytes(descriptor: int) -> int:
    (count,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4))
    return int(count)


async def exit_code(child: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(TIMEOUT_S):
        return await child.wait()


async def test_interrupted_send_from_stdin_ends(terminal: Terminal, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.write(writer, b"an unfinished text\n")
    async with command(terminal, reader, asyncio.subprocess.DEVNULL, "send", "bob", "-") as child:
        await eventually(lambda: unread_bytes(reader) == 0, TIMEOUT_S)
        child.send_signal(signal.SIGINT)
        assert await exit_code(child) == 130


async def test_interrupted_confirmation_of_a_deletion_ends(terminal: Terminal, screen: Screen) -> None:
    async with command(terminal, screen.slave, screen.slave, "delete-account") as child:
        await eventually(lambda: b"Type alice to delete" in screen.shown, TIMEOUT_S)
        child.send_signal(signal.SIGINT)
        assert await exit_code(child) == 130


async def test_terminated_messenger_restores_the_terminal(terminal: Terminal, screen: Screen) -> None:
    async with command(terminal, screen.slave, screen.slave, "chat") as child:
        await eventually(lambda: ALTERNATE_SCREEN in screen.shown and b"Ctrl+Q" in screen.shown, TIMEOUT_S)
        child.terminate()
        assert await exit_code(child) == 128 + signal.SIGTERM
    await eventually(lambda: MAIN_SCREEN in screen.shown)
