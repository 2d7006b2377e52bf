"""A chat on a terminal: what comes in is printed above the prompt, what is typed is sent."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import HTML, AnyFormattedText
from prompt_toolkit.patch_stdout import patch_stdout
from rich.console import Console
from rich.text import Text

from parley.chat.v1.conversation_pb2 import Conversation
from parley_client.cli import piped
from parley_client.cli.lines import clean, line
from parley_client.cli.people import People
from parley_client.cli.words import explain
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
    TypingChanged,
)

HELP = "Type and press Enter. /help shows this, /quit or Ctrl-D leaves."
BACKLOG = 20
# Others are told at most this often that one types, and believe it for 6 s.
TYPING_EVERY = 3.0
TYPING_LASTS = 6.0


class ChatRoom:
    """One conversation on the screen, until the person leaves or the connection is ended for good."""

    def __init__(self, client: Client, people: People, conversation: Conversation, title: str) -> None:
        self._client = client
        self._people = people
        self._id = conversation.conversation_id
        self._title = title
        self._me = client.session.user_id if client.session else ""
        self._others = [member.user_id for member in conversation.members if member.user_id != self._me]
        self._shown = 0
        self._mine = 0
        self._begun = False
        self._waiting: list[Sending] = []
        self._typists: dict[str, float] = {}
        self._told_typing = 0.0
        self._state = ConnectionState.CONNECTING
        self._session: PromptSession[str] | None = None

    async def run(self) -> None:
        """Until the person leaves. Raises ParleyError when the connection is ended for good."""
        async with self._client.connect(history_from_start=False) as device:
            listening = asyncio.create_task(self._listen(device))
            talking = asyncio.create_task(self._talk(device))
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
            if self._session:
                self._session.app.invalidate()

    async def _take(self, device: Device, event: Event) -> None:
        if isinstance(event, ConnectionChanged):
            self._state = event.state
            if event.state is ConnectionState.ENDED and event.error:
                raise event.error
        elif isinstance(event, CaughtUp) and not self._begun:
            self._begun = True
            await self._show_backlog(device)
        elif isinstance(event, EntryReceived) and event.conversation_id == self._id:
            self._typists.pop(event.actor_id, None)
            if self._begun and event.seq > self._shown:
                await self._show(device, event)
        elif isinstance(event, TypingChanged) and event.conversation_id == self._id:
            self._typists[event.user_id] = time.monotonic() + TYPING_LASTS if event.typing else 0.0
            await self._people.name(event.user_id)
        elif isinstance(event, ConversationGone) and event.conversation_id == self._id:
            raise event.error

    async def _show_backlog(self, device: Device) -> None:
        newest = [each async for each in self._client.messages.before(self._id, limit=BACKLOG)]
        for entry in reversed(newest):
            self._print(await line(entry, self._people))
            self._shown = entry.seq
            if entry.actor_id == self._me:
                self._mine = entry.seq
        device.mark_read(self._id, self._shown)

    async def _show(self, device: Device, event: EntryReceived) -> None:
        self._shown = event.seq
        if event.actor_id == self._me and event.text is not None:
            self._mine = event.seq
        self._print(await line(event.entry, self._people))
        device.mark_read(self._id, event.seq)

    async def _talk(self, device: Device) -> None:
        if not sys.stdin.isatty():
            await self._send_lines(device)
            return
        self._session = PromptSession(erase_when_done=True)
        self._session.default_buffer.on_text_changed += lambda _: self._tell_typing(device)
        self._print(Text(f"{self._title} — {HELP}", style="dim"))
        with patch_stdout(raw=True):
            while True:
                try:
                    said = await self._session.prompt_async("› ", bottom_toolbar=lambda: self._toolbar(device))
                except (EOFError, KeyboardInterrupt):
                    return
                if said.strip() == "/quit":
                    return
                self._say(device, said.strip())

    def _say(self, device: Device, said: str) -> None:
        if said == "/help":
            self._print(Text(HELP, style="dim"))
        elif said.startswith("/") and not said.startswith("//"):
            self._print(Text(f"There is no {said.split()[0]}. {HELP}", style="dim"))
        elif said:
            self._send(device, said.removeprefix("/") if said.startswith("//") else said)

    def _send(self, device: Device, said: str) -> None:
        try:
            sending = device.send(self._id, said)
        except SendQueueFull:
            self._print(Text("Too much waits to be sent already; wait until the connection is back.", style="red"))
            return
        except ParleyError as error:
            self._print(Text(explain(error, ""), style="red"))
            return
        self._waiting.append(sending)
        sending.answer.add_done_callback(lambda _: self._answered(sending, said))

    def _answered(self, sending: Sending, said: str) -> None:
        self._waiting.remove(sending)
        error = None if sending.answer.cancelled() else sending.answer.exception()
        if isinstance(error, ParleyError):
            self._print(Text(f"Not sent: “{clean(said)}”. {explain(error, '')}", style="red"))

    async def _send_lines(self, device: Device) -> None:
        async for said in piped.lines(sys.stdin.fileno()):
            if said.strip():
                self._send(device, said.rstrip("\n"))
        while self._waiting:
            with suppress(ParleyError):
                await self._waiting[0]

    def _tell_typing(self, device: Device) -> None:
        now = time.monotonic()
        text = self._session.default_buffer.text if self._session else ""
        if text and not text.startswith("/") and now - self._told_typing > TYPING_EVERY:
            self._told_typing = now
            device.typing(self._id)

    def _toolbar(self, device: Device) -> AnyFormattedText:
        parts = [self._connection(), self._tick(device), self._typing()]
        return HTML("<i>{}</i>").format("   ".join(part for part in parts if part) or self._title)

    def _connection(self) -> str:
        if self._state is ConnectionState.CONNECTED:
            return ""
        waiting = f", {len(self._waiting)} to be sent" if self._waiting else ""
        return f"connecting…{waiting}" if self._state is ConnectionState.CONNECTING else f"reconnecting…{waiting}"

    def _tick(self, device: Device) -> str:
        """How far the own newest message has got: with all others, for a group."""
        if self._waiting:
            return "· sending"
        if not self._mine:
            return ""
        marks = [device.watermark(self._id, user) for user in self._others]
        if marks and min(read for _, read in marks) >= self._mine:
            return "✓✓ read"
        if marks and min(delivered for delivered, _ in marks) >= self._mine:
            return "✓✓ delivered"
        return "✓ sent"

    def _typing(self) -> str:
        now = time.monotonic()
        typing = [user for user, until in self._typists.items() if until > now and user != self._me]
        names = [clean(self._people.known(user)) for user in typing]
        return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} typing…" if names else ""

    def _print(self, text: Text) -> None:
        # A console made anew writes through whatever stands in for stdout while the prompt is there.
        Console(file=sys.stdout, highlight=False, force_terminal=sys.stdin.isatty() or None).print(text, soft_wrap=True)
