"""A device of the SDK that records all events and can reconnect with its stored state."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import AsyncExitStack

from parley_client import Client, Device, Door, EntryReceived, MemoryStore, Session, SessionStore
from tests.eventually import eventually
from tests.raw.device import RawDevice

TOKEN_SECONDS = 600.0
CONNECT_SECONDS = 30.0


class RecordingDevice:
    """An async context manager with a connected device. `pages` has the received entries by conversation, in order.

    `who` names the account and the device; its own stream is never opened. `door` is where the SDK connects.
    """

    def __init__(self, who: RawDevice, door: str, store: SessionStore | None = None, *, repair: bool = True) -> None:
        self.who = who
        self.pages: dict[str, list[EntryReceived]] = defaultdict(list)
        self._door = door
        self._repair = repair
        self._store = store or MemoryStore()
        # Anything but a good token would need a password: see World.
        ends = time.time() + TOKEN_SECONDS
        self._store.save(Session(who.user_id, who.device_id, "raw", who.token, ends, "", door=Door(door)))
        self._open = AsyncExitStack()
        self.client: Client
        self._device: Device | None = None
        self._notes: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """True between `connect` and `disconnect`."""
        return self._device is not None

    @property
    def device(self) -> Device:
        """Return the connected device."""
        assert self._device is not None, "this device is away"
        return self._device

    async def __aenter__(self) -> RecordingDevice:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()

    async def connect(self) -> None:
        """Connect with a new client that has only the state in the store."""
        self.client = await self._open.enter_async_context(Client(self._door, store=self._store))
        self._device = await self._open.enter_async_context(self.client.connect(repair=self._repair))
        self._notes = asyncio.create_task(self._record(self._device))
        await self._device.wait_connected(CONNECT_SECONDS)

    async def disconnect(self) -> None:
        """Close device and client; unanswered sends fail, and recorded entries count as consumed."""
        if self._notes is not None:
            self._notes.cancel()
            await asyncio.gather(self._notes, return_exceptions=True)
        await self._open.aclose()
        self._device = None

    def seqs(self, conversation: str) -> list[int]:
        """Return the seqs of a conversation in order of delivery."""
        return [entry.seq for entry in self.pages[conversation]]

    async def wait_for_entries(self, conversation: str, count: int, timeout: float = 20.0) -> None:
        """Wait until at least `count` entries of a conversation were delivered."""
        await eventually(lambda: len(self.pages[conversation]) >= count, timeout)

    async def _record(self, device: Device) -> None:
        async for event in device:
            if isinstance(event, EntryReceived):
                self.pages[event.conversation_id].append(event)
