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

from chat_service.model.conversation import changed
from chat_service.model.entry import Entry, MembershipChanged, Message, Retouch
from chat_service.owner.conversation import OwnedConversation, State
from chat_service.owner.patience import stubbornly
from chat_service.owner.pending import Pending
from chat_service.owner.ports import Conversations, Index, Log, Publisher
from servicekit.clock import Clock
from servicekit.ending import asked_to_end
from servicekit.failure import Failure

IN_FLIGHT: Final = 2
BATCH_ENTRIES: Final = 1000
ENTRIES_OF_ONE: Final = 200

_entries = Counter("parley_entries_appended", "Entries appended to logs")
_batches = Histogram(
    "parley_commit_entries", "Entries in one group commit", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
)
_conflicts = Counter("parley_commit_conflicts", "Entries refused by the log because another owner wrote")

log = structlog.get_logger("owner.commit")


@dataclass(slots=True)
class Share:
    """What one conversation has in a batch; `settled` of its entries are durable."""

    owned: OwnedConversation
    numbered: list[tuple[Pending, Entry]]
    settled: int = 0
    cut: bool = False


@dataclass(slots=True)
class Batch:
    """The shares of a group commit, by conversation."""

    shares: dict[str, Share] = field(default_factory=dict)

    def entries(self) -> list[Entry]:
        """What is to be written: all that is neither settled nor cut out."""
        return [
            entry for share in self.shares.values() if not share.cut for _, entry in share.numbered[share.settled :]
        ]


class GroupCommit:
    """Writes what waits. `done` is told of each conversation that is settled, and who sent messages."""

    def __init__(
        self,
        store: Log,
        conversations: Conversations,
        index: Index,
        publisher: Publisher,
        clock: Clock,
        done: Callable[[OwnedConversation, frozenset[str]], None],
    ) -> None:
        self._log = store
        self._conversations = conversations
        self._index = index
        self._publisher = publisher
        self._clock = clock
        self._done = done
        self._queued: deque[OwnedConversation] = deque()
        self._wake = asyncio.Event()

    def queue(self, owned: OwnedConversation) -> None:
        """Something waits in `owned`, and it can be numbered."""
        owned.state = State.QUEUED
        self._queued.append(owned)
        self._wake.set()

    async def run(self) -> None:
        """Commit until cancelled; batches in flight are never of the same conversation."""
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(self._commit_what_waits())

    async def _commit_what_waits(self) -> None:
        while not asked_to_end():
            await self._wake.wait()
            batch = self._take()
            if batch.shares:
                await self._commit(batch)

    def _take(self) -> Batch:
        batch, room = Batch(), BATCH_ENTRIES
        now_ms = self._clock.now_ms()
        while self._queued and room > 0:
            owned = self._queued.popleft()
            # What was loaded may have become doubtful while it was queued.
            numbered = owned.number(min(room, ENTRIES_OF_ONE), now_ms) if owned.loaded else []
            if not numbered:
                self._done(owned, frozenset())
                continue
            owned.state = State.COMMITTING
            batch.shares[owned.conversation_id] = Share(owned, numbered)
            room -= len(numbered)
        if not self._queued:
            self._wake.clear()
        return batch

    async def _commit(self, batch: Batch) -> None:
        shares = list(batch.shares.values())
        with self._contained(shares):
            await self._append_and_apply(shares, batch)
            for share in shares:
                with self._contained([share]):
                    self._settle(share)

    async def _append_and_apply(self, shares: list[Share], batch: Batch) -> None:
        # Who becomes a member is told once there is something to read.
        if touches := self._touches([each for each in shares if not _changes_conversation(each)]):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._index.touch(touches))
                await self._write(batch)
        else:
            await self._write(batch)
        await self._apply(shares)
        # Mongo may have taken long: what was touched before it must still cover what is told now.
        if late := self._touches(shares, _changes_conversation):
            await self._index.touch(late)

    @contextmanager
    def _contained(self, shares: Sequence[Share]) -> Iterator[None]:
        """Whatever goes wrong with these, the server lives: it is not known what is durable, and a retry finds out."""
        try:
            yield
        except Exception:
            log.exception("commit failed", conversation_ids=[share.owned.conversation_id for share in shares])
            for share in shares:
                if share.owned.state is State.COMMITTING:
                    share.owned.doubt([pending for pending, _ in share.numbered], Failure("this send failed"))
                    self._done(share.owned, frozenset())

    async def _write(self, batch: Batch) -> None:
        entries = batch.entries()
        _batches.observe(len(entries))
        while entries:
            # An outcome that is not known is made known by writing the same entries again.
            conflict = await stubbornly("append", partial(self._log.append, entries))
            written = entries if conflict is None else entries[: conflict.at]
            for entry in written:
                batch.shares[entry.conversation_id].settled += 1
            if conflict is None:
                return
            self._cut(batch.shares[entries[conflict.at].conversation_id])
            entries = batch.entries()

    @staticmethod
    def _cut(share: Share) -> None:
        _conflicts.inc()
        share.cut = True
        log.info(
            "commit conflict",
            conversation_id=share.owned.conversation_id,
            seq=share.numbered[share.settled][1].seq,
        )

    def _touches(
        self, shares: Sequence[Share], always: Callable[[Share], bool] = lambda _: False
    ) -> dict[str, list[str]]:
        now, touches = self._clock.monotonic(), dict[str, list[str]]()
        for share in shares:
            if share.owned.needs_touch(now) or always(share):
                touches[share.owned.conversation_id] = _concerned(share)
                share.owned.touched_at = now
        return touches

    async def _apply(self, shares: Sequence[Share]) -> None:
        for share in shares:
            entries = [entry for _, entry in share.numbered[: share.settled]]
            if all(isinstance(entry.change, Message) for entry in entries):
                continue
            if retouches := [entry for entry in entries if isinstance(entry.change, Retouch)]:
                await stubbornly("retouch", partial(self._log.retouch, retouches))
            conversation = share.owned.conversation
            for entry in entries:
                conversation = changed(conversation, entry)
            if conversation is None:
                continue
            if all(isinstance(entry.change, Message | Retouch) for entry in entries):
                seq = conversation.applied_seq
                await stubbornly("applied", partial(self._conversations.applied, conversation.conversation_id, seq))
            else:
                await stubbornly("store", partial(self._conversations.store, conversation))

    def _settle(self, share: Share) -> None:
        settled = share.numbered[: share.settled]
        audiences = _Audiences(share.owned.members())
        for pending, entry in settled:
            share.owned.took(entry)
            audiences.add(entry, share.owned)
            share.owned.answered(pending, entry)
        if settled:
            _entries.inc(len(settled))
            for users, entries in audiences.entries:
                self._publisher.publish(users, entries, _cause(settled))
        share.owned.settled([pending for pending, _ in share.numbered], share.settled)
        self._done(share.owned, _senders(settled))


class _Audiences:
    """Entries in order, with those who are told: who is a member before or after an entry."""

    def __init__(self, users: list[str]) -> None:
        self.entries: list[tuple[list[str], list[Entry]]] = []
        self._users = users
        self._same = False

    def add(self, entry: Entry, owned: OwnedConversation) -> None:
        """The next entry; `owned` took it already."""
        if not isinstance(entry.change, MembershipChanged):
            if not self._same:
                self.entries.append((self._users, []))
            self._same = True
            self.entries[-1][1].append(entry)
            return
        before, self._users = self._users, owned.members()
        self.entries.append((list(dict.fromkeys([*before, *self._users])), [entry]))
        self._same = False


def _cause(settled: Sequence[tuple[Pending, Entry]]) -> str:
    """The trace of a fan-out: that of the first of its sends that has one."""
    return next((pending.draft.traceparent for pending, _ in settled if pending.draft.traceparent), "")


def _senders(settled: Sequence[tuple[Pending, Entry]]) -> frozenset[str]:
    return frozenset(entry.actor_id for _, entry in settled if isinstance(entry.change, Message))


def _changes_conversation(share: Share) -> bool:
    return any(not isinstance(entry.change, Message | Retouch) for _, entry in share.numbered)


def _concerned(share: Share) -> list[str]:
    conversation, users = share.owned.conversation, dict.fromkeys(share.owned.members())
    for _, entry in share.numbered:
        conversation = changed(conversation, entry)
        if conversation is not None and isinstance(entry.change, MembershipChanged):
            users |= dict.fromkeys(conversation.members)
    return list(users)
