"""A conversation in the memory of its owner: the head of its log, its members, and the sends to append."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import NamedTuple, TypeVar

import structlog

from chat_service.errors import ConversationBusy
from chat_service.model.authorization import AuthorizationContext, RetainMentions, TargetMessage, authorize
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
    MessageDeleted,
    MessageEdited,
    MessageMutation,
)
from chat_service.model.requests import Appended, AppendOutcome, Done, OnDone, Unchanged
from chat_service.owner.pending import PendingSend
from servicekit.failure import INTERNAL_ERROR, Failure
from servicekit.rate_limiter import TokenBucket

K = TypeVar("K")
V = TypeVar("V")

MAX_REMEMBERED = 2000
# An id older than this is looked up before it gets a seq. For a newer one the unique index detects a duplicate.
LOOKUP_AGE_MS = 60_000
MAX_QUEUED = 1000
# A touch younger than this covers an entry, because readers of the index subtract 60 s from their cursor.
TOUCH_VALID_S = 30.0

log = structlog.get_logger("owner.conversation")


class State(Enum):
    """The step in which an owned conversation is: at most one of the refresh and the commit at a time."""

    IDLE = auto()
    REFRESHING = auto()
    QUEUED = auto()
    COMMITTING = auto()


class RecentEntry(NamedTuple):
    """The number of messages up to an entry, its actor, and whether it is a message."""

    message_number: int
    actor_id: str
    is_message: bool


class OwnedConversation:
    """The state needed to give the next entry its seq; all but the unanswered sends can be loaded from the stores."""

    def __init__(
        self, conversation_id: str, bucket: TokenBucket, group_members: int, retain_mentions: RetainMentions
    ) -> None:
        self.conversation_id = conversation_id
        self._bucket = bucket
        self._group_members = group_members
        self._retain_mentions = retain_mentions
        self.conversation: Conversation | None = None
        self.watermarks: dict[str, Watermark] = {}
        # True if one user of a 1-1 conversation has blocked the other.
        self.blocked = False
        # By seq, the messages that the queued edits, deletions and reactions target, and those replied to.
        self.targets: Mapping[int, TargetMessage] = {}
        self.head: Head = EMPTY_LOG_HEAD
        self.state = State.IDLE
        self.loaded = False
        # Raised by each invalidation; a load that began in an earlier epoch does not count.
        self.invalidation_epoch = 0
        self._commit_waiters: list[OnDone] = []
        # True if every queued key must be looked up, because another owner has appended entries, or may have.
        self.needs_dedup_lookup = False
        self.queued: deque[PendingSend] = deque()
        self.unanswered: dict[bytes, PendingSend] = {}
        self.touched_at = float("-inf")
        # Outcomes without an entry: (number of entries of the batch that must be durable first, send, outcome).
        self._deferred_replies: list[tuple[int, PendingSend, AppendOutcome]] = []
        self._appended: OrderedDict[bytes, tuple[bytes, Appended]] = OrderedDict()
        # The MAX_REMEMBERED newest entries by seq.
        self.recent_entries: OrderedDict[int, RecentEntry] = OrderedDict()

    def enqueue_pending(self, pending: PendingSend) -> None:
        """Queue a send. A retry of an appended send is answered at once, one of an unanswered send together with it.

        Raise ConversationBusy if the rate limit of the conversation is exceeded or MAX_QUEUED sends are queued.
        """
        if (appended := self._appended.get(pending.key)) is not None:
            pending.answer(pending.result_of_retry(*appended))
        elif (first := self.unanswered.get(pending.key)) is not None:
            self._join_duplicate(first, pending)
        elif (wait_s := self._bucket.take()) > 0 or len(self.queued) >= MAX_QUEUED:
            raise ConversationBusy("conversation rate limit exceeded", retry_after=max(wait_s, 0.05))
        else:
            self.queued.append(pending)
            self.unanswered[pending.key] = pending

    def needs_refresh(self, now_ms: int) -> bool:
        """Return True if the queued sends cannot get seqs before a load or a lookup of their keys."""
        return (
            not self.loaded
            or self.needs_dedup_lookup
            or any(self._needs_lookup(pending, now_ms) for pending in self.queued)
        )

    def target_seqs(self) -> set[int]:
        """Return the seqs of the messages that queued sends change, or reply to without a recent entry."""
        changes = (pending.draft.change for pending in self.queued)
        replies = {pending.draft.references.reply_to_seq for pending in self.queued} - {0}
        return {change.target_seq for change in changes if isinstance(change, MessageMutation)} | (
            replies - self.recent_entries.keys()
        )

    def has_edits(self) -> bool:
        """Return True if a queued send edits a message."""
        return any(isinstance(pending.draft.change, MessageEdited) for pending in self.queued)

    def keys_to_look_up(self, now_ms: int) -> list[bytes]:
        """Return the keys to look up in the log before the queued sends can get seqs."""
        return [
            pending.key for pending in self.queued if self.needs_dedup_lookup or self._needs_lookup(pending, now_ms)
        ]

    def _needs_lookup(self, pending: PendingSend, now_ms: int) -> bool:
        """Return True if the key of a send, and the message that it refers to, must be read before it gets a seq."""
        if pending.known_new:
            return False
        draft = pending.draft
        if draft.made_ms < now_ms - LOOKUP_AGE_MS or not isinstance(draft.change, Message):
            return True
        if draft.refusal is not None:
            # No entry of it is inserted, so no index detects that one was.
            return True
        reply_to = draft.references.reply_to_seq
        return reply_to != 0 and reply_to not in self.recent_entries

    def _is_message(self, seq: int) -> bool:
        recent = self.recent_entries.get(seq)
        return seq in self.targets if recent is None else recent.is_message

    def adopt_loaded_state(self, conversation: Conversation | None, tail: Sequence[EntryHeader]) -> set[str]:
        """Adopt the stored state, and return the authors in `tail` whose watermarks are higher than the stored ones."""
        self.conversation = conversation
        self.head = tail[-1].head if tail else EMPTY_LOG_HEAD
        members = conversation.members if conversation else {}
        for user, member in members.items():
            self._raise_watermark(user, member.watermark)
        for user, watermark in conversation.former_watermarks.items() if conversation else ():
            self._raise_watermark(user, watermark)
        authors = set[str]()
        for header in tail:
            recent = RecentEntry(header.head.message_number, header.actor_id, header.message)
            _remember(self.recent_entries, header.head.seq, recent)
            if header.message and header.actor_id in members:
                self._raise_watermark(header.actor_id, _read_up_to(header.head))
                authors.add(header.actor_id)
        self.loaded = True
        return {user for user in authors if self.watermarks[user] != members[user].watermark}

    def _raise_watermark(self, user: str, watermark: Watermark) -> None:
        self.watermarks[user] = self.watermarks.get(user, Watermark()).max_with(watermark)

    def invalidate(self) -> None:
        """Require a load before the next seq is given, because state outside the log has changed."""
        self.loaded = False
        self.invalidation_epoch += 1

    def wait_for_commit(self, reply: OnDone) -> None:
        """Call `reply` with Done when no commit of this conversation is in flight, at once if none is now."""
        self._commit_waiters.append(reply)
        if self.state is not State.COMMITTING:
            self.answer_commit_waiters()

    def answer_commit_waiters(self) -> None:
        """Report to the commit waiters that the commit in flight has ended."""
        replies, self._commit_waiters = self._commit_waiters, []
        for reply in replies:
            reply(Done())

    def apply_dedup_lookup(self, keys: list[bytes], found: dict[bytes, Entry]) -> None:
        """Answer the queued sends that `found` shows to be appended; the other sends with one of `keys` are new."""
        looked_up, hits = set(keys), list[tuple[PendingSend, Entry]]()
        queued, self.queued = self.queued, deque()
        for pending in queued:
            if (entry := found.get(pending.key)) is not None:
                hits.append((pending, entry))
                continue
            pending.known_new = pending.known_new or pending.key in looked_up
            self.queued.append(pending)
        self.needs_dedup_lookup = False
        # Last, because a sender that is answered may send again within the call.
        for pending, entry in hits:
            self.answer_appended(pending, entry)

    def assign_seqs(self, limit: int, now_ms: int) -> list[tuple[PendingSend, Entry]]:
        """Assign seqs to at most `limit` queued sends, and return them with their entries.

        A send that is refused or changes nothing gets no seq. It is answered once the entries before it in the batch,
        by which it was authorized, are durable; at once if there are none.
        """
        assigned: list[tuple[PendingSend, Entry]] = []
        self._deferred_replies = []
        head = self.head
        context = AuthorizationContext(
            self.conversation, self.targets, self.blocked, self._group_members, self._is_message, self._retain_mentions
        )
        # A send that was queued after the last refresh may need another one.
        while self.queued and len(assigned) < limit and not self._needs_lookup(self.queued[0], now_ms):
            pending = self.queued.popleft()
            try:
                change = authorize(pending.draft, context)
            except Failure as refusal:
                self._deferred_replies.append((len(assigned), pending, refusal))
                continue
            except Exception:
                log.exception("draft authorization failed", conversation_id=self.conversation_id)
                self._deferred_replies.append((len(assigned), pending, Failure(INTERNAL_ERROR)))
                continue
            if change is None:
                self._deferred_replies.append((len(assigned), pending, Unchanged(head.time_ms)))
                continue
            entry = _make_entry(pending, change, head, now_ms)
            head = Head(entry.seq, entry.message_number, entry.time_ms)
            context = context.after_entry(entry)
            assigned.append((pending, entry))
        # The sends that stay queued are authorized after the deletions of this batch.
        self.targets = context.targets
        self._send_deferred_replies(0)
        return assigned

    def _send_deferred_replies(self, durable: int) -> None:
        """Report the deferred outcomes that depend on at most the first `durable` entries of the batch."""
        due, self._deferred_replies = (
            [reply for reply in self._deferred_replies if reply[0] <= durable],
            [reply for reply in self._deferred_replies if reply[0] > durable],
        )
        for _, pending, outcome in due:
            del self.unanswered[pending.key]
            pending.answer(outcome)

    def apply(self, entry: Entry) -> None:
        """Make a durable entry the head, apply its change, and count a message as read by its author."""
        self.head = Head(entry.seq, entry.message_number, entry.time_ms)
        self.conversation = apply_entry(self.conversation, entry)
        recent = RecentEntry(entry.message_number, entry.actor_id, isinstance(entry.change, Message))
        _remember(self.recent_entries, entry.seq, recent)
        if isinstance(entry.change, MembershipChanged) and self.conversation:
            if entry.change.kind is MembershipKind.CREATED:
                # A block from before the conversation existed is found only by a load.
                self.invalidate()
            for user, member in self.conversation.members.items():
                self._raise_watermark(user, member.watermark)
        elif isinstance(entry.change, Message):
            self._raise_watermark(entry.actor_id, _read_up_to(self.head))

    def answer_appended(self, pending: PendingSend, entry: Entry) -> None:
        """Report the seq and time of an appended entry to its sender, and remember them for retries."""
        appended = Appended(entry.seq, entry.time_ms)
        del self.unanswered[pending.key]
        _remember(self._appended, entry.key, (entry.fingerprint, appended))
        pending.answer(pending.result_of_retry(entry.fingerprint, appended))

    def fail_unknown_outcome(self, sends: list[PendingSend], failure: Failure) -> None:
        """Fail the unanswered sends of a batch whose outcome is unknown, and look up the keys of all later sends."""
        self.loaded = False
        self.needs_dedup_lookup = True
        deferred, self._deferred_replies = [pending for _, pending, _ in self._deferred_replies], []
        for pending in [*sends, *deferred]:
            if self.unanswered.pop(pending.key, None) is not None:
                pending.answer(failure)

    def requeue_unsettled(self, sends: Sequence[PendingSend], durable: int) -> None:
        """Queue the sends of a batch after the first `durable` again, in their order and before all later sends.

        Their keys and the conversation are read again first, because another owner has appended entries.
        """
        self._send_deferred_replies(durable)
        if durable == len(sends):
            return
        # A deferred send stood before the entry at its position.
        unsettled = [((position, 1), pending) for position, pending in enumerate(sends) if position >= durable]
        unsettled += [((position, 0), pending) for position, pending, _ in self._deferred_replies]
        requeued, self._deferred_replies = [pending for _, pending in sorted(unsettled, key=lambda item: item[0])], []
        for pending in requeued:
            pending.known_new = False
        self.queued.extendleft(reversed(requeued))
        self.loaded = False
        self.needs_dedup_lookup = True

    def needs_touch(self, now: float) -> bool:
        """Return True if the last touch is too old to cover an entry at the monotonic time `now`."""
        return now - self.touched_at >= TOUCH_VALID_S

    def member_ids(self) -> list[str]:
        """Return the ids of the current members."""
        return list(self.conversation.members) if self.conversation else []

    def all_reader_ids(self) -> list[str]:
        """Return the ids of the present and former members."""
        conversation = self.conversation
        return list({*conversation.members, *conversation.past_memberships}) if conversation else []

    def former_readers(self, entry: Entry) -> list[str]:
        """Return the former members who may see the message that `entry` edits or deletes."""
        if self.conversation is None or not isinstance(entry.change, MessageEdited | MessageDeleted):
            return []
        return self.conversation.former_readers(entry.change.target_seq)

    @staticmethod
    def _join_duplicate(first: PendingSend, pending: PendingSend) -> None:
        if first.fingerprint == pending.fingerprint:
            first.waiters += pending.waiters
        else:
            pending.answer(pending.id_reused_error())


def _remember(memory: OrderedDict[K, V], key: K, value: V) -> None:
    memory[key] = value
    if len(memory) > MAX_REMEMBERED:
        memory.popitem(last=False)


def _read_up_to(head: Head) -> Watermark:
    """Return the watermark of the author of a message, who has read it and all entries before it."""
    return Watermark(head.seq, head.seq, head.message_number)


def _make_entry(pending: PendingSend, change: Change, head: Head, now_ms: int) -> Entry:
    draft = pending.draft
    return Entry(
        conversation_id=draft.conversation_id,
        seq=head.seq + 1,
        message_number=head.message_number + isinstance(change, Message),
        # Times never go backwards within a log, even if the clocks of two owners differ.
        time_ms=max(now_ms, head.time_ms),
        actor_id=draft.actor_id,
        request_id=draft.request_id,
        change=change,
        fingerprint=pending.fingerprint,
    )
