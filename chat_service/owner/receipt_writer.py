"""Receipts: watermarks that only rise, written many at once, and told to the senders they concern."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from chat_service.errors import ConversationNotFound
from chat_service.model.conversation import Watermark
from chat_service.model.requests import Done, DoneOutcome, OnDone, Receipt
from chat_service.model.retention import RetentionPolicy, RetentionRule
from chat_service.model.stores import ChangeIndex, ConversationLog, ConversationStore
from chat_service.owner.owned_conversation import OwnedConversation
from chat_service.owner.ports import Publisher
from chat_service.owner.retry import retry_while_unavailable
from servicekit.clock import Clock
from servicekit.failure import Failure
from servicekit.tasks import cancel_requested

MAX_BATCH_CONVERSATIONS: Final = 500

log = structlog.get_logger("owner.receipts")


@dataclass(slots=True)
class PendingReceipts:
    """Receipts of one conversation that wait to be written, by user and device; who sent; and who wants to know."""

    owned: OwnedConversation
    marks: dict[str, tuple[int, int]] = field(default_factory=dict)
    # Of each device, where it counts.
    device_marks: dict[str, int] = field(default_factory=dict)
    authors: set[str] = field(default_factory=set)
    waiters: list[OnDone] = field(default_factory=list)

    def add(self, receipt: Receipt, reply: OnDone) -> None:
        """Another receipt; it counts with those that wait."""
        delivered, read = self.marks.get(receipt.user_id, (0, 0))
        self.marks[receipt.user_id] = max(delivered, receipt.highest_seq), max(read, receipt.read_seq)
        self.waiters.append(reply)

    def add_device(self, receipt: Receipt) -> None:
        """The same, where each device counts for itself."""
        highest = min(receipt.highest_seq, self.owned.head.seq)
        self.device_marks[receipt.device_id] = max(self.device_marks.get(receipt.device_id, 0), highest)

    def answer(self, outcome: DoneOutcome) -> None:
        """Tell all who want to know and do not know yet."""
        replies, self.waiters = self.waiters, []
        for reply in replies:
            reply(outcome)


class ReceiptWriter:
    """Takes what waits, writes it in one go, and tells those concerned."""

    def __init__(
        self,
        store: ConversationLog,
        conversations: ConversationStore,
        index: ChangeIndex,
        publisher: Publisher,
        clock: Clock,
        terms: RetentionPolicy,
    ) -> None:
        self._log = store
        self._conversations = conversations
        self._index = index
        self._publisher = publisher
        self._clock = clock
        self._retention = terms
        self._pending: dict[str, PendingReceipts] = {}
        self._wake = asyncio.Event()

    def enqueue_receipt(self, owned: OwnedConversation, receipt: Receipt, reply: OnDone) -> None:
        """A member has got so far. The conversation must be loaded."""
        if owned.conversation is None or receipt.user_id not in owned.conversation.members:
            reply(ConversationNotFound("no such conversation"))
            return
        waiting = self._pending_for(owned)
        waiting.add(receipt, reply)
        if (
            receipt.device_id
            and self._retention.effective_for(owned.conversation.retention).rule is RetentionRule.RELAY_ONLY
        ):
            waiting.add_device(receipt)

    def mark_read_by_authors(self, owned: OwnedConversation, user_ids: Iterable[str]) -> None:
        """These users appended messages, and have read them thereby; that is kept, and the entry tells it."""
        self._pending_for(owned).authors.update(user_ids)

    def _pending_for(self, owned: OwnedConversation) -> PendingReceipts:
        waiting = self._pending.setdefault(owned.conversation_id, PendingReceipts(owned))
        # It may have been forgotten and loaded anew since the first one came.
        waiting.owned = owned
        self._wake.set()
        return waiting

    async def run(self) -> None:
        """Write what waits until cancelled."""
        while not cancel_requested():
            await self._wake.wait()
            taken = [self._pending.pop(each) for each in list(self._pending)[:MAX_BATCH_CONVERSATIONS]]
            if not self._pending:
                self._wake.clear()
            try:
                await self._write(taken)
            except Exception:
                log.exception("receipts not kept", conversation_ids=[each.owned.conversation_id for each in taken])
                for each in taken:
                    each.answer(Failure("this receipt could not be kept"))

    async def _write(self, taken: list[PendingReceipts]) -> None:
        raised = {each.owned.conversation_id: await self._raised_watermarks(each) for each in taken}
        kept = {conversation_id: marks for conversation_id, marks in raised.items() if marks}
        if kept:
            await retry_while_unavailable("raise_watermarks", lambda: self._conversations.raise_watermarks(kept))
        if devices := {each.owned.conversation_id: each.device_marks for each in taken if each.device_marks}:
            due_ms = self._clock.now_ms() + round(self._retention.sweep_interval_s * 1000)
            await retry_while_unavailable(
                "raise_device_marks", lambda: self._conversations.raise_device_marks(devices, due_ms)
            )
        for each in taken:
            await self._publish(each, raised[each.owned.conversation_id])
            each.answer(Done())

    async def _raised_watermarks(self, waiting: PendingReceipts) -> dict[str, Watermark]:
        owned = waiting.owned
        raised = {user: owned.watermarks.get(user, Watermark()) for user in waiting.authors}
        for user, (delivered, read) in waiting.marks.items():
            before = owned.watermarks.get(user, Watermark())
            delivered, read = min(delivered, owned.head.seq), min(read, owned.head.seq)
            number = await self._message_number_at(owned, read) if read > before.read_seq else 0
            after = before.max_with(Watermark(delivered, read, number))
            if after != before:
                raised[user] = after
        return raised

    async def _message_number_at(self, owned: OwnedConversation, seq: int) -> int:
        if seq == owned.head.seq:
            return owned.head.message_number
        if (known := owned.recent_entries.get(seq)) is not None:
            return known[0]
        return await retry_while_unavailable(
            "message_number", lambda: self._log.count_messages(owned.conversation_id, seq)
        )

    async def _publish(self, waiting: PendingReceipts, raised: Mapping[str, Watermark]) -> None:
        owned, told = waiting.owned, dict[str, set[str]]()
        for user, after in raised.items():
            before = owned.watermarks.get(user, Watermark())
            if after != before:
                told[user] = _recipients(owned, user, before, after)
                owned.watermarks[user] = before.max_with(after)
        if not told:
            return
        everyone = set().union(*told.values())
        if owned.needs_touch(self._clock.monotonic()):
            await self._index.touch({owned.conversation_id: sorted(everyone)})
        # Not what they are by now: that may not be kept yet, and what was told never becomes less.
        self._publisher.publish_watermarks(everyone, owned.conversation_id, {user: raised[user] for user in told})


def _recipients(owned: OwnedConversation, user: str, before: Watermark, after: Watermark) -> set[str]:
    """The user's own devices, and those who wrote what was received or read just now."""
    low = min(before.delivered_seq, before.read_seq) + 1
    span = range(low, max(after.delivered_seq, after.read_seq) + 1)
    known = [owned.recent_entries.get(seq) for seq in span] if len(span) <= len(owned.recent_entries) else [None]
    if None in known and not owned.blocked:
        return set(owned.member_ids())
    authors = {each[1] for each in known if each is not None}
    # Who has left is told nothing more; and who is barred tells the other nothing.
    return {user} if owned.blocked else {user, *authors.intersection(owned.member_ids())}
