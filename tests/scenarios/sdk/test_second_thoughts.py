"""Members edit, delete and react at random; connected, offline, lossy and new devices see the same messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from random import Random

import pytest

from devstack.stack import Stack
from parley_client import Client, ConversationView, Device, MemoryStore, NotFound
from tests.eventually import eventually
from tests.proxy.frame_faults import FaultKind, FrameFault, calls_of_device
from tests.proxy.rpc import Proxy
from tests.raw.world import PASSWORD

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]

MESSAGES = 8
THOUGHTS = 60
WORDS = ["red", "green", "blue", "grey", "a longer thought, with more words in it"]
EMOJIS = ["👍", "❤", "🎉", ""]

Shown = tuple[int, str, bool, bool, dict[str, str]]


class Watcher:
    """A device that folds all events into a view; `connect` and `close` may be called repeatedly."""

    def __init__(self, client: Client, conversation: str) -> None:
        assert client.session is not None
        self._client = client
        self._open = AsyncExitStack()
        self._task: asyncio.Task[None] | None = None
        self.view = ConversationView(conversation, client.session.user_id)

    async def connect(self) -> None:
        """Connect."""
        open_device = await self._open.enter_async_context(self._client.connect())
        self._task = asyncio.create_task(self._watch(open_device))
        await open_device.wait_connected()

    async def close(self) -> None:
        """Close the device."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._open.aclose()

    async def _watch(self, open_device: Device) -> None:
        async for event in open_device:
            self.view.apply(event)


class ProxiedAccounts:
    """Alice and bob in a group, and the devices of bob."""

    def __init__(self, stack: Stack, proxy: Proxy, opened: AsyncExitStack) -> None:
        self._stack = stack
        self._proxy = proxy
        self._opened = opened
        self.alice: Client
        self.bob: Client
        self.group = ""
        self.fault: FrameFault

    async def gather(self) -> ProxiedAccounts:
        """Register the users and create the group."""
        self.alice, self.bob = await self._client(), await self._client()
        suffix = self.alice.new_id()[-12:]
        await self.alice.accounts.register(f"alice-{suffix}", PASSWORD)
        bobs = await self.bob.accounts.register(f"bob-{suffix}", PASSWORD)
        self.group = (await self.alice.conversations.create_group("thoughts", [bobs.user_id])).conversation_id
        return self

    async def watcher(self, *, robbed: bool = False) -> Watcher:
        """Return another device of bob; if `robbed`, behind a proxy that drops one of its frames."""
        client = await self._client(self._proxy.address if robbed else self._stack.door)
        assert self.bob.session is not None
        session = await client.accounts.login(self.bob.session.login_name, PASSWORD)
        if robbed:
            self._proxy.rule = self.fault = FrameFault(
                FaultKind.DROP, nth=9, victims=calls_of_device(session.device_id)
            )
        watcher = Watcher(client, self.group)
        await watcher.connect()
        self._opened.push_async_callback(watcher.close)
        return watcher

    async def _client(self, door: str = "") -> Client:
        return await self._opened.enter_async_context(Client(door or self._stack.door, store=MemoryStore()))


@pytest.fixture
async def environment(stack: Stack, proxy: Proxy) -> AsyncIterator[ProxiedAccounts]:
    async with AsyncExitStack() as opened:
        yield await ProxiedAccounts(stack, proxy, opened).gather()


async def change_random_message(environment: ProxiedAccounts, random: Random, seqs: list[int]) -> None:
    """Let a random user edit, delete or react to a random message; deleted messages cannot be changed."""
    who = random.choice([environment.alice, environment.bob])
    seq = random.choice(seqs)
    owner = environment.alice if seqs.index(seq) % 2 else environment.bob
    what = random.choice(["edit", "edit", "react", "react", "react", "delete"])
    with suppress(NotFound):
        if what == "edit":
            await owner.messages.edit(environment.group, seq, random.choice(WORDS))
        elif what == "react":
            await who.messages.set_reaction(environment.group, seq, random.choice(EMOJIS))
        elif seq in seqs[:2]:
            await owner.messages.delete(environment.group, seq, for_all=True)


def shown(view: ConversationView) -> list[Shown]:
    return [(each.seq, each.text, each.edited, each.deleted, dict(each.reactions)) for each in view.messages]


async def test_edits_and_deletions_reach_all_devices_identically(environment: ProxiedAccounts) -> None:
    random = Random(20)
    seqs = []
    for number in range(MESSAGES):
        who = environment.alice if number % 2 else environment.bob
        seqs.append((await who.messages.send(environment.group, f"first thought {number}")).seq)
    there, comes_and_goes, robbed = [await environment.watcher(robbed=n == 2) for n in range(3)]
    for number in range(THOUGHTS):
        if number % 15 == 5:
            await comes_and_goes.close()
        elif number % 15 == 12:
            await comes_and_goes.connect()
        await change_random_message(environment, random, seqs)
    new = await environment.watcher()
    history = ConversationView(environment.group, new.view.user_id)
    history.apply_entries([entry async for entry in environment.bob.messages.list_before(environment.group)])
    wanted = shown(history)
    assert len(wanted) == MESSAGES
    watchers = [there, comes_and_goes, robbed, new]
    for watcher in watchers:
        await eventually(partial(shows, watcher.view, wanted))
    assert [each.view.timeline == new.view.timeline for each in watchers] == [True] * 4
    assert environment.fault.done, "no frame was lost"


def shows(view: ConversationView, wanted: list[Shown]) -> bool:
    return shown(view) == wanted
