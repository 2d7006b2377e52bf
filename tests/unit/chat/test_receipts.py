"""Receipts that wait to be stored."""

from __future__ import annotations

from chat_service.model.authorization import keep_all_mentions
from chat_service.model.entry import Head
from chat_service.model.requests import DoneOutcome, Receipt
from chat_service.owner.owned_conversation import OwnedConversation
from chat_service.owner.receipt_writer import PendingReceipts
from servicekit.clock import SystemClock
from servicekit.rate_limiter import TokenBucket

CONVERSATION, BOB, PHONE = "c" * 32, "b" * 32, "d" * 32


def ignore(_: DoneOutcome) -> None:
    """Answer nobody."""


def test_receipt_above_the_head_counts_as_the_head_of_its_arrival() -> None:
    owned = OwnedConversation(CONVERSATION, TokenBucket(1, 1, SystemClock()), 100, keep_all_mentions)
    owned.head = Head(seq=3, message_number=2, time_ms=0)
    pending = PendingReceipts(owned)
    pending.add(Receipt(BOB, PHONE, CONVERSATION, delivered_seq=2, read_seq=9), ignore)
    # Appended before the receipt is stored; bob has not seen it.
    owned.head = Head(seq=4, message_number=3, time_ms=0)
    assert pending.marks == {BOB: (3, 3)}
    pending.add(Receipt(BOB, PHONE, CONVERSATION, delivered_seq=4, read_seq=0), ignore)
    assert pending.marks == {BOB: (4, 3)}
