"""Group commit: the queued sends of many conversations are appended in one write, while the next batch collects."""

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
from chat_service.model.entry import Entry, MembershipChanged, Message, MessageMutation, redact_mutation
from chat_service.model.stores import ChangeIndex, ConversationLog, ConversationStore
from chat_service.owner.append_rates import AppendRates
from chat_service.owner.append_spans import NO_TRACES, start_commit_spans, traces_of
from chat_service.owner.owned_conversation import OwnedConversation, State
from chat_service.owner.pending import PendingSend
from chat_service.owner.ports import Publisher
from servicekit import tracing
from servicekit.clock import Clock
from servicekit.failure import INTERNAL_ERROR, Failure
from servicekit.retry import retry_while_unavailable
from servicekit.tasks import cancel_requested
from servicekit.tracing import OpenSpan

BATCHES_IN_FLIGHT: Final = 2
MAX_BATCH_ENTRIES: Final = 1000
MAX_ENTRIES_PER_CONVERSATION: Final = 200

_entries_appended = Counter("parley_entries_appended", "Entries appended to logs")
_batch_entries = Histogram(
    "parley_commit_entries", "Entries in one group commit", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
)
_seconds = Histogram(
    "parley_commit_seconds",
    "Seconds from the queueing of the first send of a group commit to the answers of all",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
_conflicts = Counter("parley_commit_conflicts", "Appends that conflicted because another owner had appended")

log = structlog.get_logger("owner.commit")


@dataclass(slots=True)
class ConversationBatch:
    """The sends of one conversation in a batch, with their entries; the first `durable` of them are in the log."""

    owned: OwnedConversation
    sends: list[tuple[PendingSend, Entry]]
    durable: int = 0
    conflicted: bool = False


@dataclass(slots=True)
class CommitBatch:
    """The sends of one group commit, by conversation id, and when the first was queued (monotonic seconds)."""

    queued_at: float
    by_conversation: dict[str, ConversationBatch] = field(default_factory=dict)

    def entries(self) -> list[Entry]:
        """Return the entries to append: neither durable yet, nor of a conversation with a conflict."""
        return [
            entry
            for part in self.by_conversation.values()
            if not part.conflicted
            for _, entry in part.sends[part.durable :]
        ]


class GroupCommit:
    """Commits the queued sends of conversations, at most BATCHES_IN_FLIGHT batches at a time.

    `on_settled` is called when a conversation has no commit in flight any more, with the authors of its new messages.
    """

    def __init__(
        self,
        conversation_log: ConversationLog,
        conversations: ConversationStore,
        index: ChangeIndex,
        publisher: Publisher,
        clock: Clock,
        on_settled: Callable[[OwnedConversation, frozenset[str]], None],
    ) -> None:
        self._log = conversation_log
        self._conversations = conversations
        self._index = index
        self._publisher = publisher
        self._clock = clock
        self._on_settled = on_settled
        self.rates = AppendRates(clock)
        # Each with the time at which it was queued.
        self._queued: deque[tuple[OwnedConversation, float]] = deque()
        self._wake = asyncio.Event()

    def enqueue_conversation(self, owned: OwnedConversation) -> None:
        """Queue a loaded conversation that has queued sends for the next batch."""
        owned.state = State.QUEUED
        self._queued.append((owned, self._clock.monotonic()))
        self._wake.set()

    async def run(self) -> None:
        """Commit until cancelled. No conversation is in two batches in flight."""
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
        began_at = self._queued[0][1] if self._queued else 0.0
        batch, remaining = CommitBatch(began_at), MAX_BATCH_ENTRIES
        now_ms = self._clock.now_ms()
        while self._queued and remaining > 0:
            owned, _ = self._queued.popleft()
            # An invalidation may have arrived since the conversation was queued.
            sends = owned.assign_seqs(min(remaining, MAX_ENTRIES_PER_CONVERSATION), now_ms) if owned.loaded else []
            if not sends:
                self._on_settled(owned, frozenset())
                continue
            owned.state = State.COMMITTING
            batch.by_conversation[owned.conversation_id] = ConversationBatch(owned, sends)
            remaining -= len(sends)
        if not self._queued:
            self._wake.clear()
        return batch

    async def _commit(self, batch: CommitBatch) -> None:
        parts = list(batch.by_conversation.values())
        spans = _start_spans(parts) if tracing.is_enabled() else ()
        with self._isolate_failures(parts):
            try:
                await self._append_and_apply(parts, batch)
            finally:
                for span in spans:
                    span.end()
            self.rates.count((part.owned.conversation_id, part.durable) for part in parts if part.durable)
            for part in parts:
                with self._isolate_failures([part]):
                    self._answer_and_publish(part)
        _seconds.observe(self._clock.monotonic() - batch.queued_at)

    async def _append_and_apply(self, parts: list[ConversationBatch], batch: CommitBatch) -> None:
        # New members are touched only after the append, so that their reads find the conversation.
        if touches := self._collect_touches([part for part in parts if not _changes_conversation(part)]):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._index.touch(touches))
                await self._write(batch)
        else:
            await self._write(batch)
        await self._apply_to_documents(parts)
        # The append may have taken so long that an earlier touch does not cover its entries any more. An earlier touch
        # covers no former members.
        if late_touches := self._collect_touches(parts, _needs_late_touch):
            await self._index.touch(late_touches)

    @contextmanager
    def _isolate_failures(self, parts: Sequence[ConversationBatch]) -> Iterator[None]:
        """Fail the sends of these conversations if the body raises, so that the server goes on.

        Their outcome is unknown then; a retry of the sender looks them up.
        """
        try:
            yield
        except Exception:
            log.exception("commit failed", conversation_ids=[part.owned.conversation_id for part in parts])
            for part in parts:
                if part.owned.state is State.COMMITTING:
                    part.owned.fail_unknown_outcome([pending for pending, _ in part.sends], Failure(INTERNAL_ERROR))
                    self._on_settled(part.owned, frozenset())

    async def _write(self, batch: CommitBatch) -> None:
        entries = batch.entries()
        _batch_entries.observe(len(entries))
        while entries:
            # After StoreUnavailable the outcome is unknown; appending the same entries again reveals it.
            conflict = await retry_while_unavailable("append_batch", partial(self._log.append_batch, entries))
            written = entries if conflict is None else entries[: conflict.index]
            for entry in written:
                batch.by_conversation[entry.conversation_id].durable += 1
            if conflict is None:
                return
            self._mark_conflicted(batch.by_conversation[entries[conflict.index].conversation_id])
            entries = batch.entries()

    @staticmethod
    def _mark_conflicted(part: ConversationBatch) -> None:
        _conflicts.inc()
        part.conflicted = True
        log.info(
            "commit conflict",
            conversation_id=part.owned.conversation_id,
            seq=part.sends[part.durable][1].seq,
        )

    def _collect_touches(
        self, parts: Sequence[ConversationBatch], always: Callable[[ConversationBatch], bool] = lambda _: False
    ) -> dict[str, list[str]]:
        now, touches = self._clock.monotonic(), dict[str, list[str]]()
        for part in parts:
            if part.owned.needs_touch(now) or always(part):
                touches[part.owned.conversation_id] = _users_to_touch(part)
                part.owned.touched_at = now
        return touches

    async def _apply_to_documents(self, parts: Sequence[ConversationBatch]) -> None:
        for part in parts:
            entries = [entry for _, entry in part.sends[: part.durable]]
            if all(isinstance(entry.change, Message) for entry in entries):
                continue
            if mutations := [entry for entry in entries if isinstance(entry.change, MessageMutation)]:
                await retry_while_unavailable("apply_mutations", partial(self._log.apply_mutations, mutations))
            conversation = part.owned.conversation
            for entry in entries:
                conversation = apply_entry(conversation, entry)
            if conversation is None:
                continue
            if all(isinstance(entry.change, Message | MessageMutation) for entry in entries):
                applied = partial(
                    self._conversations.raise_applied_seq, conversation.conversation_id, conversation.applied_seq
                )
                await retry_while_unavailable("raise_applied_seq", applied)
            else:
                await retry_while_unavailable("save", partial(self._conversations.save, conversation))

    def _answer_and_publish(self, part: ConversationBatch) -> None:
        durable = part.sends[: part.durable]
        traces = traces_of(durable) if tracing.is_enabled() else NO_TRACES
        recipients = RecipientGroups(part.owned.member_ids())
        for pending, entry in durable:
            part.owned.apply(entry)
            recipients.add(entry, part.owned)
            if former := part.owned.former_readers(entry):
                self._publisher.publish(former, [redact_mutation(entry)], traces)
            part.owned.answer_appended(pending, entry)
        if durable:
            _entries_appended.inc(len(durable))
            for users, entries in recipients.groups:
                self._publisher.publish(users, entries, traces)
        part.owned.requeue_unsettled([pending for pending, _ in part.sends], part.durable)
        self._on_settled(part.owned, _message_authors(durable))


class RecipientGroups:
    """Consecutive entries grouped by their recipients: the members before and after each entry."""

    def __init__(self, members: list[str]) -> None:
        self.groups: list[tuple[list[str], list[Entry]]] = []
        self._members = members
        self._extendable = False

    def add(self, entry: Entry, owned: OwnedConversation) -> None:
        """Add the next entry, which has been applied to `owned` already."""
        if not isinstance(entry.change, MembershipChanged):
            if not self._extendable:
                self.groups.append((self._members, []))
            self._extendable = True
            self.groups[-1][1].append(entry)
            return
        before, self._members = self._members, owned.member_ids()
        self.groups.append((list(dict.fromkeys([*before, *self._members])), [entry]))
        self._extendable = False


def _start_spans(parts: Sequence[ConversationBatch]) -> Sequence[OpenSpan]:
    return start_commit_spans(send for part in parts for send in part.sends)


def _message_authors(sends: Sequence[tuple[PendingSend, Entry]]) -> frozenset[str]:
    return frozenset(entry.actor_id for _, entry in sends if isinstance(entry.change, Message))


def _changes_conversation(part: ConversationBatch) -> bool:
    return any(not isinstance(entry.change, Message | MessageMutation) for _, entry in part.sends)


def _needs_late_touch(part: ConversationBatch) -> bool:
    return _changes_conversation(part) or any(part.owned.former_readers(entry) for _, entry in part.sends)


def _users_to_touch(part: ConversationBatch) -> list[str]:
    conversation, users = part.owned.conversation, dict.fromkeys(part.owned.member_ids())
    for _, entry in part.sends:
        conversation = apply_entry(conversation, entry)
        if conversation is not None and isinstance(entry.change, MembershipChanged):
            users |= dict.fromkeys(conversation.members)
        users |= dict.fromkeys(part.owned.former_readers(entry))
    return list(users)
