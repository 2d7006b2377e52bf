"""The decision whether an entry notifies a user: pure functions of the entry, the preferences and the context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from notify_service.model.events import AddedToGroup, NewMessage, NewReaction, NotifyingEntry
from notify_service.model.preferences import Preferences, Scope
from notify_service.model.registration import ProviderKind

# The last decisions about pushes to a user that are kept, and listed.
MAX_DECISIONS: Final = 20


class PushOutcome(IntEnum):
    """The outcome of a decision about a push; the values are those of PushOutcome in the protos."""

    ACCEPTED = 1
    RETRYING = 2
    FAILED = 3
    TOKEN_GONE = 4
    NO_TOKEN = 5
    SIGNED_OUT = 6
    NOT_A_MEMBER = 7
    MUTED = 8
    BLOCKED = 9
    READ = 10
    EXCLUDED = 11
    SUPERSEDED = 12
    QUIET_HOURS = 13
    IN_FOREGROUND = 14
    DELETED = 15


@dataclass(frozen=True, slots=True)
class PushDecision:
    """A decision about pushes of an entry, for all devices of a user or, with `device_id`, for one.

    `provider_reason` is the provider's own, without content of messages.
    """

    time_ms: int
    conversation_id: str
    seq: int
    outcome: PushOutcome
    device_id: str = ""
    provider: ProviderKind | None = None
    provider_reason: str = ""


@dataclass(frozen=True, slots=True)
class RecipientState:
    """The state of a user on which a notification depends."""

    is_member: bool = False
    is_muted: bool = False
    blocks_author: bool = False
    read_seq: int = 0
    badge: int = 0


NO_MEMBER = RecipientState()


@dataclass(frozen=True, slots=True)
class ConversationContext:
    """A conversation as notifications of entries by one author show it.

    `authors` are those of earlier messages; `deleted_seqs` are the messages that were deleted since.
    """

    is_group: bool
    title: str
    author_name: str
    recipients: Mapping[str, RecipientState]
    authors: Mapping[int, str]
    deleted_seqs: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on an entry for a user: a notification, or the outcome that says why there is none."""

    entry: NotifyingEntry
    refusal: PushOutcome | None = None


def choose_entry(
    entries: Sequence[NotifyingEntry],
    user_id: str,
    preferences: Preferences,
    contexts: Mapping[str, ConversationContext],
    now_ms: int,
) -> Verdict | None:
    """Return the verdict on the newest entry that notifies the user.

    If none does, return that on the newest one that concerns the user, None if there is no such entry. `contexts` are
    by author, `now_ms` is in milliseconds since 1970.
    """
    refused: Verdict | None = None
    for entry in reversed(entries):
        context = contexts[entry.author_id]
        if not _concerns(entry, user_id, context):
            continue
        refusal = _find_refusal(entry, user_id, preferences, context, now_ms)
        if refusal is None:
            return Verdict(entry)
        refused = refused or Verdict(entry, refusal)
    return refused


def _concerns(entry: NotifyingEntry, user_id: str, context: ConversationContext) -> bool:
    if entry.author_id == user_id:
        return False
    match entry.change:
        case NewReaction(target_seq):
            return context.authors.get(target_seq) == user_id
        case AddedToGroup(user_ids):
            return context.is_group and user_id in user_ids
        case _:
            return True


def _find_refusal(
    entry: NotifyingEntry, user_id: str, preferences: Preferences, context: ConversationContext, now_ms: int
) -> PushOutcome | None:
    state = context.recipients.get(user_id, NO_MEMBER)
    if not state.is_member:
        return PushOutcome.NOT_A_MEMBER
    if state.blocks_author:
        return PushOutcome.BLOCKED
    if state.is_muted:
        return PushOutcome.MUTED
    if not _is_wanted(entry, user_id, preferences, context):
        return PushOutcome.EXCLUDED
    if state.read_seq >= entry.seq:
        return PushOutcome.READ
    if entry.seq in context.deleted_seqs:
        return PushOutcome.DELETED
    if preferences.is_quiet(now_ms):
        return PushOutcome.QUIET_HOURS
    return None


def _is_wanted(entry: NotifyingEntry, user_id: str, preferences: Preferences, context: ConversationContext) -> bool:
    if preferences.scope is Scope.NONE:
        return False
    match entry.change:
        case NewReaction():
            return preferences.reactions
        case NewMessage(mentions=mentions, reply_to_seq=reply_to_seq):
            if preferences.scope is Scope.ALL or not context.is_group:
                return True
            return user_id in mentions or context.authors.get(reply_to_seq) == user_id
        case AddedToGroup():
            return True
