"""Group commit: whatever waits goes into the log in one write; while it is under way the next one gathers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import structlog
from prometheus_client import Counter, Histogram

from chat_service.model.conversation import apply_entry
from chat_service.model.entry import Entry, MembershipChanged, Message, MessageMutation
from chat_service.model.stores import ChangeIndex, ConversationLog, ConversationStore
from chat_service.owner.owned_conversation import OwnedConversation, State
from chat_service.owner.pending import PendingSend
from chat_service.owner.ports import Publisher
from chat_service.owner.retry import retry_while_unavailable
from servicekit.clock import Clock
from servicekit.failure import Failure
from servicekit.tasks import cancel_requested

BATCHES_IN_FLIGHT: Final = 2
MAX_BATCH_ENTRIES: Final = 1000
MAX_ENTRIES_PER_CONVERSATION: Final = 200

_entries_appended = Counter("parley_entries_appended", "Entries appended to logs")
_batch_entries = Histogram(
    "parley_commit_entries", "Entries in one group commit", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
)
_conflicts = Counter("parley_commit_conflicts", "Entries refused by the log because another owner wrote")

log = structlog.get_logger("owner.commit")


@dataclass(slots=True)
class ConversationBatch:
    """What one conversation has in a batch; `settled` of its entries are durable."""

    owned: OwnedConversation
    sends: list[tuple[PendingSend, Entry]]
    durable: int = 0
    conflicted: bool = False


@dataclass(slots=True)
class CommitBatch:
    """The shares of a group commit, by conversation."""

    by_conversation: dict[str, ConversationBatch] = field(default_factory=dict)

    def entries(self) -> list[Entry]:
        """What is to be written: all that is neither settled nor cut out."""
        return [
            entry
            for share in self.by_conversation.values()
            if not share.conflicted
            for _, entry in share.sends[share.durable :]
        ]


class GroupCommit:
    """Writes what waits. `done` is told of each conversation that is settled, and who sent messages."""

    def __init__(
        self,
        store: ConversationLog,
        conversations: ConversationStore,
        index: ChangeIndex,
        publisher: Publisher,
        clock: Clock,
        on_settled: Callable[[OwnedConversation, frozenset[str]], None],
    ) -> None:
        self._log = store
        self._conversations = conversations
        self._index = index
        self._publisher = publisher
        self._clock = clock
        self._on_settled = on_settled
        self._queued: deque[OwnedConversation] = deque()
        self._wake = asyncio.Event()

    def enqueue_conversation(self, owned: OwnedConversation) -> None:
        """Something waits in `owned`, and it can be numbered."""
        owned.state = State.QUEUED
        self._queued.append(owned)
        self._wake.set()

    async def run(self) -> None:
        """Commit until cancelled; batches in flight are never of the same conversation."""
        async with asyncio.TaskGroup() as group:
            for _ in range(BATCHES_IN_FLIGHT):
                group.create_task(self._commit_loop())

    async def _commit_loop(self) -> None:
        while not cancel_requested():
            await self._wake.wait()
            batch = self._collect_batch()
            if batch.by_conversation:
                await self._commit(batch)

    def _collect_batch(self) -> CommitBatch:
        batch, room = CommitBatch(), MAX_BATCH_ENTRIES
        now_ms = self._clock.now_ms()
        while self._queued and room > 0:
            owned = self._queued.popleft()
            # What was loaded may have become doubtful while it was queued.
            numbered = owned.assign_seqs(min(room, MAX_ENTRIES_PER_CONVERSATION), now_ms) if owned.loaded else []
            if not numbered:
                self._on_settled(owned, frozenset())
                continue
            owned.state = State.COMMITTING
            batch.by_conversation[owned.conversation_id] = ConversationBatch(owned, numbered)
            room -= len(numbered)
        if not self._queued:
            self._wake.clear()
        return batch

    async def _commit(self, batch: CommitBatch) -> None:
        shares = list(batch.by_conversation.values())
        with self._isolate_failures(shares):
            await self._append_and_apply(shares, batch)
            for share in shares:
                with self._isolate_failures([share]):
                    self._answer_and_publish(share)

    async def _append_and_apply(self, shares: list[ConversationBatch], batch: CommitBatch) -> None:
        # Who becomes a member is told once there is something to read.
        if touches := self._collect_touches([each for each in shares if not _changes_conversation(each)]):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._index.touch(touches))
                await self._write(batch)
        else:
            await self._write(batch)
        await self._apply_to_documents(shares)
        # Mongo may have taken long: what was touched before it must still cover what is told now.
        if late := self._collect_touches(shares, _changes_conversation):
            await self._index.touch(late)

    @contextmanager
    def _isolate_failures(self, shares: Sequence[ConversationBatch]) -> Iterator[None]:
        """Whatever goes wrong with these, the server lives: it is not known what is durable, and a retry finds out."""
        try:
            yield
        except Exception:
            log.exception("commit failed", conversation_ids=[share.owned.conversation_id for share in shares])
            for share in shares:
                if share.owned.state is State.COMMITTING:
                    share.owned.fail_unknown_outcome(
                        [pending for pending, _ in share.sends], Failure("this send failed")
                    )
                    self._on_settled(share.owned, frozenset())

    async def _write(self, batch: CommitBatch) -> None:
        entries = batch.entries()
        _batch_entries.observe(len(entries))
        while entries:
            # An outcome that is not known is made known by writing the same entries again.
            conflict = await retry_while_unavailable("append", partial(self._log.append_batch, entries))
            written = entries if conflict is None else entries[: conflict.index]
            for entry in written:
                batch.by_conversation[entry.conversation_id].durable += 1
            if conflict is None:
                return
            self._mark_conflicted(batch.by_conversation[entries[conflict.index].conversation_id])
            entries = batch.entries()

    @staticmethod
    def _mark_conflicted(share: ConversationBatch) -> None:
        _conflicts.inc()
        share.conflicted = True
        log.info(
            "commit conflict",
            conversation_id=share.owned.conversation_id,
            seq=share.sends[share.durable][1].seq,
        )

    def _collect_touches(
        self, shares: Sequence[ConversationBatch], always: Callable[[ConversationBatch], bool] = lambda _: False
    ) -> dict[str, list[str]]:
        now, touches = self._clock.monotonic(), dict[str, list[str]]()
        for share in shares:
            if share.owned.needs_touch(now) or always(share):
                touches[share.owned.conversation_id] = _users_to_touch(share)
                share.owned.touched_at = now
        return touches

    async def _apply_to_documents(self, shares: Sequence[ConversationBatch]) -> None:
        for share in shares:
            entries = [entry for _, entry in share.sends[: share.durable]]
            if all(isinstance(entry.change, Message) for entry in entries):
                continue
            if retouches := [entry for entry in entries if isinstance(entry.change, MessageMutation)]:
                await retry_while_unavailable("retouch", partial(self._log.apply_mutations, retouches))
            conversation = share.owned.conversation
            for entry in entries:
                conversation = apply_entry(conversation, entry)
            if conversation is None:
                continue
            if all(isinstance(entry.change, Message | MessageMutation) for entry in entries):
                seq = conversation.applied_seq
                await retry_while_unavailable(
                    "applied", partial(self._conversations.raise_applied_seq, conversation.conversation_id, seq)
                )
            else:
                await retry_while_unavailable("store", partial(self._conversations.save, conversation))

    def _answer_and_publish(self, share: ConversationBatch) -> None:
        settled = share.sends[: share.durable]
        audiences = RecipientGroups(share.owned.member_ids())
        for pending, entry in settled:
            share.owned.apply(entry)
            audiences.add(entry, share.owned)
            share.owned.answer_appended(pending, entry)
        if settled:
            _entries_appended.inc(len(settled))
            for users, entries in audiences.groups:
                self._publisher.publish(users, entries, _traceparent_of(settled))
        share.owned.requeue_unsettled([pending for pending, _ in share.sends], share.durable)
        self._on_settled(share.owned, _message_authors(settled))


class RecipientGroups:
    """Entries in order, with those who are told: who is a member before or after an entry."""

    def __init__(self, users: list[str]) -> None:
        self.groups: list[tuple[list[str], list[Entry]]] = []
        self._members = users
        self._extendable = False

    def add(self, entry: Entry, owned: OwnedConversation) -> None:
        """The next entry; `owned` took it already."""
        if not isinstance(entry.change, MembershipChanged):
            if not self._extendable:
                self.groups.append((self._members, []))
            self._extendable = True
            self.groups[-1][1].append(entry)
            return
        before, self._members = self._members, owned.member_ids()
        self.groups.append((list(dict.fromkeys([*before, *self._members])), [entry]))
        self._extendable = False


def _traceparent_of(settled: Sequence[tuple[PendingSend, Entry]]) -> str:
    """The trace of a fan-out: that of the first of its sends that has one."""
    return next((pending.draft.traceparent for pending, _ in settled if pending.draft.traceparent), "")


def _message_authors(settled: Sequence[tuple[PendingSend, Entry]]) -> frozenset[str]:
    return frozenset(entry.actor_id for _, entry in settled if isinstance(entry.change, Message))


def _changes_conversation(share: ConversationBatch) -> bool:
    return any(not isinstance(entry.change, Message | MessageMutation) for _, entry in share.sends)


def _users_to_touch(share: ConversationBatch) -> list[str]:
    conversation, users = share.owned.conversation, dict.fromkeys(share.owned.member_ids())
    for _, entry in share.sends:
        conversation = apply_entry(conversation, entry)
        if conversation is not None and isinstance(entry.change, MembershipChanged):
            users |= dict.fromkeys(conversation.members)
    return list(users)
