"""The model of the messenger: conversations and connection state, updated by the events of one device."""

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
from parley_client.events import (
    CaughtUp,
    ConnectionChanged,
    ConnectionState,
    EntryReceived,
    Event,
    FrameRefused,
    PresenceChanged,
)
from parley_client.message import Message
from parley_client.messenger.conversation_state import ConversationState
from parley_client.messenger.presence import MAX_WATCHED_USERS, PeerPresence
from parley_client.messenger.terminal_text import one_line
from parley_client.messenger.thumbnails import Thumbnails
from parley_client.messenger.transfers import Transfers
from parley_client.view import ConversationView

PAGE_SIZE = 50
# A jump to an old message loads at most this many messages.
MAX_JUMP_MESSAGES = 2000
# The previews of so many conversations are checked: one may have been deleted for the user only.
MAX_CHECKED_PREVIEWS = 30
# The messenger asks the server for a sign of life once a second, and says so when none came within this time.
PROBE_INTERVAL_S = 1.0
SILENCE_S = 2.5


class MessengerModel:
    """The state that the widgets show.

    `on_change` is called with the id of a changed conversation, or "" if the list or the connection changed, and
    `on_message` with each new message of another user. The synchronous methods never wait for the network: `start` runs
    calls as tasks and shows their errors as `notice`.
    """

    def __init__(self, client: Client, door: str) -> None:
        self.client = client
        self.door = door
        self.directory = UserDirectory(client)
        self.own_id = client.session.user_id if client.session else ""
        self.conversations: dict[str, ConversationState] = {}
        self.list_loaded = False
        self.open_conversation: ConversationState | None = None
        self.connection = ConnectionState.CONNECTING
        self.presence = PeerPresence()
        self.notice = ""
        self.thumbnails: Thumbnails | None = None
        """The pictures of messages; None: the terminal shows none."""
        self.transfers = Transfers(lambda: self.on_change(""))
        self.on_change: Callable[[str], None] = lambda _: None
        self.on_message: Callable[[ConversationState, EntryReceived], None] = lambda *_: None
        self._device: Device | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._final_error: ParleyError | None = None
        self._requested_names: set[str] = set()
        self._refreshing: set[str] = set()
        self._watched_users: set[str] = set()
        self._retry_time = 0.0
        self._caught_up = False
        self._foreground = True

    async def run(self) -> None:
        """Handle events until cancelled. Raise ParleyError if the connection ends for good."""
        opening = self.client.connect(history_from_start=False)
        try:
            async with opening as device, asyncio.TaskGroup() as tasks:
                self._device, self._tasks = device, tasks
                device.set_foreground(self._foreground)
                self.start(self._load_list())
                probing = tasks.create_task(self._probe_link(device))
                async for event in device:
                    self._handle_event(event)
                probing.cancel()
        except* ParleyError:
            pass  # raised below, without the exception group
        finally:
            self._device = self._tasks = None
        if self._final_error:
            raise self._final_error

    def start(self, action: Coroutine[Any, Any, None]) -> None:
        """Run an action as a task; show its error as a notice."""
        if self._tasks is None:
            action.close()
            self.notify("Still connecting. Try again in a moment.")
        else:
            self._tasks.create_task(self._run_action(action))

    def notify(self, notice: str) -> None:
        """Show a sentence in the status line for a while."""
        self.notice = one_line(notice)
        self.on_change("")

    @property
    def device(self) -> Device:
        """The connected device. Raise CommandError before the first connection."""
        if self._device is None:
            raise CommandError("Still connecting. Try again in a moment.")
        return self._device

    def set_foreground(self, foreground: bool) -> None:
        """Tell the server whether the terminal has focus."""
        self._foreground = foreground
        if self._device is not None:
            self._device.set_foreground(foreground)

    @property
    def connected(self) -> bool:
        """True while the stream is open."""
        return self.connection is ConnectionState.CONNECTED

    @property
    def silent_for_s(self) -> float:
        """The seconds for which the server has not answered; 0 while that is no reason to worry."""
        silent_for_s = self._device.silent_for_s if self._device else 0.0
        return silent_for_s if silent_for_s > SILENCE_S else 0.0

    @property
    def retry_in_s(self) -> float:
        """The seconds until the next attempt to connect; 0: it is under way."""
        return max(0.0, self._retry_time - asyncio.get_running_loop().time())

    @property
    def unsent_count(self) -> int:
        """The number of messages being sent, refused ones excluded."""
        outgoing = [message for conversation in self.conversations.values() for message in conversation.outgoing]
        return sum(not message.error for message in outgoing) + self.transfers.upload_count

    def sorted_conversations(self, *, archived: bool = False) -> list[ConversationState]:
        """Return the archived conversations or the others: pinned ones first, then by newest entry."""
        shown = [
            conversation
            for conversation in self.conversations.values()
            if conversation.known and conversation.view.settings.archived == archived
        ]
        return sorted(
            shown, key=lambda conversation: (conversation.view.settings.pinned, conversation.newest_time), reverse=True
        )

    def display_name(self, user_id: str) -> str:
        """Return the display name of a user; fetch it if it is unknown, and return the start of the id until then."""
        if user_id == self.own_id:
            return "You"
        if user_id and user_id not in self._requested_names:
            self._requested_names.add(user_id)
            self.start(self._fetch_name(user_id))
        return one_line(self.directory.cached_name(user_id))

    def title(self, conversation: ConversationState) -> str:
        """Return the title of a group, or the name of the other member of a 1-1 conversation."""
        return one_line(conversation.view.title) if conversation.is_group else self.display_name(conversation.peer_id)

    def open(self, conversation: ConversationState | None) -> None:
        """Make a conversation the open one, and fetch its newest messages and watermarks."""
        self.open_conversation = conversation
        if conversation is not None:
            self.device.refresh(conversation.id)
            self.load_older(conversation)
            self.on_change(conversation.id)

    def load_older(self, conversation: ConversationState) -> None:
        """Fetch the page before the loaded messages, or the newest page if none is loaded."""
        if not conversation.loading and not conversation.complete:
            conversation.loading = True
            self.start(self._load_page(conversation, PAGE_SIZE))

    async def load_back_to(self, conversation: ConversationState, seq: int) -> bool:
        """Fetch pages until the message `seq` is loaded; return False if it is too old or gone.

        Raise ParleyError if a call fails.
        """
        while (
            conversation.view.message(seq) is None
            and not conversation.complete
            and len(conversation.view.messages) < MAX_JUMP_MESSAGES
        ):
            await self._load_page(conversation, 4 * PAGE_SIZE)
        return conversation.view.message(seq) is not None

    def mark_read(self, conversation: ConversationState) -> None:
        """Mark a loaded conversation as read up to its newest entry."""
        if conversation.view.head_seq > conversation.view.read_seq and conversation.loaded and self._device:
            self._device.mark_read(conversation.id, conversation.view.head_seq)

    def refresh(self, conversation_id: str) -> None:
        """Fetch the current description of a conversation."""
        if conversation_id not in self._refreshing:
            self._refreshing.add(conversation_id)
            self.start(self._fetch_conversation(conversation_id))

    def update_conversation(self, update: conversation_pb2.Conversation) -> ConversationState:
        """Apply a description from the server; return the conversation's state."""
        conversation = self._conversation(update.conversation_id)
        conversation.update(update)
        self._watch_peers()
        self.on_change(conversation.id)
        return conversation

    async def _run_action(self, action: Coroutine[Any, Any, None]) -> None:
        try:
            await action
        except ParleyError as error:
            self.notify(explain_error(error, self.door))
        except CommandError as error:
            self.notify(str(error))

    async def _load_list(self) -> None:
        backoff = Backoff()
        while not self.list_loaded:
            try:
                async for description in self.client.conversations.list():
                    self.update_conversation(description)
                self.list_loaded = True
            except (TryLater, TimedOut) as error:
                await asyncio.sleep(backoff.next(error.retry_after))
        for conversation in self.conversations.values():
            if not conversation.known:
                self.refresh(conversation.id)
        self._watch_peers()
        self.on_change("")
        for conversation in self.sorted_conversations()[:MAX_CHECKED_PREVIEWS]:
            await self._check_preview(conversation)

    async def _check_preview(self, conversation: ConversationState) -> None:
        """Fetch the newest message, because the head may be a reaction, or a message that the user deleted."""
        head = conversation.view.newest_item
        try:
            newest = [message async for message in self.client.messages.list_before(conversation.id, limit=1)]
        except ParleyError:
            return  # the preview shows the head
        conversation.view.apply_entries(newest)
        if isinstance(head, Message) and newest and newest[0].seq < head.seq:
            conversation.view.hide(head.seq)
        self.on_change(conversation.id)

    async def _probe_link(self, device: Device) -> None:
        """Redraw while the connection is lost or in doubt; in the foreground, ask the server for a sign of life."""
        was_lost = False
        while True:
            if self._foreground:
                device.set_foreground(True)
            is_lost = not self.connected or bool(self.silent_for_s)
            if is_lost or was_lost:
                self.on_change("")
            was_lost = is_lost
            await asyncio.sleep(PROBE_INTERVAL_S)

    def _watch_peers(self) -> None:
        """Watch the presence of the other members of the newest 1-1 conversations."""
        if self._device is None or not self.list_loaded:
            return
        direct = [each for each in self.conversations.values() if each.known and not each.is_group]
        direct.sort(key=lambda each: each.newest_time, reverse=True)
        peers = {each.peer_id for each in direct[:MAX_WATCHED_USERS]} - {self.own_id}
        if peers != self._watched_users:
            self._watched_users = peers
            self._device.watch_presence(peers)

    async def _fetch_conversation(self, conversation_id: str) -> None:
        try:
            self.update_conversation(await self.client.conversations.get(conversation_id))
        except NotFound:
            self._conversation(conversation_id).view.is_former_member = True
        finally:
            self._refreshing.discard(conversation_id)

    async def _load_page(self, conversation: ConversationState, limit: int) -> None:
        lowest = next((message.seq for message in conversation.view.messages), 0) if conversation.loaded else 0
        try:
            page = [entry async for entry in self.client.messages.list_before(conversation.id, lowest, limit)]
        finally:
            conversation.loading = False
        conversation.view.apply_entries(page)
        conversation.loaded, conversation.complete = True, len(page) < limit
        self.on_change(conversation.id)

    async def _fetch_name(self, user_id: str) -> None:
        try:
            await self.directory.display_name(user_id)
        except ParleyError:
            self._requested_names.discard(user_id)
            return
        self.on_change("")
        if self.open_conversation:
            self.on_change(self.open_conversation.id)

    def _conversation(self, conversation_id: str) -> ConversationState:
        return self.conversations.setdefault(
            conversation_id, ConversationState(ConversationView(conversation_id, self.own_id))
        )

    def _handle_event(self, event: Event) -> None:
        if isinstance(event, ConnectionChanged):
            self._handle_connection_change(event)
        elif isinstance(event, FrameRefused):
            # A deployment without presence refuses the watch; then none is shown.
            if event.error.reason != "DISABLED":
                self.notify(explain_error(event.error, self.door))
        elif isinstance(event, PresenceChanged):
            self.presence.apply(event)
            self.on_change("")
        elif isinstance(event, CaughtUp):
            self._caught_up = True
        elif conversation_id := getattr(event, "conversation_id", ""):
            self._apply_event(self._conversation(conversation_id), event)
            self.on_change(conversation_id)

    def _apply_event(self, conversation: ConversationState, event: Event) -> None:
        was_former = conversation.view.is_former_member
        conversation.view.apply(event)
        if isinstance(event, EntryReceived):
            conversation.remove_outgoing(event.entry.client_message_id, event.seq)
            conversation.advance_time(event.time)
            if self._is_news(event):
                self.on_message(conversation, event)
        # A member who was added again has missed the membership changes in between.
        if (self.list_loaded and not conversation.known) or (was_former and not conversation.view.is_former_member):
            self.refresh(conversation.id)

    def _is_news(self, event: EntryReceived) -> bool:
        """Return True for a message of another user that is new since the messenger was started."""
        is_message = event.entry.HasField("message_appended")
        return is_message and event.actor_id != self.own_id and (event.live or self._caught_up)

    def _handle_connection_change(self, event: ConnectionChanged) -> None:
        self.connection = event.state
        self._retry_time = asyncio.get_running_loop().time() + (event.retry_in or 0.0)
        if event.state is not ConnectionState.CONNECTED:
            self.presence.forget()
        if event.state is ConnectionState.ENDED:
            self._final_error = event.error
            if event.error:
                raise event.error
        if event.state is ConnectionState.CONNECTED and self.open_conversation and not self.open_conversation.loaded:
            self.load_older(self.open_conversation)
        self.on_change("")
