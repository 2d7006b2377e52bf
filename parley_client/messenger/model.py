"""The model of the messenger: the conversations and the connection, kept by the events of one device."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from parley.chat.v1 import conversation_pb2
from parley_client.backoff import Backoff
from parley_client.cli.directory import UserDirectory
from parley_client.cli.errors import CommandError, explain_error
from parley_client.client import Client
from parley_client.device import Device
from parley_client.errors import NotFound, ParleyError, TimedOut, TryLater
from parley_client.events import ConnectionChanged, ConnectionState, EntryReceived, Event, FrameRefused
from parley_client.messenger.conversation_state import Chat
from parley_client.messenger.terminal_text import tidy
from parley_client.view import ConversationView

PAGE = 50
# How far back a jump to an old message loads.
FURTHEST = 2000


class Messenger:
    """Everything the widgets show. `changed` is called with the id of what changed; "": the list or the connection.

    Nothing here waits for the network but `run`; what a person does is done beside it, and trouble becomes `notice`.
    """

    def __init__(self, client: Client, door: str) -> None:
        self.client = client
        self.door = door
        self.people = UserDirectory(client)
        self.me = client.session.user_id if client.session else ""
        self.chats: dict[str, Chat] = {}
        self.listed = False
        self.opened: Chat | None = None
        self.connection = ConnectionState.CONNECTING
        self.notice = ""
        self.changed: Callable[[str], None] = lambda _: None
        self._device: Device | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._ended: ParleyError | None = None
        self._asked: set[str] = set()
        self._getting: set[str] = set()

    async def run(self) -> None:
        """Until it is cancelled. Raises ParleyError when the connection has ended for good."""
        try:
            async with self.client.connect(history_from_start=False) as device, asyncio.TaskGroup() as tasks:
                self._device, self._tasks = device, tasks
                self.begin(self._list())
                async for event in device:
                    self._take(event)
        except* ParleyError:
            pass  # what ended it is told below, bare
        finally:
            self._device = self._tasks = None
        if self._ended:
            raise self._ended

    def begin(self, deed: Coroutine[Any, Any, None]) -> None:
        """Do something beside the rest. What is refused is told to the person."""
        if self._tasks is None:
            deed.close()
            self.tell("Still connecting; try again in a moment.")
        else:
            self._tasks.create_task(self._done(deed))

    def tell(self, notice: str) -> None:
        """Show a sentence for a while."""
        self.notice = notice
        self.changed("")

    @property
    def device(self) -> Device:
        """The device. Raises Sorry while there is none."""
        if self._device is None:
            raise CommandError("Still connecting; try again in a moment.")
        return self._device

    @property
    def connected(self) -> bool:
        """Whether a stream is open."""
        return self.connection is ConnectionState.CONNECTED

    @property
    def unsent(self) -> int:
        """How many messages are on their way."""
        return sum(not each.trouble for chat in self.chats.values() for each in chat.outgoing)

    def listing(self, *, archived: bool = False) -> list[Chat]:
        """The conversations to show: pinned ones first, then the newest; the archived ones stand apart."""
        shown = [each for each in self.chats.values() if each.known and each.view.settings.archived == archived]
        return sorted(shown, key=lambda each: (each.view.settings.pinned, each.newest_time), reverse=True)

    def name(self, user_id: str) -> str:
        """What to call a user now; a name that is not known yet is asked for."""
        if user_id == self.me:
            return "You"
        if user_id and user_id not in self._asked:
            self._asked.add(user_id)
            self.begin(self._ask_name(user_id))
        return tidy(self.people.cached_name(user_id))

    def title(self, chat: Chat) -> str:
        """What to call a conversation."""
        return tidy(chat.view.title) if chat.group else self.name(chat.peer_id)

    def open(self, chat: Chat | None) -> None:
        """Show a conversation; its newest messages and watermarks are fetched."""
        self.opened = chat
        if chat is not None:
            self.device.look(chat.id)
            self.load(chat)
            self.changed(chat.id)

    def load(self, chat: Chat) -> None:
        """Fetch the newest messages, or the page before those that are here."""
        if not chat.loading and not chat.complete:
            chat.loading = True
            self.begin(self._load(chat, PAGE))

    async def load_back_to(self, chat: Chat, seq: int) -> bool:
        """Fetch until the message `seq` is here; whether it is. Raises ParleyError."""
        while chat.view.message(seq) is None and not chat.complete and len(chat.view.messages) < FURTHEST:
            await self._load(chat, 4 * PAGE)
        return chat.view.message(seq) is not None

    def see(self, chat: Chat) -> None:
        """The person has the newest messages before the eyes."""
        if chat.view.head_seq > chat.view.read_seq and chat.loaded and self._device:
            self._device.mark_read(chat.id, chat.view.head_seq)

    def refresh(self, conversation_id: str) -> None:
        """Ask what a conversation is now."""
        if conversation_id not in self._getting:
            self._getting.add(conversation_id)
            self.begin(self._get(conversation_id))

    def told(self, conversation: conversation_pb2.Conversation) -> Chat:
        """The server told what a conversation is."""
        chat = self._chat(conversation.conversation_id)
        chat.told(conversation)
        self.changed(chat.id)
        return chat

    async def _done(self, deed: Coroutine[Any, Any, None]) -> None:
        try:
            await deed
        except ParleyError as error:
            self.tell(explain_error(error, self.door))
        except CommandError as sorry:
            self.tell(str(sorry))

    async def _list(self) -> None:
        backoff = Backoff()
        while not self.listed:
            try:
                async for each in self.client.conversations.list():
                    self.told(each)
                self.listed = True
            except (TryLater, TimedOut) as error:
                await asyncio.sleep(backoff.next(error.retry_after))
        for chat in self.chats.values():
            if not chat.known:
                self.refresh(chat.id)
        self.changed("")

    async def _get(self, conversation_id: str) -> None:
        try:
            self.told(await self.client.conversations.get(conversation_id))
        except NotFound:
            self._chat(conversation_id).view.former = True
        finally:
            self._getting.discard(conversation_id)

    async def _load(self, chat: Chat, limit: int) -> None:
        lowest = next((each.seq for each in chat.view.messages), 0) if chat.loaded else 0
        try:
            page = [each async for each in self.client.messages.before(chat.id, lowest, limit)]
        finally:
            chat.loading = False
        chat.view.read(page)
        chat.loaded, chat.complete = True, len(page) < limit
        self.changed(chat.id)

    async def _ask_name(self, user_id: str) -> None:
        try:
            await self.people.display_name(user_id)
        except ParleyError:
            self._asked.discard(user_id)
            return
        self.changed("")
        if self.opened:
            self.changed(self.opened.id)

    def _chat(self, conversation_id: str) -> Chat:
        return self.chats.setdefault(conversation_id, Chat(ConversationView(conversation_id, self.me)))

    def _take(self, event: Event) -> None:
        if isinstance(event, ConnectionChanged):
            self._connection(event)
        elif isinstance(event, FrameRefused):
            self.tell(explain_error(event.error, self.door))
        elif conversation_id := getattr(event, "conversation_id", ""):
            self._take_in(self._chat(conversation_id), event)
            self.changed(conversation_id)

    def _take_in(self, chat: Chat, event: Event) -> None:
        was_former = chat.view.former
        chat.view.take(event)
        if isinstance(event, EntryReceived):
            chat.arrived(event.entry.client_message_id)
            chat.happened(event.time)
        # Who comes back has missed who else came and went.
        if (self.listed and not chat.known) or (was_former and not chat.view.former):
            self.refresh(chat.id)

    def _connection(self, event: ConnectionChanged) -> None:
        self.connection = event.state
        if event.state is ConnectionState.ENDED:
            self._ended = event.error
            if event.error:
                raise event.error
        if event.state is ConnectionState.CONNECTED and self.opened and not self.opened.loaded:
            self.load(self.opened)
        self.changed("")
