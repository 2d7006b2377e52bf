"""The view of a conversation that loads itself from the server and follows the events of the client's device."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from parley.chat.v1 import chat_pb2
from parley.chat.v1.conversation_pb2 import CONVERSATION_KIND_DIRECT, Conversation
from parley_client.accounts import Accounts
from parley_client.conversations import Conversations
from parley_client.errors import NotFound
from parley_client.events import ConversationChecked, EntryReceived, Event, WatermarkMoved
from parley_client.message import Message
from parley_client.messages import Messages
from parley_client.view import ConversationView

PAGE_SIZE = 50


class LiveView(ConversationView):
    """A ConversationView that `Client.view` returns, loaded with the newest messages.

    The client's device applies each event before it yields it, so the view is current for an application that iterates
    the device or awaits `Device.run`; the application does not call `apply`. The title of a 1-1 conversation is the
    display name of the other user.
    """

    def __init__(
        self, conversation_id: str, user_id: str, accounts: Accounts, conversations: Conversations, messages: Messages
    ) -> None:
        super().__init__(conversation_id, user_id, messages)
        self.complete = False
        """True once the history is loaded from its first message."""
        self.is_stale = True
        """True while the view misses changes that no event will bring; the device then loads it again."""
        self._accounts = accounts
        self._conversations = conversations
        self._history = messages
        self._lock = asyncio.Lock()
        self._peer_name = ""

    def apply(self, event: Event) -> bool:
        """Apply an event of the device; return False if it concerns another conversation, or none."""
        was_former_member = self.is_former_member
        if getattr(event, "conversation_id", None) == self.conversation_id:
            if isinstance(event, EntryReceived) and event.seq <= self.head_seq:
                event = replace(event, live=False)  # the unread count of `load` includes it
            elif isinstance(event, ConversationChecked) and event.head_seq > self.head_seq:
                self.is_stale = True  # the device skipped entries, because it began at the head of the log
        applied = super().apply(event)
        # A member who was added again has missed the changes in between.
        self.is_stale = self.is_stale or (was_former_member and not self.is_former_member)
        return applied

    async def load(self, limit: int = PAGE_SIZE) -> None:
        """Load the description, the watermarks, and the newest `limit` messages or all since the last `load`.

        Does nothing if the view is current. Raises ParleyError.
        """
        async with self._lock:
            if self.is_stale:
                known_seq = max((message.seq for message in self.messages), default=0)
                conversation = await self._conversations.get(self.conversation_id)
                self.is_stale = False
                try:
                    await self._load_messages(known_seq, limit)
                    await self._load_snapshot(conversation)
                except BaseException:
                    self.is_stale = True
                    raise

    async def load_older(self, limit: int = PAGE_SIZE) -> bool:
        """Load at most `limit` messages before the oldest loaded one; return False if there are no more.

        Raises ParleyError.
        """
        async with self._lock:
            oldest_seq = min((message.seq for message in self.messages), default=0)
            page = [each async for each in self._history.list_before(self.conversation_id, oldest_seq, limit)]
            self._apply_page(page, complete=len(page) < limit)
        return not self.complete

    async def _load_messages(self, known_seq: int, limit: int) -> None:
        page: list[Message] = []
        while True:
            before_seq = page[-1].seq if page else 0
            part = [each async for each in self._history.list_before(self.conversation_id, before_seq, limit)]
            page += part
            if len(part) < limit or not known_seq or part[-1].seq <= known_seq:
                break
        self._apply_page(page, complete=len(part) < limit)

    def _apply_page(self, page: list[Message], *, complete: bool) -> None:
        self.complete = self.complete or complete
        self.apply_entries(page)

    async def _load_snapshot(self, conversation: Conversation) -> None:
        title = await self._load_title(conversation)
        since = chat_pb2.EntryRange(conversation_id=self.conversation_id, after_seq=conversation.head_seq)
        newer = await self._history.list_entries([since])
        self.apply_conversation(conversation)
        self.title = title
        self.apply_entries(newer.entries)
        for result in newer.ranges:
            for each in result.watermarks:
                super().apply(WatermarkMoved(self.conversation_id, each.user_id, each.delivered_seq, each.read_seq))
            if result.complete:
                super().apply(ConversationChecked.from_proto(result))

    async def _load_title(self, conversation: Conversation) -> str:
        peers = [each.user_id for each in conversation.members if each.user_id != self.user_id]
        if conversation.kind != CONVERSATION_KIND_DIRECT or not peers:
            return conversation.title
        if not self._peer_name:
            try:
                self._peer_name = (await self._accounts.get_profile(peers[0])).display_name
            except NotFound:
                return ""  # the account was deleted
        return self._peer_name
