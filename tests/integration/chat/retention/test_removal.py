"""Expired content is removed for all members, and seqs continue."""

from __future__ import annotations

import operator
import time
from functools import partial

import pytest
import uuid_utils

from chat_service.errors import MessageNotFound
from chat_service.history.history import RangeRequest
from chat_service.model.entry import (
    ConversationUpdated,
    Entry,
    MembershipChanged,
    MembershipKind,
    MessageEdited,
    Role,
)
from chat_service.model.ids import group_id
from chat_service.model.requests import Appended, Creation, Done
from chat_service.model.retention import FOREVER, Retention, RetentionPolicy, RetentionRule
from chat_service.retention.job import RetentionJob
from chat_service.retention.sweep import SweepResult
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.log import MongoLog
from servicekit.clock import SystemClock
from servicekit.failure import Failure
from tests.integration.chat.conftest import (
    ALICE,
    BOB,
    CAROL,
    Owners,
    seq_of,
)
from tests.integration.chat.retention.environment import (
    A_DAY,
    DAY_S,
    RetentionEnvironment,
    change,
    create_direct,
    send_texts,
)

pytestmark = pytest.mark.integration


async def test_expired_content_is_removed_for_all_members_and_seqs_continue(
    owners: Owners, environment: RetentionEnvironment
) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    seqs = await send_texts(running, conversation_id, *"abcdefgh")
    assert await environment.sweep_due(A_DAY) == [SweepResult()]
    assert await environment.days_until_due(conversation_id) == pytest.approx(1, abs=0.01)
    environment.clock.advance(DAY_S - 60)
    assert await environment.sweep_due(A_DAY) == []
    environment.clock.advance(120)
    [removed] = await environment.sweep_due(A_DAY)
    assert (removed.contents, removed.stubs, removed.first_seq) == (9, 0, seqs[-1] + 1)
    for user in (ALICE, BOB):
        assert await environment.bodies(conversation_id, user) == []
        [found] = await environment.history.read_ranges(user, [RangeRequest(conversation_id, 0, 100)])
        assert not isinstance(found, Failure)
        assert [each.seq for each in found.entries] == [1, *seqs]
        assert found.visible.conversation.first_seq == seqs[-1] + 1
        assert found.unread_count == 0
        with pytest.raises(MessageNotFound):
            await environment.history.get_message(user, conversation_id, seqs[-1])
    assert await environment.contents(conversation_id) == []
    assert await send_texts(running, conversation_id, "next") == [seqs[-1] + 1]
    assert await environment.bodies(conversation_id, BOB) == ["next"]
    assert (await environment.history.summarize(BOB, conversation_id)).unread_count == 1


async def test_stubs_are_removed_after_thirty_days_except_the_highest(
    owners: Owners, environment: RetentionEnvironment
) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    seqs = await send_texts(running, conversation_id, *"abcde")
    await environment.sweep_due(A_DAY)
    environment.clock.advance(2 * DAY_S)
    await environment.sweep_due(A_DAY)
    # The next sweep is due for entries appended later.
    assert await environment.days_until_due(conversation_id) == pytest.approx(1, abs=0.01)
    environment.clock.advance(30 * DAY_S)
    [removed] = await environment.sweep_due(A_DAY)
    assert (removed.contents, removed.stubs) == (0, 5)
    assert [each.seq for each in await environment.entries(conversation_id)] == [seqs[-1]]
    another = await owners.start()
    assert await send_texts(another, conversation_id, "next") == [seqs[-1] + 1]
    overview = await environment.history.summarize(BOB, conversation_id)
    assert (overview.head_seq, overview.unread_count) == (seqs[-1] + 1, 1)
    assert set(overview.visible.conversation.members) == {ALICE, BOB}
    # A receipt below the first remaining entry counts every removed message as read.
    assert await another.receive(BOB, conversation_id, 2, 2) == Done()
    assert (await environment.history.summarize(BOB, conversation_id)).unread_count == 1


async def test_edits_are_removed_with_their_message(owners: Owners, environment: RetentionEnvironment) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    [seq] = await send_texts(running, conversation_id, "first")
    await environment.sweep_due(A_DAY)
    environment.clock.advance(DAY_S)
    edited = MessageEdited(seq, b"second")
    log = MongoLog(environment.database)
    late = Entry(conversation_id, 3, 1, environment.clock.now_ms(), ALICE, b"e" * 16, edited, edited.fingerprint())
    await log.append_batch([late])
    await log.apply_mutations([late])
    await MongoConversationStore(environment.database).raise_applied_seq(conversation_id, 3)
    assert await environment.bodies(conversation_id) == ["second"]
    environment.clock.advance(60)
    [removed] = await environment.sweep_due(A_DAY)
    assert removed.first_seq == 3
    assert await environment.contents(conversation_id) == []


async def test_own_rule_overrides_default_and_new_default_applies(
    owners: Owners, environment: RetentionEnvironment
) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    creation = Creation(group_id(ALICE, "0" * 32), ALICE, uuid_utils.uuid7().bytes, (ALICE, BOB, CAROL), "Group")
    await running.create(creation)
    own = ConversationUpdated(retention=Retention(RetentionRule.MAX_AGE, 2 * DAY_S))
    assert isinstance(await running.append(change(creation.conversation_id, own)), Appended)
    assert len(await environment.sweep_due(RetentionPolicy(FOREVER))) == 2
    assert await environment.days_until_due(conversation_id) is None
    assert await environment.days_until_due(creation.conversation_id) == pytest.approx(2, abs=0.01)
    assert await environment.sweep_due(RetentionPolicy(FOREVER)) == []
    assert await environment.sweep_due(A_DAY) == [SweepResult()]
    assert await environment.days_until_due(conversation_id) == pytest.approx(1, abs=0.01)
    assert await environment.sweep_due(A_DAY) == []


async def test_unapplied_state_change_in_log_is_kept(owners: Owners, environment: RetentionEnvironment) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    seqs = await send_texts(running, conversation_id, *"ab")
    await environment.sweep_due(A_DAY)
    # The owner died before it applied the entry.
    title = ConversationUpdated(retention=A_DAY.default)
    now_ms = time.time_ns() // 1_000_000
    lost = Entry(conversation_id, seqs[-1] + 1, 2, now_ms, ALICE, b"t" * 16, title, title.fingerprint())
    await MongoLog(environment.database).append_batch([lost])
    environment.clock.advance(2 * DAY_S)
    [removed] = await environment.sweep_due(A_DAY)
    assert removed.first_seq == lost.seq
    another = await owners.start()
    await send_texts(another, conversation_id, "c")
    environment.clock.advance(DAY_S)
    [removed] = await environment.sweep_due(A_DAY)
    assert removed.first_seq == lost.seq + 2


async def test_former_member_still_lists_conversation_after_removal(
    owners: Owners, environment: RetentionEnvironment
) -> None:
    running = await owners.start()
    creation = Creation(group_id(ALICE, "0" * 32), ALICE, uuid_utils.uuid7().bytes, (ALICE, BOB), "Group")
    await running.create(creation)
    group = creation.conversation_id
    await send_texts(running, group, "a")
    left = MembershipChanged(MembershipKind.LEFT, ((BOB, Role.MEMBER),))
    last = seq_of(await running.append(change(group, left, BOB)))
    await send_texts(running, group, "b", "c")
    for days in (2, 32):
        await environment.sweep_due(A_DAY)
        environment.clock.advance(days * DAY_S)
    await environment.sweep_due(A_DAY)
    overview = await environment.history.summarize(BOB, group)
    assert (overview.head_seq, overview.head, overview.unread_count) == (last, None, 0)
    assert await environment.bodies(group, BOB) == []
    listed, _ = await environment.history.list_summaries(BOB, "", 10)
    assert [each.visible.conversation.conversation_id for each in listed] == [group]


async def test_sweep_processes_only_owned_conversations(owners: Owners, environment: RetentionEnvironment) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    for owned, swept in ((False, 0), (True, 1), (True, 0)):
        owns = partial(operator.contains, {conversation_id} if owned else set())
        job = RetentionJob(environment.store, environment.new_sweep(A_DAY), A_DAY, SystemClock(), owns)
        assert await job.sweep_due() == swept
    assert await environment.days_until_due(conversation_id) is not None


async def test_replaced_picture_is_released_unless_a_former_member_is_shown_it(
    owners: Owners, environment: RetentionEnvironment
) -> None:
    running = await owners.start()
    request = uuid_utils.uuid7()
    group = group_id(ALICE, str(request))
    assert await running.create(Creation(group, ALICE, request.bytes, (ALICE, BOB, CAROL), "Pictures")) == Done()

    async def set_picture(picture: str) -> int:
        return seq_of(await running.append(change(group, ConversationUpdated(picture_media_id=picture))))

    async def remove(user: str) -> None:
        removal = MembershipChanged(MembershipKind.REMOVED, ((user, Role.MEMBER),))
        seq_of(await running.append(change(group, removal)))

    async def referenced() -> list[int]:
        await environment.sweep_due(RetentionPolicy(FOREVER))
        return [each.seq for each in await environment.store.list_picture_changes(group, 100) if each.referenced]

    first = await set_picture("ca" * 16)
    assert await referenced() == [first]
    second = await set_picture("d0" * 16)
    assert await referenced() == [second]
    # Bob is shown the second picture from now on, whatever follows.
    await remove(BOB)
    third, fourth = await set_picture("0e" * 16), await set_picture("f0" * 16)
    await remove(CAROL)
    assert await referenced() == [second, fourth]
    none = await set_picture("")
    assert await referenced() == [second, fourth]
    # Both are members again and see the present state of the group.
    back = MembershipChanged(MembershipKind.ADDED, ((BOB, Role.MEMBER), (CAROL, Role.MEMBER)))
    seq_of(await running.append(change(group, back)))
    assert await referenced() == []
    assert first < second < third < fourth < none
