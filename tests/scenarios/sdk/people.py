"""Accounts of one test on the system all tests share, and clients of the SDK that are signed in to them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TypeVar

from parley_client import Client, Device, Door, MemoryStore, Session, SessionStore
from tests.proxy.rpc import Proxy
from tests.raw.device import RawDevice
from tests.raw.world import World
from tests.terminal import Terminal

E = TypeVar("E")
TOKEN_SECONDS = 600.0
# A device may send so many at once.
BURST = 50


@dataclass(frozen=True, slots=True)
class Pair:
    """Clients of alice and bob, and their direct conversation."""

    alice: Client
    bob: Client
    chat: str

    @property
    def alice_id(self) -> str:
        return user_id(self.alice)

    @property
    def bob_id(self) -> str:
        return user_id(self.bob)


class People:
    """Clients that reach the system through `proxy`, closed together with `opened`.

    The first client of a name makes its account, whose display name it is; the others are further devices of it.
    Accounts are written into the store, for a password hash each would take most of the time of a test.
    """

    def __init__(self, world: World, proxy: Proxy, opened: AsyncExitStack) -> None:
        self.world = world
        self.proxy = proxy
        self._opened = opened
        self._suffix = uuid.uuid4().hex[:6]
        self._devices: dict[str, RawDevice] = {}

    def login_name(self, name: str) -> str:
        """Return a login name that no other test uses."""
        return f"{name}-{self._suffix}"

    async def session(self, name: str) -> Session:
        """Return the session of a new device."""
        if name in self._devices:
            device = await self.world.add_device(self._devices[name])
        else:
            device = await self.world.listed_user(self.login_name(name), name)
            self._devices[name] = device
        ends, home = time.time() + TOKEN_SECONDS, self.world.home_of(device.user_id)
        door = Door(self.proxy.address)
        return Session(device.user_id, device.device_id, self.login_name(name), device.token, ends, "", home, door=door)

    async def client_without_session(self, store: SessionStore | None = None) -> Client:
        """Return a client that is signed in only if `store` has a session."""
        return await self._opened.enter_async_context(Client(self.proxy.address, store=store))

    async def client(self, name: str, store: SessionStore | None = None) -> Client:
        """Return a client that is a new device."""
        store = store or MemoryStore()
        store.save(await self.session(name))
        return await self.client_without_session(store)

    async def old_client(self, name: str, display_name: str) -> Client:
        """Return a client whose account was made before display names had to keep a rule."""
        self._devices[name] = await self.world.listed_user(self.login_name(name), display_name)
        return await self.client(name)

    async def sign_in(self, terminal: Terminal, *names: str) -> list[str]:
        """Sign new devices in on a terminal; return their login names."""
        return [terminal.keep(await self.session(name)) for name in names]

    async def device(self, client: Client, **options: object) -> Device:
        """Return the connected device of a client."""
        device = await self._opened.enter_async_context(client.connect(**options))  # type: ignore[arg-type]
        await device.wait_connected()
        return device

    async def pair(self) -> Pair:
        """Return two new clients and their conversation."""
        alice, bob = await self.client("alice"), await self.client("bob")
        chat = await alice.conversations.get_or_create_direct(user_id(bob))
        return Pair(alice, bob, chat.conversation_id)

    async def write_history(self, name: str, conversation: str, texts: Sequence[str]) -> None:
        """Send texts one after the other, from as many devices as the rate of one device asks for."""
        for first in range(0, len(texts), BURST):
            client = await self.client(name)
            for text in texts[first : first + BURST]:
                await client.messages.send(conversation, text)


def user_id(client: Client) -> str:
    """Return the id of the user who is signed in."""
    assert client.session is not None
    return client.session.user_id


async def until(device: Device, kind: type[E]) -> E:
    """Return the next event of this kind and skip others."""
    async for event in device:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"the device ended before {kind.__name__}")
