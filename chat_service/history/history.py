"""What a user may read of conversations, and how it amounts to heads and unread counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from chat_service.errors import ConversationNotFound
from chat_service.history.ports import Conversations, Index, Log
from chat_service.model.conversation import Conversation, changed
from chat_service.model.cursor import Cursor, Reading, Resync
from chat_service.model.entry import LAST_SEQ, Entry
from servicekit.failure import Failure

READS_AT_ONCE: Final = 8

Asked = TypeVar("Asked")
Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class Span:
    """Entries of one conversation that a device asks for: those after `after_seq`, at most `limit`."""

    conversation_id: str
    after_seq: int
    limit: int


@dataclass(frozen=True, slots=True)
class Range:
    """What a span amounts to; `entries` reach the head if `complete`."""

    span: Span
    conversation: Conversation
    entries: tuple[Entry, ...]
    head_seq: int
    complete: bool
    unread_count: int


@dataclass(frozen=True, slots=True)
class Overview:
    """A conversation with its newest entry and the caller's unread count."""

    conversation: Conversation
    head: Entry
    unread_count: int


class History:
    """Reads for one caller at a time, inside the bounds of membership."""

    def __init__(self, log: Log, conversations: Conversations, index: Index) -> None:
        self._log = log
        self._conversations = conversations
        self._index = index

    async def changes(self, user_id: str, cursor: Cursor | None) -> Reading:
        """The conversations a device at `cursor` must look at: all of them if it needs a resync."""
        reading = await self._index.read(user_id, cursor)
        if reading.resync is Resync.NONE:
            return reading
        # The cursor was read before the list, so what changes in between is named next time.
        return replace(reading, conversation_ids=tuple(await self._conversations.of_user(user_id)))

    async def ranges(self, user_id: str, spans: Sequence[Span]) -> list[Range | Failure]:
        """What each span amounts to; the conversations are read in one go."""
        found = await self._conversations.load_many({span.conversation_id for span in spans})

        async def read(span: Span) -> Range | Failure:
            try:
                conversation = await self._known(span.conversation_id, found)
                return await self._range(user_id, _seen(conversation, user_id), span)
            except Failure as failure:
                return failure

        return await _some_at_once(read, spans)

    async def messages(
        self, user_id: str, conversation_id: str, *, before_seq: int, after_seq: int, limit: int
    ) -> Sequence[Entry]:
        """Messages as shown: before a seq, newest first, or after one, oldest first (`after_seq` > 0).

        Raises ConversationNotFound.
        """
        conversation = await self.conversation(user_id, conversation_id)
        joined = conversation.members[user_id].joined_seq
        if after_seq:
            first, last = max(joined, after_seq + 1), LAST_SEQ
        else:
            first, last = joined, before_seq - 1 if before_seq else LAST_SEQ
        if last < first:
            return []
        return await self._log.messages(conversation_id, first, last, limit, newest_first=not after_seq)

    async def conversation(self, user_id: str, conversation_id: str) -> Conversation:
        """A conversation of the user. Raises ConversationNotFound."""
        found = await self._conversations.load_many([conversation_id])
        return _seen(await self._known(conversation_id, found), user_id)

    async def overview(self, user_id: str, conversation_id: str) -> Overview:
        """A conversation of the user with its head. Raises ConversationNotFound."""
        return await self._overview(user_id, await self.conversation(user_id, conversation_id))

    async def overviews(self, user_id: str, after: str, limit: int) -> tuple[list[Overview], str]:
        """The user's conversations with ids above `after`, in order of id, at most `limit`; and the last id looked at.

        That is empty when there are no more.
        """
        ids = await self._conversations.of_user(user_id, after, limit + 1)
        page = ids[:limit]
        found = await self._conversations.load_many(page)

        async def read(conversation_id: str) -> Overview:
            return await self._overview(user_id, found[conversation_id])

        overviews = await _some_at_once(read, [each for each in page if _is_member(found, each, user_id)])
        return overviews, page[-1] if len(ids) > limit else ""

    async def _overview(self, user_id: str, conversation: Conversation) -> Overview:
        head = await self._log.head(conversation.conversation_id)
        newest = await self._log.read(conversation.conversation_id, head.seq, 1)
        return Overview(conversation, newest.entries[0], _unread(conversation, user_id, head.message_number))

    async def _known(self, conversation_id: str, found: Mapping[str, Conversation]) -> Conversation | None:
        """The conversation as it is kept; or, while it is being made, as its log says."""
        conversation = found.get(conversation_id)
        if conversation is None:
            for entry in await self._log.changes(conversation_id, 0):
                conversation = changed(conversation, entry)
        return conversation

    async def _range(self, user_id: str, conversation: Conversation, span: Span) -> Range:
        joined = conversation.members[user_id].joined_seq
        # From one before what is asked: that tells how many messages there are when nothing is new.
        first = max(span.after_seq, joined - 1)
        page = await self._log.read(conversation.conversation_id, max(1, first), span.limit + 1)
        entries = tuple(entry for entry in page.entries if entry.seq > first)[: span.limit]
        complete = page.ended and (not page.entries or page.entries[-1].seq == (entries[-1].seq if entries else first))
        head = page.entries[-1] if complete and page.entries else await self._log.head(conversation.conversation_id)
        unread = _unread(conversation, user_id, head.message_number)
        return Range(span, conversation, entries, head.seq, complete, unread)


def _seen(conversation: Conversation | None, user_id: str) -> Conversation:
    if conversation is None or user_id not in conversation.members:
        raise ConversationNotFound("no such conversation")
    return conversation


def _is_member(found: Mapping[str, Conversation], conversation_id: str, user_id: str) -> bool:
    return conversation_id in found and user_id in found[conversation_id].members


def _unread(conversation: Conversation, user_id: str, messages: int) -> int:
    return max(0, messages - conversation.members[user_id].watermark.read_number)


async def _some_at_once(read: Callable[[Asked], Awaitable[Read]], asked: Collection[Asked]) -> list[Read]:
    """The readings in order, READS_AT_ONCE under way at a time."""
    room = asyncio.Semaphore(READS_AT_ONCE)

    async def one(each: Asked) -> Read:
        async with room:
            return await read(each)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(each)) for each in asked]
    return [task.result() for task in tasks]
