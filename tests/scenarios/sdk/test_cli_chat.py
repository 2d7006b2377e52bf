"""`parley chat` on a pipe that stays open: other commands leave it alone, another chat or a signal ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.eventually import eventually
from tests.proxy.rpc import Proxy
from tests.scenarios.sdk.people import People
from tests.terminal import Terminal

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]


@dataclass(frozen=True, slots=True)
class Chats:
    """Alice, who is signed in on a terminal, and the login name of bob."""

    terminal: Terminal
    proxy: Proxy
    alice: str
    bob: str

    @asynccontextmanager
    async def open_chat(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Yield a chat of alice with bob that is connected, and whose pipe stays open."""
        chat = await self.terminal.begin("chat", self.bob, "--as", self.alice)
        try:
            await eventually(lambda: any(stream.requests for stream in self.proxy.streams))
            yield chat
        finally:
            if chat.returncode is None:
                chat.kill()
            await chat.communicate()


@pytest.fixture
async def chats(terminal: Terminal, proxy: Proxy, people: People) -> Chats:
    return Chats(terminal, proxy, *await people.sign_in(terminal, "alice", "bob"))


async def end_of(chat: asyncio.subprocess.Process) -> tuple[int, str]:
    """Return its exit code and complaint, though nobody closed its pipe."""
    assert chat.stderr is not None
    async with asyncio.timeout(20):
        complaint = (await chat.stderr.read()).decode()
        return await chat.wait(), complaint


async def test_send_command_leaves_open_chat_connected(chats: Chats) -> None:
    async with chats.open_chat() as chat:
        assert "sent" in await chats.terminal.ok("send", chats.bob, "hello", "--as", chats.alice)
        assert chat.stdin is not None
        chat.stdin.write(b"and from here\n")
        chat.stdin.close()
        assert await end_of(chat) == (0, "")
    said = await chats.terminal.ok("history", chats.bob, "--as", chats.alice)
    assert [line[13:] for line in said.splitlines()] == ["hello", "and from here"]


async def test_superseded_chat_ends_with_one_sentence(chats: Chats) -> None:
    async with chats.open_chat() as chat:
        await chats.terminal.ok("chat", chats.bob, "--as", chats.alice, typed="I am here now\n")
        code, complaint = await end_of(chat)
        assert code == 1
        assert "opened elsewhere" in complaint
    assert len(chats.proxy.streams) == 2


async def test_interrupted_piped_chat_ends(chats: Chats) -> None:
    async with chats.open_chat() as chat:
        chat.send_signal(signal.SIGINT)
        assert await end_of(chat) == (130, "")
