"""The conversations of a user, read from logs: ranges of entries, messages, heads and unread counts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from chat_service.errors import MessageNotFound
from chat_service.history.visibility import VisibilityResolver, VisibleConversation
from chat_service.model.conversation import Conversation, ConversationMember, Interval
from chat_service.model.cursor import Cursor, IndexReading, Resync
from chat_service.model.entry import LAST_SEQ, Entry, EntryHeader, Head, Message
from chat_service.model.stores import ChangeIndex, ConversationLog, ConversationStore, LogPage, MembershipStore
from servicekit.failure import Failure
from servicekit.tasks import gather_limited

MAX_CONCURRENT_READS: Final = 8


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """A request for the entries of one conversation after `after_seq`, at most `limit`."""

    conversation_id: str
    after_seq: int
    limit: int


@dataclass(frozen=True, slots=True)
class FetchedRange:
    """The response to a RangeRequest. If `complete`, `entries` reach the newest entry that the user may see.

    `head_seq` is the seq of that entry.
    """

    request: RangeRequest
    visible: VisibleConversation
    entries: tuple[Entry, ...]
    head_seq: int
    complete: bool
    unread_count: int


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """A conversation with the newest entry that the user may see, and the user's unread count.

    `head` is None if the user has left the conversation and retention has removed that entry.
    """

    visible: VisibleConversation
    head_seq: int
    head: Entry | None
    unread_count: int


@dataclass(frozen=True, slots=True)
class UnreadConversation:
    """A conversation of which the user is a member, and the user's unread count, which is that of its summary."""

    visible: VisibleConversation
    member: ConversationMember
    unread_count: int


@dataclass(frozen=True, slots=True)
class ChangesPosition:
    """The end of a page of changes: the resync and cursor of the first page, and the last id of this page."""

    resync: Resync
    cursor: Cursor | None
    after: str


@dataclass(frozen=True, slots=True)
class ChangesPage:
    """A page of changes, and the position of the next page; None if this page is the last."""

    reading: IndexReading
    next_position: ChangesPosition | None


class History:
    """Reads conversations for one user a call. No result shows an entry outside the user's intervals of membership."""

    def __init__(
        self, log: ConversationLog, conversations: ConversationStore, memberships: MembershipStore, index: ChangeIndex
    ) -> None:
        self._log = log
        self._memberships = memberships
        self._index = index
        self._visibility = VisibilityResolver(log, conversations, memberships)

    async def list_changes(self, user_id: str, cursor: Cursor | None) -> IndexReading:
        """Return the conversations that changed since `cursor`, or all of the user's if a resync is needed."""
        reading = await self._index.read_changes(user_id, cursor)
        if reading.resync is Resync.NONE:
            return reading
        # The cursor is older than the list: a change made between the two reads is reported again by the next read.
        return replace(reading, conversation_ids=tuple(await self._memberships.list_conversations(user_id)))

    async def list_changes_page(
        self, user_id: str, cursor: Cursor | None, position: ChangesPosition | None, limit: int
    ) -> ChangesPage:
        """Return at most `limit` of these changes, in order of id, after `position`; None: from the start."""
        if position is not None and position.resync is not Resync.NONE:
            # The first page announced all conversations, so the others list all, even if the index has recovered.
            ids: Sequence[str] = await self._memberships.list_conversations(user_id, position.after, limit + 1)
            resync: Resync = position.resync
            next_cursor = position.cursor
        else:
            reading = await self.list_changes(user_id, cursor)
            after = position.after if position else ""
            ids = sorted(each for each in reading.conversation_ids if each > after)
            # Keep the cursor of the first page: changes made during the paging come after it.
            resync, next_cursor = (
                (reading.resync, reading.cursor) if position is None else (position.resync, position.cursor)
            )
        next_position = ChangesPosition(resync, next_cursor, ids[limit - 1]) if len(ids) > limit else None
        return ChangesPage(
            IndexReading(resync, tuple(ids[:limit]), None if next_position else next_cursor), next_position
        )

    async def read_ranges(self, user_id: str, requests: Sequence[RangeRequest]) -> list[FetchedRange | Failure]:
        """Return a range or a failure for each request, in the order of the requests."""
        visible_by_id = await self._visibility.resolve_many(user_id, {request.conversation_id for request in requests})

        async def read(request: RangeRequest) -> FetchedRange | Failure:
            visible = visible_by_id[request.conversation_id]
            return visible if isinstance(visible, Failure) else await self._read_range(visible, request)

        ranges = await gather_limited(read, requests, limit=MAX_CONCURRENT_READS)
        changed = await self._visibility.membership_changed(
            each.visible for each in ranges if isinstance(each, FetchedRange) and each.entries
        )
        indices = [index for index, request in enumerate(requests) if request.conversation_id in changed]
        if indices:
            repeated = await self.read_ranges(user_id, [requests[index] for index in indices])
            for index, fetched in zip(indices, repeated, strict=True):
                ranges[index] = fetched
        return ranges

    async def list_messages(
        self, user_id: str, conversation_id: str, *, before_seq: int, after_seq: int, limit: int
    ) -> Sequence[Entry]:
        """Return at most `limit` messages in their present state.

        If `after_seq` > 0, they are those after it, oldest first; else those before `before_seq` (0: the newest),
        newest first. Raises ConversationNotFound.
        """
        visible = await self.load_visible(user_id, conversation_id)
        first = max(after_seq + 1, visible.conversation.first_seq)
        intervals = visible.intersect(Interval(first, before_seq - 1 if before_seq else LAST_SEQ))
        messages: list[Entry] = []
        for interval in intervals if after_seq else reversed(intervals):
            if len(messages) < limit:
                messages += await self._log.read_messages(
                    conversation_id,
                    interval,
                    limit - len(messages),
                    newest_first=not after_seq,
                    without=visible.settings.hidden,
                )
        if await self._visibility.membership_changed([visible]):
            return await self.list_messages(
                user_id, conversation_id, before_seq=before_seq, after_seq=after_seq, limit=limit
            )
        return [visible.redact(each) for each in messages]

    async def get_message(self, user_id: str, conversation_id: str, seq: int) -> Entry:
        """Return a message in its present state. Raises ConversationNotFound, MessageNotFound."""
        visible = await self.load_visible(user_id, conversation_id)
        for interval in visible.intersect(Interval(seq, seq)) if seq >= visible.conversation.first_seq else ():
            for entry in (await self._log.read_page(conversation_id, seq, 1, interval.last)).entries:
                if await self._visibility.membership_changed([visible]):
                    return await self.get_message(user_id, conversation_id, seq)
                if isinstance(entry.change, Message):
                    return visible.redact(entry)
        raise MessageNotFound("message not found")

    async def load_visible(self, user_id: str, conversation_id: str) -> VisibleConversation:
        """Return a conversation as the user may see it. Raises ConversationNotFound."""
        return await self._visibility.resolve(user_id, conversation_id)

    async def load_conversation(self, conversation_id: str) -> Conversation | None:
        """Return the present state of a conversation, for callers that act for no user; None if it does not exist."""
        return await self._visibility.load_current(conversation_id)

    async def summarize(self, user_id: str, conversation_id: str) -> ConversationSummary:
        """Return the summary of one conversation. Raises ConversationNotFound."""
        summary = await self._summarize(await self.load_visible(user_id, conversation_id))
        if await self._visibility.membership_changed([summary.visible]):
            return await self.summarize(user_id, conversation_id)
        return summary

    async def list_summaries(self, user_id: str, after: str, limit: int) -> tuple[list[ConversationSummary], str]:
        """Return at most `limit` summaries with ids above `after`, in order of id, and the `after` of the next page.

        The latter is empty if there are no more.
        """
        ids = await self._memberships.list_conversations(user_id, after, limit + 1)
        page = ids[:limit]
        resolved = await self._visibility.resolve_many(user_id, page)
        visible = [each for name in page if isinstance(each := resolved[name], VisibleConversation)]
        summaries = await gather_limited(self._summarize, visible, limit=MAX_CONCURRENT_READS)
        if await self._visibility.membership_changed(visible):
            return await self.list_summaries(user_id, after, limit)
        return summaries, page[-1] if len(ids) > limit else ""

    async def count_unread(self, user_id: str, conversation_ids: Collection[str]) -> list[UnreadConversation]:
        """Return the unread counts of those of the conversations of which the user is a member.

        Costs a few queries for any number of conversations.
        """
        visible = await self._visibility.resolve_present(user_id, conversation_ids)
        heads = await self._log.read_heads([each.conversation.conversation_id for each in visible])
        if await self._visibility.membership_changed(visible):
            return await self.count_unread(user_id, conversation_ids)
        return [
            UnreadConversation(each, each.member, _count_unread(each, newest))
            for each in visible
            if each.member is not None and (newest := heads.get(each.conversation.conversation_id)) is not None
        ]

    async def _summarize(self, visible: VisibleConversation) -> ConversationSummary:
        conversation_id, last = visible.conversation.conversation_id, visible.intervals[-1].last
        head_seq = last if last < LAST_SEQ else (await self._log.read_head(conversation_id)).seq
        newest = next(iter((await self._log.read_page(conversation_id, head_seq, 1, last)).entries), None)
        if newest is None:
            return ConversationSummary(visible, head_seq, None, 0)
        unread_count = visible.count_unread(newest.message_number, visible.last_own_number([newest]))
        return ConversationSummary(visible, head_seq, visible.redact(newest), unread_count)

    async def _read_range(self, visible: VisibleConversation, request: RangeRequest) -> FetchedRange:
        entries, complete = list[Entry](), True
        newest: Entry | None = None
        own_number = 0
        gaps = visible.gaps(request.after_seq + 1)
        for interval in sorted([*visible.intersect(Interval(request.after_seq, LAST_SEQ)), *gaps], key=_first_seq):
            room = request.limit - len(entries)
            if interval in gaps:
                page = await self._read_gap(visible, interval, room)
                new = page.entries
            else:
                # Read `after_seq` too: if there is no newer entry, its message number gives the unread count.
                page = await self._log.read_page(request.conversation_id, interval.first, room + 1, interval.last)
                new = [entry for entry in page.entries if entry.seq > request.after_seq]
                newest = page.entries[-1] if page.entries else newest
                own_number = max(own_number, visible.last_own_number(page.entries))
            entries += [visible.redact(each) for each in new[:room]]
            complete = page.reaches_head and len(new) <= room
            if not complete:
                break
        head = await self._visible_head(visible, newest if complete else None)
        unread_count = visible.count_unread(head.message_number, own_number)
        return FetchedRange(request, visible, tuple(entries), head.seq, complete, unread_count)

    async def _read_gap(self, visible: VisibleConversation, gap: Interval, limit: int) -> LogPage:
        """Return the changes in `gap` of messages that the user may see, which devices of the user may hold."""
        targets = visible.intersect(Interval(visible.conversation.first_seq, gap.first - 1))
        if not targets:
            return LogPage((), reaches_head=True)
        return await self._log.read_mutations(visible.conversation.conversation_id, gap, targets, limit)

    async def _visible_head(self, visible: VisibleConversation, newest: Entry | None) -> Head:
        """Return the head that the user may see: of `newest` if that entry was read, else from the log."""
        conversation_id, last = visible.conversation.conversation_id, visible.intervals[-1].last
        if newest is not None:
            return Head(newest.seq, newest.message_number, newest.time_ms)
        if last == LAST_SEQ:
            return await self._log.read_head(conversation_id)
        return Head(last, await self._log.count_messages(conversation_id, last), 0)


def _first_seq(interval: Interval) -> int:
    return interval.first


def _count_unread(visible: VisibleConversation, newest: EntryHeader) -> int:
    own = newest.message and newest.actor_id == visible.user_id
    number = newest.head.message_number
    return visible.count_unread(number, number if own else 0)
