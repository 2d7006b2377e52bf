"""The owner role: appends entries and stores receipts for the conversations that the ring assigns to this server."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final

import structlog

from chat_service.errors import ConversationExists, EarlierSendRefused, OwnerUnavailable
from chat_service.model.authorization import MAX_GROUP_MEMBERS, RetainMentions, keep_all_mentions
from chat_service.model.entry import Draft
from chat_service.model.ids import conversation_position
from chat_service.model.requests import AppendOutcome, Attempt, Creation, Done, OnAppended, OnDone, Receipt
from chat_service.model.retention import KEEP_FOREVER, RetentionPolicy
from chat_service.model.stores import ChangeIndex, ConversationLog, ConversationStore
from chat_service.owner.append_spans import trace_append
from chat_service.owner.commit import GroupCommit
from chat_service.owner.conversation_loader import ConversationLoader
from chat_service.owner.owned_conversation import OwnedConversation, State
from chat_service.owner.pending import FencedAttempts, PendingSend
from chat_service.owner.ports import Publisher, RingView
from chat_service.owner.receipt_writer import ReceiptWriter
from servicekit.clock import Clock
from servicekit.errors import ServerDraining, StoreUnavailable
from servicekit.failure import INTERNAL_ERROR, Failure
from servicekit.rate_limiter import TokenBucket
from servicekit.ring import RingEmpty
from servicekit.tasks import cancel_requested

MAX_REFRESHES: Final = 16
RETOUCH_WINDOW_S: Final = 60.0
RETOUCH_BATCH: Final = 200

log = structlog.get_logger("owner")


@dataclass(frozen=True, slots=True)
class HotConversation:
    """An owned conversation, its entries per second, the number of its members, and its sends that wait."""

    conversation_id: str
    entries_per_second: float
    members: int
    queued_sends: int


@dataclass(frozen=True, slots=True)
class OwnerLimits:
    """The rate and size limits of one conversation, and the number of conversations kept in memory."""

    entries_per_second: float = 50.0
    entries_burst: float = 100.0
    group_members: int = MAX_GROUP_MEMBERS
    conversations: int = 100_000


class Owner:
    """The writer of all conversations whose position on the ring belongs to this server.

    Methods with a `reply` do not block: they call it once, before they return or later from a task of `run`.
    """

    def __init__(
        self,
        conversation_log: ConversationLog,
        conversations: ConversationStore,
        index: ChangeIndex,
        publisher: Publisher,
        ring: RingView,
        clock: Clock,
        limits: OwnerLimits = OwnerLimits(),
        retention: RetentionPolicy = KEEP_FOREVER,
        retain_mentions: RetainMentions = keep_all_mentions,
    ) -> None:
        self._index = index
        self._publisher = publisher
        self._ring = ring
        self._clock = clock
        self._limits = limits
        self._retain_mentions = retain_mentions
        self._owned: OrderedDict[str, OwnedConversation] = OrderedDict()
        # By conversation that is being loaded: what to do once it is, and the callback if loading fails.
        self._awaiting_load: dict[str, list[tuple[Callable[[OwnedConversation], None], OnDone]]] = {}
        self._fenced_attempts = FencedAttempts()
        self._loader = ConversationLoader(conversation_log, conversations, index, publisher, clock)
        self._commit = GroupCommit(conversation_log, conversations, index, publisher, clock, self._on_batch_settled)
        self._receipts = ReceiptWriter(conversation_log, conversations, index, publisher, clock, retention)
        # Bounded by the conversations in memory: each is queued at most once.
        self._refresh_queue: asyncio.Queue[OwnedConversation] = asyncio.Queue()
        self._idle = asyncio.Event()
        self._draining = False

    async def run(self) -> None:
        """Run the commits, the receipt writes and the refreshes until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._commit.run())
            group.create_task(self._receipts.run())
            for _ in range(MAX_REFRESHES):
                group.create_task(self._refresh_loop())

    def append_draft(self, draft: Draft, attempt: Attempt | None, reply: OnAppended) -> None:
        """Append `draft`; `reply` is called once, when its entry is durable, it changes nothing or is refused.

        A draft with an `attempt` is refused with EarlierSendRefused if an earlier send of that attempt was.
        """
        conversation_id = draft.conversation_id
        if draft.traceparent:
            draft, reply = trace_append(draft, reply)
        if attempt and self._fenced_attempts.is_fenced(attempt, conversation_id):
            reply(EarlierSendRefused("an earlier send to this conversation was refused"))
            return
        try:
            owned = self._get_or_create(conversation_id)
            owned.enqueue_pending(PendingSend(draft, attempt, reply))
        except Failure as failure:
            self._refuse(conversation_id, [(attempt, reply)], failure)
            return
        self._advance(owned)

    def create_conversation(self, creation: Creation, reply: OnDone) -> None:
        """Create a conversation unless it exists; `reply` is called once, when its entries are durable or refused."""
        drafts, outcomes = creation.drafts(), list[AppendOutcome]()

        def collect(outcome: AppendOutcome) -> None:
            outcomes.append(outcome)
            if len(outcomes) == len(drafts):
                failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
                # The other user of a 1-1 conversation may have created it first.
                reply(next((failure for failure in failures if not isinstance(failure, ConversationExists)), Done()))

        for draft in drafts:
            self.append_draft(draft, None, collect)

    def receive_receipt(self, receipt: Receipt, reply: OnDone) -> None:
        """Raise a member's watermarks; `reply` is called once, when they are stored or refused."""
        conversation_id = receipt.conversation_id
        try:
            owned = self._get_or_create(conversation_id)
        except Failure as failure:
            reply(failure)
            return

        def enqueue(loaded: OwnedConversation) -> None:
            self._receipts.enqueue_receipt(loaded, receipt, reply)

        if owned.loaded and receipt.highest_seq <= owned.head.seq:
            enqueue(owned)
            return
        # A receipt beyond the head means that another owner may have appended entries since the load.
        owned.loaded = False
        self._awaiting_load.setdefault(conversation_id, []).append((enqueue, reply))
        self._advance(owned)

    def publish_typing(self, user_id: str, conversation_id: str, typing: bool) -> None:
        """Publish to the other members that a member types or stopped; drop it if that fails."""
        with suppress(Failure):
            owned = self._get_or_create(conversation_id)
            if owned.loaded:
                self._publish_typing(owned, user_id, typing)
            else:
                self._awaiting_load.setdefault(conversation_id, []).append(
                    (lambda loaded: self._publish_typing(loaded, user_id, typing), lambda _: None)
                )
                self._advance(owned)

    def _publish_typing(self, owned: OwnedConversation, user_id: str, typing: bool) -> None:
        members = owned.member_ids()
        if user_id in members and not owned.blocked:
            others = [member for member in members if member != user_id]
            self._publisher.publish_typing(others, owned.conversation_id, user_id, typing)

    def invalidate_conversation(self, conversation_id: str, reply: OnDone) -> None:
        """Reload the conversation before the next draft is authorized, because state outside its log has changed.

        A block is such a change. `reply` is called once, when every draft authorized by the old state is durable or
        refused.
        """
        if self._draining or not self._owns(conversation_id):
            reply(self._draining_error() if self._draining else self._not_owner())
            return
        if (owned := self._owned.get(conversation_id)) is None:
            reply(Done())
            return
        owned.invalidate()
        owned.wait_for_commit(reply)

    def on_ring_changed(self) -> None:
        """Refuse the queued sends of conversations that another server owns now, and evict these conversations."""
        for owned in list(self._owned.values()):
            if not self._owns(owned.conversation_id):
                self._refuse_queued(owned, self._not_owner())
                self._evict(owned)
        if self._draining:
            self._signal_idle()

    async def on_generation_changed(self) -> None:
        """Repeat the touches of the last RETOUCH_WINDOW_S seconds, which the new index generation may not contain."""
        since = self._clock.monotonic() - RETOUCH_WINDOW_S
        recent = [owned for owned in self._owned.values() if owned.touched_at >= since]
        for start in range(0, len(recent), RETOUCH_BATCH):
            batch = recent[start : start + RETOUCH_BATCH]
            await self._index.touch({owned.conversation_id: owned.all_reader_ids() for owned in batch})

    def list_hottest(self, limit: int) -> list[HotConversation]:
        """Return the conversations to which the most entries were appended lately, the busiest first."""
        hottest = list[HotConversation]()
        for conversation_id, rate in self._commit.rates.list_highest(limit):
            owned = self._owned.get(conversation_id)
            # Another server may own it by now.
            members, queued = (len(owned.member_ids()), len(owned.queued)) if owned else (0, 0)
            hottest.append(HotConversation(conversation_id, rate, members, queued))
        return hottest

    @property
    def conversation_count(self) -> int:
        """The number of conversations in memory."""
        return len(self._owned)

    async def drain(self) -> None:
        """Refuse new requests with ServerDraining, and return once every accepted send is answered."""
        self._draining = True
        self._signal_idle()
        await self._idle.wait()

    def _get_or_create(self, conversation_id: str) -> OwnedConversation:
        if self._draining:
            raise self._draining_error()
        if not self._owns(conversation_id):
            raise self._not_owner()
        owned = self._owned.get(conversation_id)
        if owned is None:
            bucket = TokenBucket(self._limits.entries_per_second, self._limits.entries_burst, self._clock)
            owned = OwnedConversation(conversation_id, bucket, self._limits.group_members, self._retain_mentions)
            self._owned[conversation_id] = owned
            self._evict_idle()
        else:
            self._owned.move_to_end(conversation_id)
        return owned

    def _advance(self, owned: OwnedConversation) -> None:
        """If the conversation is idle, start a refresh or a commit of its queued sends, whichever it needs first."""
        if owned.state is not State.IDLE:
            return
        if owned.needs_refresh(self._clock.now_ms()):
            owned.state = State.REFRESHING
            self._refresh_queue.put_nowait(owned)
        elif owned.queued:
            self._commit.enqueue_conversation(owned)

    def _on_batch_settled(self, owned: OwnedConversation, authors: frozenset[str]) -> None:
        owned.state = State.IDLE
        owned.answer_commit_waiters()
        if authors:
            self._receipts.mark_read_by_authors(owned, authors)
        self._continue(owned)

    def _continue(self, owned: OwnedConversation) -> None:
        if not self._owns(owned.conversation_id):
            self._refuse_queued(owned, self._not_owner())
        if owned.loaded:
            for on_loaded, _ in self._awaiting_load.pop(owned.conversation_id, []):
                on_loaded(owned)
        if owned.queued or owned.conversation_id in self._awaiting_load:
            self._advance(owned)
        elif owned.conversation is None or not self._owns(owned.conversation_id):
            self._evict(owned)
        if self._draining:
            self._signal_idle()

    def _signal_idle(self) -> None:
        if not any(owned.unanswered for owned in self._owned.values()):
            self._idle.set()

    async def _refresh_loop(self) -> None:
        while not cancel_requested():
            await self._refresh(await self._refresh_queue.get())

    async def _refresh(self, owned: OwnedConversation) -> None:
        try:
            if authors := await self._loader.refresh(owned):
                self._receipts.mark_read_by_authors(owned, authors)
        except StoreUnavailable as failure:
            log.warning("conversation store unavailable", conversation_id=owned.conversation_id)
            self._refuse_all(owned, failure)
        except Exception:
            # A fault in one conversation must not stop the owner of the others.
            log.exception("conversation load failed", conversation_id=owned.conversation_id)
            self._refuse_all(owned, Failure(INTERNAL_ERROR))
        owned.state = State.IDLE
        self._continue(owned)

    def _refuse_all(self, owned: OwnedConversation, failure: Failure) -> None:
        self._refuse_queued(owned, failure)
        for _, reply in self._awaiting_load.pop(owned.conversation_id, []):
            reply(failure)

    def _refuse_queued(self, owned: OwnedConversation, failure: Failure) -> None:
        queued, owned.queued = list(owned.queued), deque()
        for pending in queued:
            del owned.unanswered[pending.key]
            self._refuse(owned.conversation_id, pending.waiters, failure)

    def _refuse(
        self, conversation_id: str, waiters: Sequence[tuple[Attempt | None, OnAppended]], failure: Failure
    ) -> None:
        for attempt, reply in waiters:
            if attempt and failure.retry_after is not None:
                self._fenced_attempts.fence(attempt, conversation_id)
            reply(failure)

    def _owns(self, conversation_id: str) -> bool:
        try:
            return self._ring.ring.owner_at(conversation_position(conversation_id)).server_id == self._ring.me.server_id
        except RingEmpty:
            return False

    def _not_owner(self) -> OwnerUnavailable:
        revision = self._ring.ring.revision
        return OwnerUnavailable(
            "another server owns this conversation",
            metadata={"ring_revision": str(revision)},
            retry_after=0.05,
        )

    @staticmethod
    def _draining_error() -> ServerDraining:
        return ServerDraining("this server is draining; try again on another server")

    def _evict_idle(self) -> None:
        """Evict the least recently used conversations above the limit, except those with work under way."""
        surplus = max(0, len(self._owned) - self._limits.conversations)
        for owned in list(islice(self._owned.values(), surplus)):
            self._evict(owned)

    def _evict(self, owned: OwnedConversation) -> None:
        if owned.state is State.IDLE and not owned.queued and owned.conversation_id not in self._awaiting_load:
            self._owned.pop(owned.conversation_id, None)
