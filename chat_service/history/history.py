"""What a user may read of conversations, and how it amounts to heads and unread counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from chat_service.errors import MessageNotFound
from chat_service.history.visibility import VisibilityResolver, VisibleConversation
from chat_service.model.conversation import Interval
from chat_service.model.cursor import Cursor, IndexReading, Resync
from chat_service.model.entry import LAST_SEQ, Entry, Head, Message
from chat_service.model.stores import ChangeIndex, ConversationLog, ConversationStore, MembershipStore
from servicekit.failure import Failure
from servicekit.tasks import gather_limited

MAX_CONCURRENT_READS: Final = 8


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """Entries of one conversation that a device asks for: those after `after_seq`, at most `limit`."""

    conversation_id: str
    after_seq: int
    limit: int


@dataclass(frozen=True, slots=True)
class FetchedRange:
    """What a span amounts to; `entries` reach the head if `complete`."""

    request: RangeRequest
    visible: VisibleConversation
    entries: tuple[Entry, ...]
    head_seq: int
    complete: bool
    unread_count: int


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """A conversation with its newest entry that the caller may see, and the caller's unread count.

    `head` is None when that entry is removed, of a conversation that the caller has left.
    """

    visible: VisibleConversation
    head_seq: int
    head: Entry | None
    unread_count: int


@dataclass(frozen=True, slots=True)
class ChangesPosition:
    """Where a page of changes ended: what the first page said, and the last id."""

    resync: Resync
    cursor: Cursor | None
    after: str


@dataclass(frozen=True, slots=True)
class ChangesPage:
    """A page of changes, and where it ended; None: it was the last."""

    reading: IndexReading
    next_position: ChangesPosition | None


class History:
    """Reads for one caller at a time, inside the intervals of membership."""

    def __init__(
        self, log: ConversationLog, conversations: ConversationStore, memberships: MembershipStore, index: ChangeIndex
    ) -> None:
        self._log = log
        self._memberships = memberships
        self._index = index
        self._visibility = VisibilityResolver(log, conversations, memberships)

    async def list_changes(self, user_id: str, cursor: Cursor | None) -> IndexReading:
        """The conversations a device at `cursor` must look at: all of them if it needs a resync."""
        reading = await self._index.read_changes(user_id, cursor)
        if reading.resync is Resync.NONE:
            return reading
        # The cursor was read before the list, so what changes in between is named next time.
        return replace(reading, conversation_ids=tuple(await self._memberships.list_conversations(user_id)))

    async def list_changes_page(
        self, user_id: str, cursor: Cursor | None, position: ChangesPosition | None, limit: int
    ) -> ChangesPage:
        """The same in pages, at most `limit` on one; `place` is where the page before ended, None for the first."""
        if position is not None and position.resync is not Resync.NONE:
            # All conversations, also if by now it would not need all.
            ids: Sequence[str] = await self._memberships.list_conversations(user_id, position.after, limit + 1)
            resync: Resync = position.resync
            here = position.cursor
        else:
            reading = await self.list_changes(user_id, cursor)
            after = position.after if position else ""
            ids = sorted(each for each in reading.conversation_ids if each > after)
            # Where the first page was read: what changed since is named from there on.
            resync, here = (reading.resync, reading.cursor) if position is None else (position.resync, position.cursor)
        more = ChangesPosition(resync, here, ids[limit - 1]) if len(ids) > limit else None
        return ChangesPage(IndexReading(resync, tuple(ids[:limit]), None if more else here), more)

    async def read_ranges(self, user_id: str, requests: Sequence[RangeRequest]) -> list[FetchedRange | Failure]:
        """What each span amounts to; the conversations are read in one go."""
        sights = await self._visibility.resolve_many(user_id, {span.conversation_id for span in requests})

        async def read(span: RangeRequest) -> FetchedRange | Failure:
            sight = sights[span.conversation_id]
            return sight if isinstance(sight, Failure) else await self._read_range(sight, span)

        found = await gather_limited(read, requests, limit=MAX_CONCURRENT_READS)
        ended = await self._visibility.membership_changed(
            each.visible for each in found if isinstance(each, FetchedRange) and each.entries
        )
        again = [number for number, span in enumerate(requests) if span.conversation_id in ended]
        if again:
            anew = await self.read_ranges(user_id, [requests[number] for number in again])
            for number, range_ in zip(again, anew, strict=True):
                found[number] = range_
        return found

    async def list_messages(
        self, user_id: str, conversation_id: str, *, before_seq: int, after_seq: int, limit: int
    ) -> Sequence[Entry]:
        """Messages as shown: before a seq, newest first, or after one, oldest first (`after_seq` > 0).

        Raises ConversationNotFound.
        """
        sight = await self.load_visible(user_id, conversation_id)
        first = max(after_seq + 1, sight.conversation.first_seq)
        asked = Interval(first, before_seq - 1 if before_seq else LAST_SEQ)
        intervals = sight.intersect(asked)
        found: list[Entry] = []
        for interval in intervals if after_seq else reversed(intervals):
            if len(found) < limit:
                found += await self._log.read_messages(
                    conversation_id,
                    interval,
                    limit - len(found),
                    newest_first=not after_seq,
                    without=sight.settings.hidden,
                )
        if await self._visibility.membership_changed([sight]):
            return await self.list_messages(
                user_id, conversation_id, before_seq=before_seq, after_seq=after_seq, limit=limit
            )
        return [sight.redact(each) for each in found]

    async def get_message(self, user_id: str, conversation_id: str, seq: int) -> Entry:
        """A message in its present state. Raises ConversationNotFound, MessageNotFound."""
        sight = await self.load_visible(user_id, conversation_id)
        for interval in sight.intersect(Interval(seq, seq)) if seq >= sight.conversation.first_seq else ():
            for entry in (await self._log.read_page(conversation_id, seq, 1, interval.last)).entries:
                if await self._visibility.membership_changed([sight]):
                    return await self.get_message(user_id, conversation_id, seq)
                if isinstance(entry.change, Message):
                    return sight.redact(entry)
        raise MessageNotFound("no such message")

    async def load_visible(self, user_id: str, conversation_id: str) -> VisibleConversation:
        """A conversation as the user may see it. Raises ConversationNotFound."""
        return await self._visibility.resolve(user_id, conversation_id)

    async def summarize(self, user_id: str, conversation_id: str) -> ConversationSummary:
        """A conversation of the user with its head. Raises ConversationNotFound."""
        overview = await self._summarize(await self.load_visible(user_id, conversation_id))
        if await self._visibility.membership_changed([overview.visible]):
            return await self.summarize(user_id, conversation_id)
        return overview

    async def list_summaries(self, user_id: str, after: str, limit: int) -> tuple[list[ConversationSummary], str]:
        """The user's conversations with ids above `after`, in order of id, at most `limit`; and the last id looked at.

        That is empty when there are no more.
        """
        ids = await self._memberships.list_conversations(user_id, after, limit + 1)
        page = ids[:limit]
        sights = await self._visibility.resolve_many(user_id, page)
        seen = [sight for each in page if isinstance(sight := sights[each], VisibleConversation)]
        found = await gather_limited(self._summarize, seen, limit=MAX_CONCURRENT_READS)
        if await self._visibility.membership_changed(seen):
            return await self.list_summaries(user_id, after, limit)
        return found, page[-1] if len(ids) > limit else ""

    async def _summarize(self, sight: VisibleConversation) -> ConversationSummary:
        conversation_id, last = sight.conversation.conversation_id, sight.intervals[-1].last
        head = last if last < LAST_SEQ else (await self._log.read_head(conversation_id)).seq
        newest = next(iter((await self._log.read_page(conversation_id, head, 1, last)).entries), None)
        if newest is None:
            return ConversationSummary(sight, head, None, 0)
        return ConversationSummary(sight, head, sight.redact(newest), sight.count_unread(newest.message_number))

    async def _read_range(self, sight: VisibleConversation, span: RangeRequest) -> FetchedRange:
        conversation_id, entries, complete = span.conversation_id, list[Entry](), True
        newest: Entry | None = None
        for interval in sight.intersect(Interval(span.after_seq, LAST_SEQ)):
            # From the one that is known: if nothing is new, it tells how many messages there are.
            page = await self._log.read_page(
                conversation_id, interval.first, span.limit - len(entries) + 1, interval.last
            )
            new = [entry for entry in page.entries if entry.seq > span.after_seq]
            entries += [sight.redact(each) for each in new[: span.limit - len(entries)]]
            newest = page.entries[-1] if page.entries else newest
            complete = page.reaches_head and (not new or entries[-1].seq == new[-1].seq)
            if not complete:
                break
        head = await self._visible_head(sight, newest if complete else None)
        return FetchedRange(span, sight, tuple(entries), head.seq, complete, sight.count_unread(head.message_number))

    async def _visible_head(self, sight: VisibleConversation, newest: Entry | None) -> Head:
        """The newest entry the user may see; it was read already if `newest` is one."""
        conversation_id, last = sight.conversation.conversation_id, sight.intervals[-1].last
        if newest is not None:
            return Head(newest.seq, newest.message_number, newest.time_ms)
        if last == LAST_SEQ:
            return await self._log.read_head(conversation_id)
        return Head(last, await self._log.count_messages(conversation_id, last), 0)
