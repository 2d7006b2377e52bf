"""A chat over stdin and stdout: piped lines are sent, and received entries are printed."""

from __future__ import annotations

import asyncio
import sys

from rich.text import Text

from parley.chat.v1.conversation_pb2 import Conversation
from parley_client.cli import stdin_lines
from parley_client.cli.command import err, out
from parley_client.cli.directory import UserDirectory
from parley_client.cli.errors import CommandError, explain_error
from parley_client.cli.formatting import format_entry
from parley_client.cli.text import one_cell
from parley_client.client import Client
from parley_client.device import Device
from parley_client.errors import ParleyError
from parley_client.events import (
    CaughtUp,
    ConnectionChanged,
    ConnectionState,
    ConversationGone,
    EntryReceived,
    Event,
)
from parley_client.stream_protocol import PendingSend

BACKLOG_SIZE = 20
# A report about an unsent line quotes this many characters of it.
MAX_QUOTED_CHARS = 100


class LineChat:
    """A chat in one conversation, which ends with the piped lines or when the connection ends for good.

    Every line that cannot be sent is reported on stderr, and `run` then raises CommandError.
    """

    def __init__(self, client: Client, directory: UserDirectory, conversation: Conversation) -> None:
        self._client = client
        self._directory = directory
        self._id = conversation.conversation_id
        self._last_shown_seq = 0
        self._backlog_shown = False
        self._pending: list[PendingSend] = []
        self._failed_count = 0

    async def run(self) -> None:
        """Send and print until the lines end. Raise ParleyError if the connection ends for good."""
        async with self._client.connect(history_from_start=False) as device:
            receiving = asyncio.create_task(self._receive_events(device))
            sending_lines = asyncio.create_task(self._send_lines(device))
            try:
                await asyncio.wait([receiving, sending_lines], return_when=asyncio.FIRST_COMPLETED)
            finally:
                receiving.cancel()
                sending_lines.cancel()
                results = await asyncio.gather(receiving, sending_lines, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _receive_events(self, device: Device) -> None:
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
        newest = [message async for message in self._client.messages.list_before(self._id, limit=BACKLOG_SIZE)]
        for message in reversed(newest):
            self._print(await format_entry(message.entry, self._directory))
            self._last_shown_seq = message.seq
        device.mark_read(self._id, self._last_shown_seq)

    async def _show_entry(self, device: Device, event: EntryReceived) -> None:
        self._last_shown_seq = event.seq
        self._print(await format_entry(event.entry, self._directory))
        device.mark_read(self._id, event.seq)

    async def _send_lines(self, device: Device) -> None:
        async for line in stdin_lines.read_lines(sys.stdin.fileno()):
            if line.strip():
                await device.wait_for_room()
                self._send(device, line.rstrip("\n"))
        while self._pending:
            # Even if all answers are complete, `wait` yields to the event loop, which then calls `_on_answer`.
            await asyncio.wait([sending.result for sending in self._pending])
        if self._failed_count:
            failed = self._failed_count
            raise CommandError("One line was not sent." if failed == 1 else f"{failed} lines were not sent.")

    def _send(self, device: Device, line: str) -> None:
        try:
            sending = device.send(self._id, line)
        except ParleyError as error:
            self._report_unsent(line, explain_error(error, ""))
            return
        self._pending.append(sending)
        sending.result.add_done_callback(lambda _: self._on_answer(sending, line))

    def _on_answer(self, sending: PendingSend, line: str) -> None:
        self._pending.remove(sending)
        error = None if sending.result.cancelled() else sending.result.exception()
        if isinstance(error, ParleyError):
            self._report_unsent(line, explain_error(error, ""))

    def _report_unsent(self, line: str, reason: str) -> None:
        self._failed_count += 1
        quoted = one_cell(line) if len(line) <= MAX_QUOTED_CHARS else f"{one_cell(line[:MAX_QUOTED_CHARS])}…"
        err.print(f"Not sent: “{quoted}”. {reason}", style="red", soft_wrap=True)

    @staticmethod
    def _print(text: Text) -> None:
        out.print(text, soft_wrap=True)
