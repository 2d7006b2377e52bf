"""Changes of messages and members, concurrent with each other, with sends, and with a change of owner."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest
import uuid_utils
from redis.asyncio import Redis

from chat_service.errors import Blocked, ConversationNotFound, GroupFull, MessageNotFound, RoleInsufficient
from chat_service.limits import Limits
from chat_service.model.entry import (
    Change,
    ConversationUpdated,
    Draft,
    Entry,
    MembershipChanged,
    MembershipKind,
    Message,
    MessageDeleted,
    MessageEdited,
    Reaction,
    ReactionChanged,
    Role,
)
from chat_service.model.ids import group_id
from chat_service.model.requests import Appended, AppendOutcome, Creation, Done, Unchanged
from chat_service.model.retention import Retention, RetentionRule
from chat_service.model.stores import Conflict
from chat_service.owner.commit import MAX_ENTRIES_PER_CONVERSATION
from chat_service.server import owner_limits
from chat_service.storage.change_index import RedisChangeIndex
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.log import MongoLog
from chat_service.storage.relations import MongoBlockStore
from chat_service.storage.scripts import user_key
from chat_service.wire.frames import welcome_frame
from parley.chat.v1 import chat_pb2
from parley.chat.v1.entry_pb2 import Content, Text
from servicekit.mongo import Database
from tests.integration.chat.conftest import (
    ALICE,
    BOB,
    CAROL,
    Owners,
    RunningOwner,
    direct,
    draft,
    request_time_ms,
    seq_of,
)

pytestmark = pytest.mark.integration


def change(conversation_id: str, value: Change, actor: str = ALICE) -> Draft:
    key = uuid_utils.uuid7().bytes
    return Draft(conversation_id, actor, key, value, request_time_ms(key))


def removed(user: str) -> MembershipChanged:
    return MembershipChanged(MembershipKind.REMOVED, ((user, Role.MEMBER),))


def added(user: str) -> MembershipChanged:
    return MembershipChanged(MembershipKind.ADDED, ((user, Role.MEMBER),))


def left(user: str) -> MembershipChanged:
    return MembershipChanged(MembershipKind.LEFT, ((user, Role.MEMBER),))


async def group(running: RunningOwner) -> str:
    request = uuid_utils.uuid7()
    identifier = group_id(ALICE, str(request))
    creation = Creation(identifier, ALICE, UUID(str(request)).bytes, (ALICE, BOB), "two of us")
    assert await running.create(creation) == Done()
    return identifier


async def log_of(database: Database, conversation_id: str) -> list[Entry]:
    return list((await MongoLog(database).read_page(conversation_id, 1, 1000)).entries)


async def test_stale_owner_refuses_sends_of_removed_member(owners: Owners, database: Database) -> None:
    stale, other = await owners.start(), await owners.start()
    conversation_id = await group(stale)
    assert seq_of(await stale.append(draft(conversation_id, BOB))) == 3
    assert seq_of(await other.append(change(conversation_id, removed(BOB)))) == 4
    assert isinstance(await stale.append(draft(conversation_id, BOB)), ConversationNotFound)
    assert seq_of(await stale.append(draft(conversation_id, ALICE))) == 5
    assert len(await log_of(database, conversation_id)) == 5


async def test_new_index_generation_has_the_deletions_that_concern_former_members(
    owners: Owners, index: RedisChangeIndex, redis: Redis
) -> None:
    running = await owners.start()
    conversation_id = await group(running)
    sent = seq_of(await running.append(draft(conversation_id, ALICE)))
    seq_of(await running.append(change(conversation_id, removed(BOB))))
    before = (await index.read_changes(BOB, None)).cursor
    seq_of(await running.append(change(conversation_id, MessageDeleted(sent))))
    # The new generation begins without the touch of the deletion.
    await redis.delete(user_key(BOB))
    assert (await index.read_changes(BOB, before)).conversation_ids == ()
    await running.owner.on_generation_changed()
    assert (await index.read_changes(BOB, before)).conversation_ids == (conversation_id,)


async def test_removal_refuses_later_sends_in_flight(owners: Owners, database: Database) -> None:
    running = await owners.start()
    conversation_id = await group(running)
    sends = [running.append(draft(conversation_id, BOB, str(number))) for number in range(20)]
    answers = await asyncio.gather(*sends[:10], running.append(change(conversation_id, removed(BOB))), *sends[10:])
    removal = seq_of(answers[10])
    assert [seq_of(answer) for answer in answers[:10]] == list(range(removal - 10, removal))
    for answer in answers[11:]:
        assert isinstance(answer, ConversationNotFound), answer
    log = await log_of(database, conversation_id)
    assert [entry.seq for entry in log] == list(range(1, len(log) + 1))
    assert all(entry.actor_id != BOB for entry in log if entry.seq > removal)
    # Bob receives his removal and no later entry.
    delivered = [seq for users, seqs in running.publisher.deliveries if BOB in users for seq in seqs]
    assert max(delivered) == removal


async def test_added_member_receives_entries_from_then_on(owners: Owners) -> None:
    running = await owners.start()
    conversation_id = await group(running)
    answers = await asyncio.gather(
        running.append(draft(conversation_id)),
        running.append(change(conversation_id, added(CAROL))),
        running.append(draft(conversation_id)),
    )
    joined = seq_of(answers[1])
    delivered = [seq for users, seqs in running.publisher.deliveries if CAROL in users for seq in seqs]
    assert delivered == list(range(joined, 6))


async def test_message_edited_and_deleted_concurrently_ends_deleted(owners: Owners, database: Database) -> None:
    first, second = await owners.start(), await owners.start()
    conversation_id = await group(first)
    target = seq_of(await first.append(draft(conversation_id)))
    edits = [MessageEdited(target, f"edit {number}".encode()) for number in range(6)]
    pending = [each.append(change(conversation_id, edit)) for edit in edits for each in (first, second)]
    deletion = first.append(change(conversation_id, MessageDeleted(target)))
    *answers, deleted = await asyncio.gather(*pending, deletion)
    seq = seq_of(deleted)
    for answer in answers:
        assert isinstance(answer, MessageNotFound) or seq_of(answer) < seq
    # A late edit is refused by both owners.
    for owner in (first, second):
        late = await owner.append(change(conversation_id, MessageEdited(target, b"late")))
        assert isinstance(late, MessageNotFound)
    log = {entry.seq: entry.change for entry in await log_of(database, conversation_id)}
    message = log[target]
    assert isinstance(message, Message)
    assert (message.content, message.delete_seq) == (b"", seq)
    kept = [each.content for each in log.values() if isinstance(each, MessageEdited)]
    # The owner of the deletion had received its edits before.
    assert len(kept) >= len(edits)
    assert not any(kept)


async def test_last_edit_wins_across_owners(owners: Owners, database: Database) -> None:
    first, second = await owners.start(), await owners.start()
    conversation_id = await group(first)
    target = seq_of(await first.append(draft(conversation_id)))
    edits = [(first, b"one"), (second, b"two"), (first, b"three")]
    seqs = [seq_of(await each.append(change(conversation_id, MessageEdited(target, text)))) for each, text in edits]
    message = (await log_of(database, conversation_id))[target - 1].change
    assert isinstance(message, Message)
    assert (message.content, message.edit_seq) == (b"three", seqs[-1])


async def test_next_owner_applies_changes_of_dead_owner(owners: Owners, database: Database) -> None:
    first = await owners.start()
    conversation_id = await group(first)
    target = seq_of(await first.append(draft(conversation_id)))
    other = seq_of(await first.append(draft(conversation_id)))
    # As if the first owner had died after it wrote the log and before it applied the entries.
    changes: list[Change] = [
        MessageEdited(target, b"edited"),
        ReactionChanged(target, "👍"),
        MessageDeleted(other),
        added(CAROL),
    ]
    await MongoLog(database).append_batch(
        [entry(conversation_id, other + number, each) for number, each in enumerate(changes, 1)]
    )
    second = await owners.start()
    assert seq_of(await second.append(draft(conversation_id, CAROL))) == other + 5
    log = await log_of(database, conversation_id)
    edited, deleted = log[target - 1].change, log[other - 1].change
    assert isinstance(edited, Message)
    assert isinstance(deleted, Message)
    reactions = {ALICE: Reaction("👍", other + 2)}
    assert (edited.content, edited.edit_seq, edited.reactions) == (b"edited", other + 1, reactions)
    assert (deleted.content, deleted.delete_seq) == (b"", other + 3)
    kept = await MongoConversationStore(database).load(conversation_id)
    assert kept is not None
    assert CAROL in kept.members


def entry(conversation_id: str, seq: int, value: Change) -> Entry:
    key = uuid_utils.uuid7().bytes
    return Entry(conversation_id, seq, 2, 0, ALICE, key, value, value.fingerprint())


async def test_block_refuses_later_sends(owners: Owners, database: Database) -> None:
    running = await owners.start()
    creation = direct()
    await running.create(creation)
    conversation_id = creation.conversation_id
    seq = seq_of(await running.append(draft(conversation_id, ALICE)))
    in_flight = [running.append(draft(conversation_id, ALICE)) for _ in range(10)]
    pending = [asyncio.ensure_future(each) for each in in_flight]
    await MongoBlockStore(database).block(BOB, ALICE)
    assert await running.reload(conversation_id) == Done()
    head = (await MongoLog(database).read_tail(conversation_id, 1))[-1].head
    refused = [await running.append(draft(conversation_id, sender)) for sender in (ALICE, BOB)]
    assert all(isinstance(each, Blocked) for each in refused)
    before: list[AppendOutcome] = [await each for each in pending]
    assert all(isinstance(each, Appended | Blocked) for each in before)
    assert all(each.seq <= head.seq for each in before if isinstance(each, Appended)), (
        "an accepted send precedes the block"
    )
    assert isinstance(await running.append(change(conversation_id, ReactionChanged(seq, "👍"))), Blocked)
    # A blocked user can still delete own messages.
    assert seq_of(await running.append(change(conversation_id, MessageDeleted(seq)))) > seq
    await MongoBlockStore(database).unblock(BOB, ALICE)
    await running.reload(conversation_id)
    assert seq_of(await running.append(draft(conversation_id, ALICE))) > seq


async def test_stale_owner_uses_roles_of_the_log(owners: Owners) -> None:
    stale, other = await owners.start(), await owners.start()
    conversation_id = await group(stale)
    promoted = MembershipChanged(MembershipKind.ROLE_CHANGED, ((BOB, Role.ADMIN),))
    await stale.append(change(conversation_id, promoted))
    demoted = MembershipChanged(MembershipKind.ROLE_CHANGED, ((BOB, Role.MEMBER),))
    await other.append(change(conversation_id, demoted))
    assert isinstance(await stale.append(change(conversation_id, removed(ALICE), BOB)), RoleInsufficient)


async def test_block_just_before_creation_refuses_sends(owners: Owners, database: Database) -> None:
    running, creation = await owners.start(), direct()
    # The block is written after the check for blocks and before the owner creates the conversation.
    await MongoBlockStore(database).block(BOB, ALICE)
    assert await running.reload(creation.conversation_id) == Done()
    assert await running.create(creation) == Done()
    for sender in (ALICE, BOB):
        assert isinstance(await running.append(draft(creation.conversation_id, sender)), Blocked)


async def test_edit_queued_behind_deletion_is_refused(owners: Owners) -> None:
    running = await owners.start()
    conversation_id = await group(running)
    target = seq_of(await running.append(draft(conversation_id)))
    pending = [
        change(conversation_id, MessageDeleted(target)),
        *(draft(conversation_id) for _ in range(MAX_ENTRIES_PER_CONVERSATION)),
        change(conversation_id, MessageEdited(target, b"too late")),
    ]
    *_, late = await asyncio.gather(*(running.append(each) for each in pending))
    assert isinstance(late, MessageNotFound)


async def test_member_who_left_during_consent_check_is_not_added_again(owners: Owners, database: Database) -> None:
    running = await owners.start()
    conversation_id = await group(running)
    both = MembershipChanged(MembershipKind.ADDED, ((BOB, Role.MEMBER), (CAROL, Role.MEMBER)))
    # Bob was a member, so his consent was not checked; then he left.
    addition = replace(change(conversation_id, both), consent_exempt=frozenset({BOB}))
    seq_of(await running.append(change(conversation_id, left(BOB), BOB)))
    seq_of(await running.append(addition))
    kept = await MongoConversationStore(database).load(conversation_id)
    assert kept is not None
    assert set(kept.members) == {ALICE, CAROL}
    # A retry is the same request, even if the members have changed.
    again = replace(addition, consent_exempt=frozenset({CAROL}))
    assert isinstance(await running.append(again), Appended)


async def test_repeated_creation_is_answered_after_the_write(
    owners: Owners, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, append = await owners.start(), MongoLog.append_batch
    may_go_on = asyncio.Event()

    async def slow(log: MongoLog, entries: Sequence[Entry]) -> Conflict | None:
        await may_go_on.wait()
        return await append(log, entries)

    monkeypatch.setattr(MongoLog, "append_batch", slow)
    first = asyncio.ensure_future(running.create(direct(ALICE, BOB)))
    second = asyncio.ensure_future(running.create(replace(direct(ALICE, BOB), creator_id=BOB)))
    await asyncio.wait([second], timeout=0.2)
    # The second creation must not be answered before the first is written.
    assert not second.done()
    may_go_on.set()
    assert await second == Done()
    assert await first == Done()
    assert [each.seq for each in await log_of(database, direct().conversation_id)] == [1]


async def test_outcomes_based_on_a_lost_entry_are_decided_again(owners: Owners) -> None:
    stale, other = await owners.start(), await owners.start()
    conversation_id = await group(stale)
    assert seq_of(await other.append(draft(conversation_id))) == 3
    # The stale owner assigns a taken seq and refuses a send because of it; both are decided again.
    answers = await asyncio.gather(
        stale.append(change(conversation_id, removed(BOB))),
        stale.append(draft(conversation_id, BOB)),
        stale.append(draft(conversation_id, ALICE)),
    )
    assert seq_of(answers[0]) == 4
    assert isinstance(answers[1], ConversationNotFound)
    assert seq_of(answers[2]) == 5


async def test_a_group_holds_as_many_members_as_welcome_states(owners: Owners) -> None:
    limits = Limits(group_members=3)
    running = await owners.start(limits=owner_limits(limits))
    frame = chat_pb2.ConnectResponse.FromString(welcome_frame("session", "home", limits, now_ms=0, expires_at=0))
    conversation_id = await group(running)
    seq_of(await running.append(change(conversation_id, added(CAROL))))
    assert frame.welcome.limits.group_members == 3
    assert isinstance(await running.append(change(conversation_id, added("d" * 32))), GroupFull)


TEXT = Content(text=Text(body="said")).SerializeToString(deterministic=True)
NOTHING_NEW: dict[str, tuple[list[Change], Change]] = {
    "add a member": ([], added(BOB)),
    "set the role of a member": ([], MembershipChanged(MembershipKind.ROLE_CHANGED, ((BOB, Role.MEMBER),))),
    "set the title": ([], ConversationUpdated("two of us")),
    "remove no picture": ([], ConversationUpdated(picture_media_id="")),
    "set the picture": (
        [ConversationUpdated(picture_media_id="f" * 32)],
        ConversationUpdated(picture_media_id="f" * 32),
    ),
    "let all send": ([], ConversationUpdated(admins_only_send=False)),
    "set the retention": (
        [ConversationUpdated(retention=Retention(RetentionRule.MAX_AGE, 86_400))],
        ConversationUpdated(retention=Retention(RetentionRule.MAX_AGE, 86_400)),
    ),
    "set the default retention": ([], ConversationUpdated(retention=Retention())),
    "set a reaction": ([Message(TEXT), ReactionChanged(3, "👍")], ReactionChanged(3, "👍")),
    "set a reaction without selector": ([Message(TEXT), ReactionChanged(3, "❤️")], ReactionChanged(3, "❤")),
    "remove no reaction": ([Message(TEXT)], ReactionChanged(3, "")),
    "remove a removed reaction": (
        [Message(TEXT), ReactionChanged(3, "👍"), ReactionChanged(3, "")],
        ReactionChanged(3, ""),
    ),
    "edit to the present text": ([Message(TEXT)], MessageEdited(3, TEXT)),
    "edit to the edited text": ([Message(b"other"), MessageEdited(3, TEXT)], MessageEdited(3, TEXT)),
    "delete a deleted message": ([Message(TEXT), MessageDeleted(3)], MessageDeleted(3)),
}


@pytest.mark.parametrize(("before", "nothing_new"), NOTHING_NEW.values(), ids=NOTHING_NEW.keys())
@pytest.mark.parametrize("together", [False, True], ids=["later", "in one batch"])
async def test_a_change_that_changes_nothing_appends_no_entry(
    owners: Owners, database: Database, before: list[Change], nothing_new: Change, together: bool
) -> None:
    running = await owners.start()
    conversation_id = await group(running)
    drafts = [change(conversation_id, each) for each in [*before, nothing_new, nothing_new]]
    # Nobody knows the seq of a message, which the others name, before it is appended.
    alone = len(drafts) if not together else len([each for each in before if isinstance(each, Message)])
    answers = [await running.append(each) for each in drafts[:alone]]
    answers += await asyncio.gather(*map(running.append, drafts[alone:]))
    log = await log_of(database, conversation_id)
    assert [seq_of(answer) for answer in answers[: len(before)]] == list(range(3, 3 + len(before)))
    assert answers[len(before) :] == [Unchanged(log[-1].time_ms)] * 2
    assert len(log) == 2 + len(before)


async def test_an_update_records_only_the_values_that_change(owners: Owners, database: Database) -> None:
    running = await owners.start()
    conversation_id = await group(running)
    await running.append(change(conversation_id, ConversationUpdated("two of us", "f" * 32, False)))
    assert (await log_of(database, conversation_id))[-1].change == ConversationUpdated(picture_media_id="f" * 32)


async def test_a_deleted_message_is_deleted_again_only_by_those_who_may(owners: Owners) -> None:
    running = await owners.start()
    conversation_id = await group(running)
    seq_of(await running.append(draft(conversation_id, ALICE)))
    seq_of(await running.append(change(conversation_id, MessageDeleted(3))))
    assert isinstance(await running.append(change(conversation_id, MessageDeleted(3), BOB)), RoleInsufficient)
    assert isinstance(await running.append(change(conversation_id, ReactionChanged(3, ""), BOB)), MessageNotFound)


async def test_an_edit_that_arrives_while_sends_wait_for_the_commit_finds_its_message(owners: Owners) -> None:
    running = await owners.start()
    conversation_id = await group(running)
    seq_of(await running.append(draft(conversation_id)))
    # The first sends of one turn of the event loop queue the conversation for its commit; the edit comes after them.
    answers = await asyncio.gather(
        *(running.append(draft(conversation_id, text=str(number))) for number in range(3)),
        running.append(change(conversation_id, MessageEdited(3, b"edited"))),
    )
    assert [seq_of(answer) for answer in answers] == [4, 5, 6, 7]
