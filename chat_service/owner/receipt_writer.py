"""Receipts: watermarks that only rise, stored in batches, and published to the authors of the messages read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog
from prometheus_client import Counter, Histogram

from chat_service.errors import ConversationNotFound
from chat_service.model.conversation import Watermark
from chat_service.model.requests import Done, DoneOutcome, OnDone, Receipt
from chat_service.model.retention import RetentionPolicy, RetentionRule
from chat_service.model.stores import ChangeIndex, ConversationLog, ConversationStore
from chat_service.owner.owned_conversation import OwnedConversation
from chat_service.owner.ports import Publisher
from servicekit.clock import Clock
from servicekit.failure import INTERNAL_ERROR, Failure
from servicekit.retry import retry_while_unavailable
from servicekit.tasks import cancel_requested

MAX_BATCH_CONVERSATIONS: Final = 500

_receipts = Counter("parley_receipts", "Receipts of members that were stored or changed nothing")
_seconds = Histogram(
    "parley_receipt_write_seconds",
    "Seconds in which a batch of receipts was stored and published",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)

log = structlog.get_logger("owner.receipts")


@dataclass(slots=True)
class PendingReceipts:
    """The receipts of one conversation that wait to be stored, coalesced by user and by device."""

    owned: OwnedConversation
    marks: dict[str, tuple[int, int]] = field(default_factory=dict)
    # By device id, the highest delivered seq; only with RELAY_ONLY retention.
    device_marks: dict[str, int] = field(default_factory=dict)
    authors: set[str] = field(default_factory=set)
    waiters: list[OnDone] = field(default_factory=list)

    def add(self, receipt: Receipt, reply: OnDone) -> None:
        """Merge a receipt, at most to the present head; `reply` is called when it is stored or refused."""
        head = self.owned.head.seq
        delivered, read = self.marks.get(receipt.user_id, (0, 0))
        self.marks[receipt.user_id] = (
            max(delivered, min(receipt.highest_seq, head)),
            max(read, min(receipt.read_seq, head)),
        )
        self.waiters.append(reply)

    def add_device(self, receipt: Receipt) -> None:
        """Raise the mark of the receipt's device, at most to the head."""
        highest = min(receipt.highest_seq, self.owned.head.seq)
        self.device_marks[receipt.device_id] = max(self.device_marks.get(receipt.device_id, 0), highest)

    def answer(self, outcome: DoneOutcome) -> None:
        """Report the outcome to every waiter, once."""
        waiters, self.waiters = self.waiters, []
        for reply in waiters:
            reply(outcome)


class ReceiptWriter:
    """Stores the waiting receipts of all conversations in one write, and publishes the raised watermarks."""

    def __init__(
        self,
        conversation_log: ConversationLog,
        conversations: ConversationStore,
        index: ChangeIndex,
        publisher: Publisher,
        clock: Clock,
        retention: RetentionPolicy,
    ) -> None:
        self._log = conversation_log
        self._conversations = conversations
        self._index = index
        self._publisher = publisher
        self._clock = clock
        self._retention = retention
        self._pending: dict[str, PendingReceipts] = {}
        self._wake = asyncio.Event()

    def enqueue_receipt(self, owned: OwnedConversation, receipt: Receipt, reply: OnDone) -> None:
        """Queue the receipt of a member. The conversation must be loaded."""
        if owned.conversation is None or receipt.user_id not in owned.conversation.members:
            reply(ConversationNotFound("conversation not found"))
            return
        pending = self._pending_for(owned)
        pending.add(receipt, reply)
        if (
            receipt.device_id
            and self._retention.effective_for(owned.conversation.retention).rule is RetentionRule.RELAY_ONLY
        ):
            pending.add_device(receipt)

    def mark_read_by_authors(self, owned: OwnedConversation, user_ids: Iterable[str]) -> None:
        """Queue the storing of the watermarks that authors raised by appending; they are not published."""
        self._pending_for(owned).authors.update(user_ids)

    def _pending_for(self, owned: OwnedConversation) -> PendingReceipts:
        pending = self._pending.setdefault(owned.conversation_id, PendingReceipts(owned))
        # The conversation may have been evicted and reloaded since the first receipt was queued.
        pending.owned = owned
        self._wake.set()
        return pending

    async def run(self) -> None:
        """Store receipts until cancelled."""
        while not cancel_requested():
            await self._wake.wait()
            batch = [self._pending.pop(key) for key in list(self._pending)[:MAX_BATCH_CONVERSATIONS]]
            if not self._pending:
                self._wake.clear()
            receipts = sum(len(pending.waiters) for pending in batch)
            try:
                with _seconds.time():
                    await self._write(batch)
                _receipts.inc(receipts)
            except Exception:
                log.exception(
                    "receipt write failed", conversation_ids=[pending.owned.conversation_id for pending in batch]
                )
                for pending in batch:
                    pending.answer(Failure(INTERNAL_ERROR))

    async def _write(self, batch: list[PendingReceipts]) -> None:
        # After a block the other user must not learn what is received and read.
        hidden = {pending.owned.conversation_id for pending in batch if pending.owned.blocked}
        raised = {pending.owned.conversation_id: await self._compute_raised_watermarks(pending) for pending in batch}
        if to_store := {conversation_id: marks for conversation_id, marks in raised.items() if marks}:
            await retry_while_unavailable(
                "raise_watermarks", lambda: self._conversations.raise_watermarks(to_store, hidden)
            )
        if devices := {
            pending.owned.conversation_id: pending.device_marks for pending in batch if pending.device_marks
        }:
            due_ms = self._clock.now_ms() + round(self._retention.sweep_interval_s * 1000)
            await retry_while_unavailable(
                "raise_device_marks", lambda: self._conversations.raise_device_marks(devices, due_ms)
            )
        for pending in batch:
            conversation_id = pending.owned.conversation_id
            await self._publish(pending, raised[conversation_id], hidden=conversation_id in hidden)
            pending.answer(Done())

    async def _compute_raised_watermarks(self, pending: PendingReceipts) -> dict[str, Watermark]:
        owned = pending.owned
        raised = {user: owned.watermarks.get(user, Watermark()) for user in pending.authors}
        for user, (delivered, read) in pending.marks.items():
            before = owned.watermarks.get(user, Watermark())
            number = await self._message_number_at(owned, read) if read > before.read_seq else 0
            after = before.max_with(Watermark(delivered, read, number))
            if after != before:
                raised[user] = after
        return raised

    async def _message_number_at(self, owned: OwnedConversation, seq: int) -> int:
        if seq == owned.head.seq:
            return owned.head.message_number
        if (known := owned.recent_entries.get(seq)) is not None:
            return known.message_number
        return await retry_while_unavailable(
            "count_messages", lambda: self._log.count_messages(owned.conversation_id, seq)
        )

    async def _publish(self, pending: PendingReceipts, raised: Mapping[str, Watermark], *, hidden: bool) -> None:
        owned, recipients = pending.owned, dict[str, set[str]]()
        for user, after in raised.items():
            before = owned.watermarks.get(user, Watermark())
            if after != before:
                recipients[user] = {user} if hidden else _recipients(owned, user, before, after)
                owned.watermarks[user] = before.max_with(after)
        if not recipients:
            return
        everyone = set().union(*recipients.values())
        if owned.needs_touch(self._clock.monotonic()):
            await self._index.touch({owned.conversation_id: sorted(everyone)})
        # The stored watermarks, not the current ones: a watermark that is lost before it is stored would go backwards.
        stored = {user: raised[user] for user in recipients}
        self._publisher.publish_watermarks(everyone, owned.conversation_id, stored)


def _recipients(owned: OwnedConversation, user: str, before: Watermark, after: Watermark) -> set[str]:
    """Return the recipients of a raised watermark: its user, and the authors of the entries it newly covers.

    All members if an author is not in memory.
    """
    low = min(before.delivered_seq, before.read_seq) + 1
    span = range(low, max(after.delivered_seq, after.read_seq) + 1)
    known = [owned.recent_entries.get(seq) for seq in span] if len(span) <= len(owned.recent_entries) else [None]
    if None in known:
        return set(owned.member_ids())
    authors = {entry.actor_id for entry in known if entry is not None}
    # Former members receive nothing.
    return {user, *authors.intersection(owned.member_ids())}
