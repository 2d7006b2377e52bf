"""A chat by lines: what comes in is printed, what is piped in is sent."""

from __future__ import annotations

import asyncio
import sys

from rich.text import Text

from parley.chat.v1.conversation_pb2 import Conversation
from parley_client.cli import stdin_lines
from parley_client.cli.command import err, out
from parley_client.cli.directory import UserDirectory
from parley_client.cli.errors import CommandError, explain_error
from parley_client.cli.formatting import printable, format_entry
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

BACKLOG_SIZE = 20
# Of a line that was not sent.
MAX_QUOTED_CHARS = 100


class LineChat:
    """One conversation, until the lines end or the connection is ended for good.

    A line that cannot be sent is told on stderr, and in the end by Sorry.
    """

    def __init__(self, client: Client, people: UserDirectory, conversation: Conversation) -> None:
        self._client = client
        self._directory = people
        self._id = conversation.conversation_id
        self._last_shown_seq = 0
        self._backlog_shown = False
        self._pending: list[Sending] = []
        self._failed_count = 0

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
            await self._handle_event(device, event)

    async def _handle_event(self, device: Device, event: Event) -> None:
        if isinstance(event, ConnectionChanged):
            if event.state is ConnectionState.ENDED and event.error:
                raise event.error
        elif isinstance(event, CaughtUp) and not self._backlog_shown:
            self._backlog_shown = True
            await self._show_backlog(device)
        elif isinstance(event, EntryReceived) and event.conversation_id == self._id:
            if self._backlog_shown and event.seq > self._last_shown_seq:
                await self._show_entry(device, event)
        elif isinstance(event, ConversationGone) and event.conversation_id == self._id:
            raise event.error

    async def _show_backlog(self, device: Device) -> None:
        newest = [each async for each in self._client.messages.before(self._id, limit=BACKLOG_SIZE)]
        for entry in reversed(newest):
            self._print(await format_entry(entry, self._directory))
            self._last_shown_seq = entry.seq
        device.mark_read(self._id, self._last_shown_seq)

    async def _show_entry(self, device: Device, event: EntryReceived) -> None:
        self._last_shown_seq = event.seq
        self._print(await format_entry(event.entry, self._directory))
        device.mark_read(self._id, event.seq)

    async def _send_lines(self, device: Device) -> None:
        async for said in stdin_lines.read_lines(sys.stdin.fileno()):
            if said.strip():
                self._send(device, said.rstrip("\n"))
        while self._pending:
            # `wait` gives way even where all are answered, and so lets `_answered` be told.
            await asyncio.wait([each.answer for each in self._pending])
        if self._failed_count:
            raise CommandError("One line was not sent." if self._failed_count == 1 else f"{self._failed_count} lines were not sent.")

    def _send(self, device: Device, said: str) -> None:
        try:
            sending = device.send(self._id, said)
        except SendQueueFull:
            self._report_unsent(said, "Too much waits to be sent already; wait until the connection is back.")
            return
        except ParleyError as error:
            self._report_unsent(said, explain_error(error, ""))
            return
        self._pending.append(sending)
        sending.answer.add_done_callback(lambda _: self._on_answer(sending, said))

    def _on_answer(self, sending: Sending, said: str) -> None:
        self._pending.remove(sending)
        error = None if sending.answer.cancelled() else sending.answer.exception()
        if isinstance(error, ParleyError):
            self._report_unsent(said, explain_error(error, ""))

    def _report_unsent(self, said: str, why: str) -> None:
        self._failed_count += 1
        what = printable(said) if len(said) <= MAX_QUOTED_CHARS else f"{printable(said[:MAX_QUOTED_CHARS])}…"
        err.print(f"Not sent: “{what}”. {why}", style="red", soft_wrap=True)

    @staticmethod
    def _print(text: Text) -> None:
        out.print(text, soft_wrap=True)
