"""A conversation in the memory of its owner: where its log ends, and what waits to be appended."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import TypeVar

import structlog

from chat_service.errors import ConversationBusy
from chat_service.model.authorization import MAX_GROUP_MEMBERS, AuthorizationContext, TargetMessage, authorize
from chat_service.model.conversation import Conversation, Watermark, apply_entry
from chat_service.model.entry import (
    EMPTY_LOG_HEAD,
    Change,
    Entry,
    EntryHeader,
    Head,
    MembershipChanged,
    MembershipKind,
    Message,
    MessageMutation,
)
from chat_service.model.requests import Appended, AppendOutcome, Done, OnDone, Unchanged
from chat_service.owner.pending import PendingSend
from servicekit.failure import Failure
from servicekit.rate_limiter import TokenBucket

K = TypeVar("K")
V = TypeVar("V")

MAX_REMEMBERED = 2000
# An id made longer ago than this is looked up before it gets a seq; a newer one may meet the unique index.
LOOKUP_AGE_MS = 60_000
MAX_QUEUED = 1000
# A touch younger than this covers an entry; readers subtract 60 s.
TOUCH_VALID_S = 30.0

log = structlog.get_logger("owner.conversation")


class State(Enum):
    """What an owned conversation is doing."""

    IDLE = auto()
    REFRESHING = auto()
    QUEUED = auto()
    COMMITTING = auto()


class OwnedConversation:
    """All that is needed to number the next entry, and nothing that the store does not know as well."""

    def __init__(self, conversation_id: str, bucket: TokenBucket, group_members: int = MAX_GROUP_MEMBERS) -> None:
        self.conversation_id = conversation_id
        self._bucket = bucket
        self._group_members = group_members
        self.conversation: Conversation | None = None
        self.watermarks: dict[str, Watermark] = {}
        # Of a 1-1 conversation: whether one of the two has blocked the other.
        self.blocked = False
        # The messages that what waits concerns, by seq.
        self.targets: Mapping[int, TargetMessage] = {}
        self.head: Head = EMPTY_LOG_HEAD
        self.state = State.IDLE
        self.loaded = False
        # How often something beside the log was another.
        self.invalidation_epoch = 0
        self._commit_waiters: list[OnDone] = []
        # Whether every waiting key must be looked up: somebody else has written, or may have.
        self.needs_dedup_lookup = False
        self.queued: deque[PendingSend] = deque()
        self.unanswered: dict[bytes, PendingSend] = {}
        self.touched_at = float("-inf")
        # What needs no entry, by how many entries that have a seq and are not durable yet it was decided.
        self._deferred_replies: list[tuple[int, PendingSend, AppendOutcome]] = []
        self._appended: OrderedDict[bytes, tuple[bytes, Appended]] = OrderedDict()
        # The latest entries by seq: (message number, actor).
        self.recent_entries: OrderedDict[int, tuple[int, str]] = OrderedDict()

    def enqueue_pending(self, pending: PendingSend) -> None:
        """Take a send in: answer a repeat, join one that waits, or let it wait. Raises ConversationBusy."""
        if (first := self._appended.get(pending.key)) is not None:
            pending.answer(pending.result_of_repeat(*first))
        elif (same := self.unanswered.get(pending.key)) is not None:
            self._join_duplicate(same, pending)
        elif (wait := self._bucket.take()) > 0 or len(self.queued) >= MAX_QUEUED:
            raise ConversationBusy("this conversation takes in no more just now", retry_after=max(wait, 0.05))
        else:
            self.queued.append(pending)
            self.unanswered[pending.key] = pending

    def needs_refresh(self, now_ms: int) -> bool:
        """Whether the store must be asked before what waits can be numbered."""
        return (
            not self.loaded or self.needs_dedup_lookup or any(_needs_dedup_lookup(each, now_ms) for each in self.queued)
        )

    def target_seqs(self) -> set[int]:
        """The seqs of the messages that what waits concerns."""
        changes = (each.draft.change for each in self.queued)
        return {change.target_seq for change in changes if isinstance(change, MessageMutation)}

    def keys_to_look_up(self, now_ms: int) -> list[bytes]:
        """The keys to look up before what waits can be numbered."""
        return [each.key for each in self.queued if self.needs_dedup_lookup or _needs_dedup_lookup(each, now_ms)]

    def adopt_loaded_state(self, conversation: Conversation | None, tail: Sequence[EntryHeader]) -> set[str]:
        """Take over what the store says; whose watermarks, by what they wrote, are higher than they are kept."""
        self.conversation = conversation
        self.head = tail[-1].head if tail else EMPTY_LOG_HEAD
        members = conversation.members if conversation else {}
        for user, member in members.items():
            self._raise_watermark(user, member.watermark)
        for trace in tail:
            _remember(self.recent_entries, trace.head.seq, (trace.head.message_number, trace.actor_id))
            if trace.message and trace.actor_id in members:
                self._raise_watermark(trace.actor_id, _read_up_to(trace.head))
        self.loaded = True
        return {user for user, member in members.items() if self.watermarks[user] != member.watermark}

    def _raise_watermark(self, user: str, watermark: Watermark) -> None:
        self.watermarks[user] = self.watermarks.get(user, Watermark()).max_with(watermark)

    def invalidate(self) -> None:
        """What stands beside the log is another: it is read again before anything else is numbered."""
        self.loaded = False
        self.invalidation_epoch += 1

    def wait_for_commit(self, reply: OnDone) -> None:
        """`reply` is called when nothing is being committed, perhaps at once."""
        self._commit_waiters.append(reply)
        if self.state is not State.COMMITTING:
            self.answer_commit_waiters()

    def answer_commit_waiters(self) -> None:
        """What was being committed stands, or never will."""
        replies, self._commit_waiters = self._commit_waiters, []
        for reply in replies:
            reply(Done())

    def apply_dedup_lookup(self, keys: list[bytes], found: dict[bytes, Entry]) -> None:
        """Answer what waits and was appended before; what was asked for and not found is new."""
        known, hits = set(keys), list[tuple[PendingSend, Entry]]()
        waiting, self.queued = self.queued, deque()
        for pending in waiting:
            if (entry := found.get(pending.key)) is not None:
                hits.append((pending, entry))
                continue
            pending.known_new = pending.known_new or pending.key in known
            self.queued.append(pending)
        self.needs_dedup_lookup = False
        # Last, for who is answered may send again at once.
        for pending, entry in hits:
            self.answer_appended(pending, entry)

    def assign_seqs(self, limit: int, now_ms: int) -> list[tuple[PendingSend, Entry]]:
        """Give the next seqs to at most `most` of what waits.

        Who may not send is told so: at once, or once the entries are durable that were given a seq before it.
        """
        numbered: list[tuple[PendingSend, Entry]] = []
        self._deferred_replies = []
        head = self.head
        situation = AuthorizationContext(self.conversation, self.targets, self.blocked, self._group_members)
        while self.queued and len(numbered) < limit:
            pending = self.queued.popleft()
            try:
                change = authorize(pending.draft, situation)
            except Failure as refusal:
                self._deferred_replies.append((len(numbered), pending, refusal))
                continue
            except Exception:
                log.exception("draft not decided", conversation_id=self.conversation_id)
                self._deferred_replies.append((len(numbered), pending, Failure("this cannot be decided")))
                continue
            if change is None:
                self._deferred_replies.append((len(numbered), pending, Unchanged(head.time_ms)))
                continue
            entry = _make_entry(pending, change, head, now_ms)
            head = Head(entry.seq, entry.message_number, entry.time_ms)
            situation = situation.after_entry(entry)
            numbered.append((pending, entry))
        # What is left waiting is decided by what is deleted by then.
        self.targets = situation.targets
        self._send_deferred_replies(0)
        return numbered

    def _send_deferred_replies(self, durable: int) -> None:
        """Answer what needed no entry, as far as it was decided by entries that are durable."""
        due, self._deferred_replies = (
            [each for each in self._deferred_replies if each[0] <= durable],
            [each for each in self._deferred_replies if each[0] > durable],
        )
        for _, pending, answer in due:
            del self.unanswered[pending.key]
            pending.answer(answer)

    def apply(self, entry: Entry) -> None:
        """An entry of ours is durable: it is the head now, and its actor has read it."""
        self.head = Head(entry.seq, entry.message_number, entry.time_ms)
        self.conversation = apply_entry(self.conversation, entry)
        _remember(self.recent_entries, entry.seq, (entry.message_number, entry.actor_id))
        if isinstance(entry.change, MembershipChanged) and self.conversation:
            if entry.change.kind is MembershipKind.CREATED:
                # A block that came before there was anything to bar.
                self.invalidate()
            for user, member in self.conversation.members.items():
                self._raise_watermark(user, member.watermark)
        elif isinstance(entry.change, Message):
            self._raise_watermark(entry.actor_id, _read_up_to(self.head))

    def answer_appended(self, pending: PendingSend, entry: Entry) -> None:
        """Tell a sender the place of its entry, and remember it for repeats."""
        answer = Appended(entry.seq, entry.time_ms)
        del self.unanswered[pending.key]
        _remember(self._appended, entry.key, (entry.fingerprint, answer))
        pending.answer(pending.result_of_repeat(entry.fingerprint, answer))

    def fail_unknown_outcome(self, pendings: list[PendingSend], failure: Failure) -> None:
        """Answer those of sends under way that are not answered; whether they are in the log is looked up."""
        self.loaded = False
        self.needs_dedup_lookup = True
        beside, self._deferred_replies = [pending for _, pending, _ in self._deferred_replies], []
        for pending in [*pendings, *beside]:
            if self.unanswered.pop(pending.key, None) is not None:
                pending.answer(failure)

    def requeue_unsettled(self, numbered: Sequence[PendingSend], durable: int) -> None:
        """Of what was numbered so many are durable; the rest waits again, ahead of what came later, and in doubt."""
        self._send_deferred_replies(durable)
        if durable == len(numbered):
            return
        again = [((place, 1), pending) for place, pending in enumerate(numbered) if place >= durable]
        again += [((place, 0), pending) for place, pending, _ in self._deferred_replies]
        pendings, self._deferred_replies = [pending for _, pending in sorted(again, key=lambda each: each[0])], []
        for pending in pendings:
            pending.known_new = False
        self.queued.extendleft(reversed(pendings))
        self.loaded = False
        self.needs_dedup_lookup = True

    def needs_touch(self, now: float) -> bool:
        """Whether its last touch is too old, by the monotonic clock, to cover what happens now."""
        return now - self.touched_at >= TOUCH_VALID_S

    def member_ids(self) -> list[str]:
        """The users who are members now."""
        return list(self.conversation.members) if self.conversation else []

    @staticmethod
    def _join_duplicate(same: PendingSend, pending: PendingSend) -> None:
        if same.fingerprint == pending.fingerprint:
            same.waiters += pending.waiters
        else:
            pending.answer(pending.id_reused_error())


def _remember(memory: OrderedDict[K, V], key: K, value: V) -> None:
    memory[key] = value
    if len(memory) > MAX_REMEMBERED:
        memory.popitem(last=False)


def _read_up_to(head: Head) -> Watermark:
    """Of who wrote a message: it was read, with all before it."""
    return Watermark(head.seq, head.seq, head.message_number)


def _needs_dedup_lookup(pending: PendingSend, now_ms: int) -> bool:
    if pending.known_new:
        return False
    return pending.draft.made_ms < now_ms - LOOKUP_AGE_MS or not isinstance(pending.draft.change, Message)


def _make_entry(pending: PendingSend, change: Change, head: Head, now_ms: int) -> Entry:
    draft = pending.draft
    return Entry(
        conversation_id=draft.conversation_id,
        seq=head.seq + 1,
        message_number=head.message_number + isinstance(change, Message),
        # Never earlier than the entry before, whatever the clocks of two owners say.
        time_ms=max(now_ms, head.time_ms),
        actor_id=draft.actor_id,
        request_id=draft.request_id,
        change=change,
        fingerprint=pending.fingerprint,
    )
