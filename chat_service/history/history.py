"""What a user may read of conversations, and how it amounts to heads and unread counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from chat_service.errors import MessageNotFound
from chat_service.history.ports import Conversations, Index, Log, Memberships
from chat_service.history.sight import Sight, Sights
from chat_service.model.conversation import Interval
from chat_service.model.cursor import Cursor, Reading, Resync
from chat_service.model.entry import LAST_SEQ, Entry, Head, Message
from servicekit.at_once import some_at_once
from servicekit.failure import Failure

READS_AT_ONCE: Final = 8


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
    sight: Sight
    entries: tuple[Entry, ...]
    head_seq: int
    complete: bool
    unread_count: int


@dataclass(frozen=True, slots=True)
class Overview:
    """A conversation with its newest entry that the caller may see, and the caller's unread count.

    `head` is None when that entry is removed, of a conversation that the caller has left.
    """

    sight: Sight
    head_seq: int
    head: Entry | None
    unread_count: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of changes ended: what the first page said, and the last id."""

    resync: Resync
    cursor: Cursor | None
    after: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page of changes, and where it ended; None: it was the last."""

    reading: Reading
    place: Place | None


class History:
    """Reads for one caller at a time, inside the intervals of membership."""

    def __init__(self, log: Log, conversations: Conversations, memberships: Memberships, index: Index) -> None:
        self._log = log
        self._memberships = memberships
        self._index = index
        self._sights = Sights(log, conversations, memberships)

    async def changes(self, user_id: str, cursor: Cursor | None) -> Reading:
        """The conversations a device at `cursor` must look at: all of them if it needs a resync."""
        reading = await self._index.read(user_id, cursor)
        if reading.resync is Resync.NONE:
            return reading
        # The cursor was read before the list, so what changes in between is named next time.
        return replace(reading, conversation_ids=tuple(await self._memberships.of_user(user_id)))

    async def changes_page(self, user_id: str, cursor: Cursor | None, place: Place | None, limit: int) -> Page:
        """The same in pages, at most `limit` on one; `place` is where the page before ended, None for the first."""
        if place is not None and place.resync is not Resync.NONE:
            # All conversations, also if by now it would not need all.
            ids: Sequence[str] = await self._memberships.of_user(user_id, place.after, limit + 1)
            resync: Resync = place.resync
            here = place.cursor
        else:
            reading = await self.changes(user_id, cursor)
            after = place.after if place else ""
            ids = sorted(each for each in reading.conversation_ids if each > after)
            # Where the first page was read: what changed since is named from there on.
            resync, here = (reading.resync, reading.cursor) if place is None else (place.resync, place.cursor)
        more = Place(resync, here, ids[limit - 1]) if len(ids) > limit else None
        return Page(Reading(resync, tuple(ids[:limit]), None if more else here), more)

    async def ranges(self, user_id: str, spans: Sequence[Span]) -> list[Range | Failure]:
        """What each span amounts to; the conversations are read in one go."""
        sights = await self._sights.of(user_id, {span.conversation_id for span in spans})

        async def read(span: Span) -> Range | Failure:
            sight = sights[span.conversation_id]
            return sight if isinstance(sight, Failure) else await self._range(sight, span)

        found = await some_at_once(read, spans, most=READS_AT_ONCE)
        ended = await self._sights.ended(each.sight for each in found if isinstance(each, Range) and each.entries)
        again = [number for number, span in enumerate(spans) if span.conversation_id in ended]
        if again:
            anew = await self.ranges(user_id, [spans[number] for number in again])
            for number, range_ in zip(again, anew, strict=True):
                found[number] = range_
        return found

    async def messages(
        self, user_id: str, conversation_id: str, *, before_seq: int, after_seq: int, limit: int
    ) -> Sequence[Entry]:
        """Messages as shown: before a seq, newest first, or after one, oldest first (`after_seq` > 0).

        Raises ConversationNotFound.
        """
        sight = await self.sight(user_id, conversation_id)
        first = max(after_seq + 1, sight.conversation.first_seq)
        asked = Interval(first, before_seq - 1 if before_seq else LAST_SEQ)
        intervals = sight.within(asked)
        found: list[Entry] = []
        for interval in intervals if after_seq else reversed(intervals):
            if len(found) < limit:
                found += await self._log.messages(
                    conversation_id,
                    interval,
                    limit - len(found),
                    newest_first=not after_seq,
                    without=sight.personal.hidden,
                )
        if await self._sights.ended([sight]):
            return await self.messages(
                user_id, conversation_id, before_seq=before_seq, after_seq=after_seq, limit=limit
            )
        return [sight.shown(each) for each in found]

    async def message(self, user_id: str, conversation_id: str, seq: int) -> Entry:
        """A message in its present state. Raises ConversationNotFound, MessageNotFound."""
        sight = await self.sight(user_id, conversation_id)
        for interval in sight.within(Interval(seq, seq)) if seq >= sight.conversation.first_seq else ():
            for entry in (await self._log.read(conversation_id, seq, 1, interval.last)).entries:
                if await self._sights.ended([sight]):
                    return await self.message(user_id, conversation_id, seq)
                if isinstance(entry.change, Message):
                    return sight.shown(entry)
        raise MessageNotFound("no such message")

    async def sight(self, user_id: str, conversation_id: str) -> Sight:
        """A conversation as the user may see it. Raises ConversationNotFound."""
        return await self._sights.one(user_id, conversation_id)

    async def overview(self, user_id: str, conversation_id: str) -> Overview:
        """A conversation of the user with its head. Raises ConversationNotFound."""
        overview = await self._overview(await self.sight(user_id, conversation_id))
        if await self._sights.ended([overview.sight]):
            return await self.overview(user_id, conversation_id)
        return overview

    async def overviews(self, user_id: str, after: str, limit: int) -> tuple[list[Overview], str]:
        """The user's conversations with ids above `after`, in order of id, at most `limit`; and the last id looked at.

        That is empty when there are no more.
        """
        ids = await self._memberships.of_user(user_id, after, limit + 1)
        page = ids[:limit]
        sights = await self._sights.of(user_id, page)
        seen = [sight for each in page if isinstance(sight := sights[each], Sight)]
        found = await some_at_once(self._overview, seen, most=READS_AT_ONCE)
        if await self._sights.ended(seen):
            return await self.overviews(user_id, after, limit)
        return found, page[-1] if len(ids) > limit else ""

    async def _overview(self, sight: Sight) -> Overview:
        conversation_id, last = sight.conversation.conversation_id, sight.intervals[-1].last
        head = last if last < LAST_SEQ else (await self._log.head(conversation_id)).seq
        newest = next(iter((await self._log.read(conversation_id, head, 1, last)).entries), None)
        if newest is None:
            return Overview(sight, head, None, 0)
        return Overview(sight, head, sight.shown(newest), sight.unread(newest.message_number))

    async def _range(self, sight: Sight, span: Span) -> Range:
        conversation_id, entries, complete = span.conversation_id, list[Entry](), True
        newest: Entry | None = None
        for interval in sight.within(Interval(span.after_seq, LAST_SEQ)):
            # From the one that is known: if nothing is new, it tells how many messages there are.
            page = await self._log.read(conversation_id, interval.first, span.limit - len(entries) + 1, interval.last)
            new = [entry for entry in page.entries if entry.seq > span.after_seq]
            entries += [sight.shown(each) for each in new[: span.limit - len(entries)]]
            newest = page.entries[-1] if page.entries else newest
            complete = page.ended and (not new or entries[-1].seq == new[-1].seq)
            if not complete:
                break
        head = await self._head(sight, newest if complete else None)
        return Range(span, sight, tuple(entries), head.seq, complete, sight.unread(head.message_number))

    async def _head(self, sight: Sight, newest: Entry | None) -> Head:
        """The newest entry the user may see; it was read already if `newest` is one."""
        conversation_id, last = sight.conversation.conversation_id, sight.intervals[-1].last
        if newest is not None:
            return Head(newest.seq, newest.message_number, newest.time_ms)
        if last == LAST_SEQ:
            return await self._log.head(conversation_id)
        return Head(last, await self._log.message_number(conversation_id, last), 0)
