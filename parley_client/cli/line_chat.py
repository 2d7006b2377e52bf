"""A chat by lines: what comes in is printed, what is piped in is sent."""

from __future__ import annotations

import asyncio
import sys

from rich.text import Text

from parley.chat.v1.conversation_pb2 import Conversation
from parley_client.cli import stdin_lines
from parley_client.cli.command import err, out
from parley_client.cli.directory import People
from parley_client.cli.errors import Sorry, explain
from parley_client.cli.formatting import clean, line
from parley_client.client import Client
from parley_client.device import Device
from parley_client.dialogue import Sending
from parley_client.errors import ParleyError, SendQueueFull
from parley_client.events import (
    CaughtUp,
    ConnectionChanged,
    ConnectionState,
    ConversationGone,
    EntryReceived,
    Event,
)

BACKLOG = 20
# Of a line that was not sent.
SHOWN = 100


class ChatRoom:
    """One conversation, until the lines end or the connection is ended for good.

    A line that cannot be sent is told on stderr, and in the end by Sorry.
    """

    def __init__(self, client: Client, people: People, conversation: Conversation) -> None:
        self._client = client
        self._people = people
        self._id = conversation.conversation_id
        self._shown = 0
        self._begun = False
        self._waiting: list[Sending] = []
        self._unsent = 0

    async def run(self) -> None:
        """Until the lines end. Raises ParleyError when the connection is ended for good."""
        async with self._client.connect(history_from_start=False) as device:
            listening = asyncio.create_task(self._listen(device))
            talking = asyncio.create_task(self._send_lines(device))
            try:
                await asyncio.wait([listening, talking], return_when=asyncio.FIRST_COMPLETED)
            finally:
                listening.cancel()
                talking.cancel()
                results = await asyncio.gather(listening, talking, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _listen(self, device: Device) -> None:
        async for event in device:
            await self._take(device, event)

    async def _take(self, device: Device, event: Event) -> None:
        if isinstance(event, ConnectionChanged):
            if event.state is ConnectionState.ENDED and event.error:
                raise event.error
        elif isinstance(event, CaughtUp) and not self._begun:
            self._begun = True
            await self._show_backlog(device)
        elif isinstance(event, EntryReceived) and event.conversation_id == self._id:
            if self._begun and event.seq > self._shown:
                await self._show(device, event)
        elif isinstance(event, ConversationGone) and event.conversation_id == self._id:
            raise event.error

    async def _show_backlog(self, device: Device) -> None:
        newest = [each async for each in self._client.messages.before(self._id, limit=BACKLOG)]
        for entry in reversed(newest):
            self._print(await line(entry, self._people))
            self._shown = entry.seq
        device.mark_read(self._id, self._shown)

    async def _show(self, device: Device, event: EntryReceived) -> None:
        self._shown = event.seq
        self._print(await line(event.entry, self._people))
        device.mark_read(self._id, event.seq)

    async def _send_lines(self, device: Device) -> None:
        async for said in stdin_lines.lines(sys.stdin.fileno()):
            if said.strip():
                self._send(device, said.rstrip("\n"))
        while self._waiting:
            # `wait` gives way even where all are answered, and so lets `_answered` be told.
            await asyncio.wait([each.answer for each in self._waiting])
        if self._unsent:
            raise Sorry("One line was not sent." if self._unsent == 1 else f"{self._unsent} lines were not sent.")

    def _send(self, device: Device, said: str) -> None:
        try:
            sending = device.send(self._id, said)
        except SendQueueFull:
            self._not_sent(said, "Too much waits to be sent already; wait until the connection is back.")
            return
        except ParleyError as error:
            self._not_sent(said, explain(error, ""))
            return
        self._waiting.append(sending)
        sending.answer.add_done_callback(lambda _: self._answered(sending, said))

    def _answered(self, sending: Sending, said: str) -> None:
        self._waiting.remove(sending)
        error = None if sending.answer.cancelled() else sending.answer.exception()
        if isinstance(error, ParleyError):
            self._not_sent(said, explain(error, ""))

    def _not_sent(self, said: str, why: str) -> None:
        self._unsent += 1
        what = clean(said) if len(said) <= SHOWN else f"{clean(said[:SHOWN])}…"
        err.print(f"Not sent: “{what}”. {why}", style="red", soft_wrap=True)

    @staticmethod
    def _print(text: Text) -> None:
        out.print(text, soft_wrap=True)
