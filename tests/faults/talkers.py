"""Devices that send: by the SDK, as an app does, and by raw frames, so that no SDK hides a server's fault.

A refusal of a user who is not a member at that moment is not an error.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Self

from parley.chat.v1 import chat_pb2
from parley_client import Client, Door, EntryReceived, MemoryStore, NotFound, ParleyError, Session
from parley_client.stream_protocol import PendingSend
from tests.faults.journal import Journal, Resumed, Send
from tests.raw.device import RawDevice
from tests.raw.follower import Follower
from tests.raw.refusal import of_status

# Longer than any run.
TOKEN_S = 7200.0


class SdkTalker:
    """A device of the SDK. `who` names account and device; its own stream is never opened."""

    def __init__(self, name: str, who: RawDevice, door: str, journal: Journal) -> None:
        self.name = name
        self.who = who
        self.errors: list[str] = []
        self._journal = journal
        self._store = MemoryStore()
        ends = time.time() + TOKEN_S
        self._store.save(Session(who.user_id, who.device_id, "raw", who.token, ends, "", door=Door(door)))
        self._client = Client(door, store=self._store)
        self._open = AsyncExitStack()
        journal.users[name] = who.user_id
        journal.in_order.add(name)

    async def __aenter__(self) -> Self:
        client = await self._open.enter_async_context(self._client)
        self._device = await self._open.enter_async_context(client.connect())
        self._notes = asyncio.create_task(self._write_down())
        await self._device.wait_connected(30.0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._notes.cancel()
        await asyncio.gather(self._notes, return_exceptions=True)
        await self._open.aclose()

    @property
    def client(self) -> Client:
        """Return the client, which shares its connection with the device."""
        return self._client

    def say(self, conversation: str, text: str) -> None:
        """Send without waiting."""
        send = self._journal.says(self.name, conversation, text)
        try:
            sending = self._device.send(conversation, text)
        except ParleyError as error:
            self._journal.refuse(send, repr(error))
            self.errors.append(f"{send}: {error!r}")
            return
        sending.result.add_done_callback(lambda _: self._answered(send, sending))

    def _answered(self, send: Send, sending: PendingSend) -> None:
        if sending.result.cancelled():
            return
        if (error := sending.result.exception()) is None:
            self._journal.answer(send, sending.result.result().seq)
        else:
            self._journal.refuse(send, repr(error))
            if not isinstance(error, NotFound):
                self.errors.append(f"{send}: {error!r}")

    async def _write_down(self) -> None:
        try:
            async for event in self._device:
                if isinstance(event, EntryReceived):
                    self._journal.gives(self.name, event.entry)
        except ParleyError as error:
            self.errors.append(repr(error))


class RawTalker(Follower):
    """A device that uses the contract without the SDK."""

    def __init__(self, name: str, who: RawDevice, journal: Journal, **where: str) -> None:
        super().__init__(who, **where)
        self.name = name
        self.who = who
        self.errors = self._complaints
        self._journal = journal
        self._sends: dict[str, Send] = {}
        who.strict = False
        who.on_entry = lambda entry: journal.gives(name, entry)
        journal.users[name] = who.user_id

    def say(self, conversation: str, text: str) -> None:
        """Send without waiting."""
        self._sends[self.send(conversation, text)] = self._journal.says(self.name, conversation, text)

    def on_result(self, key: str, answer: chat_pb2.SendResult) -> None:
        """Record a result, repeats included."""
        send = self._sends[key]
        if answer.HasField("appended"):
            self._journal.answer(send, answer.appended.seq)
        else:
            refusal = of_status(answer.refused)
            self._journal.refuse(send, str(refusal))
            if refusal.code != "NOT_FOUND":
                self.errors.append(f"{send}: {refusal}")

    def on_caught_up(self, opened_at: float) -> None:
        """Record that the device has fetched every conversation of the stream's first `changes`."""
        self._journal.resumed.append(Resumed(self.name, opened_at, time.monotonic()))


Talker = SdkTalker | RawTalker
"""A device by name, of a user; `errors` has what went wrong that should not."""
