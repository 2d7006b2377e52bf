"""Decisions whether an entry notifies a user, and the reasons if it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from notify_service.model.decision import ConversationContext, PushOutcome, RecipientState, choose_entry
from notify_service.model.events import AddedToGroup, Change, ContentKind, NewMessage, NewReaction, NotifyingEntry
from notify_service.model.preferences import DEFAULT_PREFERENCES, Preferences, QuietHours, Scope

ALICE, BOB, CAROL = "a" * 32, "b" * 32, "c" * 32
TEXT = NewMessage(ContentKind.TEXT, "hello")
MEMBER = RecipientState(is_member=True)
GROUP = ConversationContext(True, "Friday", "Alice", {BOB: MEMBER, ALICE: MEMBER}, {3: BOB, 4: CAROL})
DIRECT = replace(GROUP, is_group=False, title="")

PUSH = None
NOON_MS = 12 * 3_600_000


def entry(change: Change = TEXT, seq: int = 9, author: str = ALICE) -> NotifyingEntry:
    return NotifyingEntry(seq, author, change)


def outcome(
    *entries: NotifyingEntry,
    context: ConversationContext = GROUP,
    state: RecipientState = MEMBER,
    preferences: Preferences = DEFAULT_PREFERENCES,
) -> PushOutcome | str | None:
    context = replace(context, recipients={**context.recipients, BOB: state})
    contexts = {each.author_id: context for each in entries}
    verdict = choose_entry(entries, BOB, preferences, contexts, NOON_MS)
    return "nothing" if verdict is None else verdict.refusal


@pytest.mark.parametrize("context", [GROUP, DIRECT])
def test_message_notifies_a_member(context: ConversationContext) -> None:
    assert outcome(entry(), context=context) is PUSH


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (RecipientState(), PushOutcome.NOT_A_MEMBER),
        (replace(MEMBER, is_muted=True), PushOutcome.MUTED),
        (replace(MEMBER, blocks_author=True), PushOutcome.BLOCKED),
        (replace(MEMBER, read_seq=9), PushOutcome.READ),
        (replace(MEMBER, read_seq=8), PUSH),
    ],
)
def test_state_of_the_recipient_decides(state: RecipientState, expected: PushOutcome | None) -> None:
    assert outcome(entry(), state=state) is expected


def test_deleted_message_does_not_notify_and_the_one_before_it_does() -> None:
    context = replace(GROUP, deleted_seqs=frozenset({9}))
    assert outcome(entry(), context=context) is PushOutcome.DELETED
    assert outcome(entry(seq=8), entry(), context=context) is PUSH


def test_user_whom_the_directory_does_not_know_is_no_member() -> None:
    context = replace(GROUP, recipients={})
    verdict = choose_entry([entry()], BOB, Preferences(), {ALICE: context}, NOON_MS)
    assert verdict is not None
    assert verdict.refusal is PushOutcome.NOT_A_MEMBER


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (TEXT, PushOutcome.EXCLUDED),
        (replace(TEXT, mentions=frozenset({BOB, CAROL})), PUSH),
        (replace(TEXT, mentions=frozenset({CAROL})), PushOutcome.EXCLUDED),
        (replace(TEXT, reply_to_seq=3), PUSH),
        (replace(TEXT, reply_to_seq=4), PushOutcome.EXCLUDED),
        (replace(TEXT, reply_to_seq=5), PushOutcome.EXCLUDED),
        (AddedToGroup(frozenset({BOB})), PUSH),
    ],
)
def test_scope_of_mentions_lets_mentions_and_replies_through(change: Change, expected: PushOutcome | None) -> None:
    preferences = Preferences(Scope.MENTIONS)
    assert outcome(entry(change), preferences=preferences) is expected
    if isinstance(change, NewMessage):
        assert outcome(entry(change), preferences=preferences, context=DIRECT) is PUSH


@pytest.mark.parametrize(
    "change", [replace(TEXT, mentions=frozenset({BOB})), NewReaction(3, "👍"), AddedToGroup(frozenset({BOB}))]
)
def test_scope_of_nothing_excludes_everything(change: Change) -> None:
    assert outcome(entry(change), preferences=Preferences(Scope.NONE)) is PushOutcome.EXCLUDED


QUIET = Preferences(Scope.MENTIONS, quiet_hours=QuietHours(11 * 60, 13 * 60, "UTC"))
MENTION = replace(TEXT, mentions=frozenset({BOB}))


@pytest.mark.parametrize("change", [MENTION, NewReaction(3, "👍"), AddedToGroup(frozenset({BOB}))])
def test_nothing_notifies_in_quiet_hours(change: Change) -> None:
    assert outcome(entry(change), preferences=QUIET) is PushOutcome.QUIET_HOURS
    assert outcome(entry(change), preferences=QUIET, context=DIRECT) in (PushOutcome.QUIET_HOURS, "nothing")


def test_message_notifies_outside_of_quiet_hours() -> None:
    night = Preferences(quiet_hours=QuietHours(22 * 60, 7 * 60, "UTC"))
    assert outcome(entry(), preferences=night) is PUSH


@pytest.mark.parametrize(
    ("state", "change", "expected"),
    [
        (RecipientState(), MENTION, PushOutcome.NOT_A_MEMBER),
        (replace(MEMBER, is_muted=True), MENTION, PushOutcome.MUTED),
        (replace(MEMBER, read_seq=9), MENTION, PushOutcome.READ),
        (MEMBER, TEXT, PushOutcome.EXCLUDED),
    ],
)
def test_reason_that_lasts_longer_than_quiet_hours_is_told(
    state: RecipientState, change: Change, expected: PushOutcome
) -> None:
    assert outcome(entry(change), state=state, preferences=QUIET) is expected


def test_reaction_notifies_the_author_of_the_message_alone() -> None:
    assert outcome(entry(NewReaction(3, "👍"))) is PUSH
    assert outcome(entry(NewReaction(4, "👍"))) == "nothing"
    assert outcome(entry(NewReaction(5, "👍"))) == "nothing"
    assert outcome(entry(NewReaction(3, "👍")), preferences=Preferences(reactions=False)) is PushOutcome.EXCLUDED


def test_addition_notifies_the_added_in_groups_alone() -> None:
    assert outcome(entry(AddedToGroup(frozenset({BOB})))) is PUSH
    assert outcome(entry(AddedToGroup(frozenset({CAROL})))) == "nothing"
    assert outcome(entry(AddedToGroup(frozenset({BOB}))), context=DIRECT) == "nothing"


def test_own_entry_notifies_nobody() -> None:
    assert outcome(entry(author=BOB)) == "nothing"


def test_newest_entry_that_notifies_is_chosen() -> None:
    entries = [entry(seq=7), entry(seq=8), entry(NewReaction(4, "👍"), seq=9), entry(seq=10, author=BOB)]
    contexts = dict.fromkeys((ALICE, BOB), GROUP)
    verdict = choose_entry(entries, BOB, Preferences(), contexts, NOON_MS)
    assert verdict is not None
    assert (verdict.entry.seq, verdict.refusal) == (8, None)
    mention = replace(TEXT, mentions=frozenset({BOB}))
    verdict = choose_entry([entry(mention, 7), entry(seq=8)], BOB, Preferences(Scope.MENTIONS), contexts, NOON_MS)
    assert verdict is not None
    assert (verdict.entry.seq, verdict.refusal) == (7, None)


def test_reason_is_that_of_the_newest_entry() -> None:
    read = {ALICE: replace(GROUP, recipients={BOB: replace(MEMBER, read_seq=9)})}
    verdict = choose_entry([entry(seq=7), entry(seq=8)], BOB, Preferences(), read, NOON_MS)
    assert verdict is not None
    assert (verdict.entry.seq, verdict.refusal) == (8, PushOutcome.READ)
