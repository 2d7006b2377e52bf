"""An owner keeps a gapless log that contains every acknowledged entry once, in order."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace

import pytest

from chat_service.errors import (
    ConversationBusy,
    ConversationNotFound,
    EarlierSendRefused,
    MessageIdReused,
    OwnerUnavailable,
)
from chat_service.model.entry import Draft, Message
from chat_service.model.ids import group_id
from chat_service.model.requests import AppendOutcome, Attempt, Creation, Done
from chat_service.owner.owner import OwnerLimits
from chat_service.storage.change_index import RedisChangeIndex
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.log import MongoLog
from chat_service.storage.memberships import MongoMembershipStore
from devstack.stack import Stack
from servicekit.errors import RequestIdReused, StoreUnavailable
from servicekit.failure import Failure
from servicekit.mongo import Database
from tests.clock import ManualClock
from tests.eventually import eventually
from tests.integration.chat.conftest import (
    ALICE,
    BOB,
    CAROL,
    InsertCounter,
    Owners,
    RunningOwner,
    day_old_id,
    direct,
    draft,
    seq_of,
)

pytestmark = pytest.mark.integration


async def create_direct(running: RunningOwner) -> str:
    creation = direct()
    assert await running.create(creation) == Done()
    return creation.conversation_id


async def test_log_begins_with_members_and_has_no_gaps(owners: Owners, database: Database) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    seqs = [seq_of(await running.append(draft(conversation_id))) for _ in range(5)]
    assert seqs == [2, 3, 4, 5, 6]
    page = await MongoLog(database).read_page(conversation_id, 1, 100)
    assert [entry.seq for entry in page.entries] == [1, 2, 3, 4, 5, 6]
    assert [entry.message_number for entry in page.entries] == [0, 1, 2, 3, 4, 5]
    assert page.reaches_head


async def test_times_never_go_backwards(owners: Owners, database: Database) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    await asyncio.gather(*(running.append(draft(conversation_id)) for _ in range(50)))
    times = [entry.time_ms for entry in (await MongoLog(database).read_page(conversation_id, 1, 100)).entries]
    assert times == sorted(times)


async def test_repeated_send_gets_first_outcome_and_is_appended_once(owners: Owners) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    one = draft(conversation_id)
    answers = await asyncio.gather(*(running.append(one) for _ in range(5)))
    assert len({seq_of(answer) for answer in answers}) == 1
    assert seq_of(await running.append(one)) == seq_of(answers[0])
    assert seq_of(await running.append(draft(conversation_id))) == seq_of(answers[0]) + 1


async def test_repeated_send_to_another_owner_gets_first_outcome(owners: Owners) -> None:
    first, second = await owners.start(), await owners.start()
    conversation_id = await create_direct(first)
    sent = [draft(conversation_id, text=str(number)) for number in range(10)]
    seqs = [seq_of(await first.append(each)) for each in sent]
    # Repeats among new sends: each repeat gets its first seq, each new send the next one.
    fresh = [draft(conversation_id, text=f"new {number}") for number in range(10)]
    answers = await asyncio.gather(*(second.append(each) for pair in zip(sent, fresh, strict=True) for each in pair))
    assert [seq_of(answer) for answer in answers[::2]] == seqs
    assert [seq_of(answer) for answer in answers[1::2]] == list(range(12, 22))


async def test_old_request_id_is_looked_up_without_conflict(owners: Owners) -> None:
    first, second = await owners.start(), await owners.start()
    conversation_id = await create_direct(first)
    day_old = day_old_id()
    one = draft(conversation_id, request_id=day_old)
    seq = seq_of(await first.append(one))
    assert seq_of(await second.append(one)) == seq


async def test_reused_id_with_other_content_is_refused(owners: Owners) -> None:
    first, second = await owners.start(), await owners.start()
    conversation_id = await create_direct(first)
    one = draft(conversation_id, text="one thing")
    other = draft(conversation_id, text="another", request_id=one.request_id)
    await first.append(one)
    assert isinstance(await first.append(other), MessageIdReused)
    assert isinstance(await second.append(other), MessageIdReused)
    assert seq_of(await second.append(one)) == 2


async def test_two_users_can_use_the_same_id(owners: Owners) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    one = draft(conversation_id, ALICE)
    assert seq_of(await running.append(one)) == 2
    assert seq_of(await running.append(draft(conversation_id, BOB, request_id=one.request_id))) == 3


@pytest.mark.parametrize("sender", [ALICE, CAROL])
async def test_non_member_and_missing_conversation_get_same_error(owners: Owners, sender: str) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running) if sender == CAROL else "0" * 32
    answer = await running.append(draft(conversation_id, sender))
    assert isinstance(answer, ConversationNotFound)
    assert "conversation not found" in answer.message


async def test_both_users_create_one_direct_conversation(owners: Owners, database: Database) -> None:
    first, second = await owners.start(), await owners.start()
    answers = await asyncio.gather(first.create(direct(ALICE, BOB)), second.create(direct(BOB, ALICE)))
    assert list(answers) == [Done(), Done()]
    page = await MongoLog(database).read_page(direct().conversation_id, 1, 10)
    assert len(page.entries) == 1


async def test_group_is_created_once_and_request_id_is_not_reusable(owners: Owners, database: Database) -> None:
    first, second = await owners.start(), await owners.start()
    request = draft("0" * 32).request_id
    identifier = group_id(ALICE, request.hex())
    group = Creation(identifier, ALICE, request, (ALICE, BOB, CAROL), "three of us")
    other = Creation(identifier, ALICE, request, (ALICE, BOB), "three of us")
    assert await first.create(group) == Done()
    assert await second.create(group) == Done()
    assert isinstance(await second.create(other), RequestIdReused)
    kept = await MongoConversationStore(database).load(identifier)
    assert kept is not None
    assert kept.title == "three of us"
    assert set(kept.members) == {ALICE, BOB, CAROL}
    assert (await MongoLog(database).read_head(identifier)).seq == 2


async def test_owner_completes_writes_of_its_predecessor(owners: Owners, database: Database) -> None:
    first, second = await owners.start(), await owners.start()
    conversation_id = await create_direct(first)
    # As if the first owner had died after it wrote the log and before it wrote the other stores.
    await database["conversations"].delete_one({})
    await database["memberships"].delete_many({})
    assert seq_of(await second.append(draft(conversation_id, BOB))) == 2
    conversations = MongoConversationStore(database)
    assert await MongoMembershipStore(database).list_conversations(BOB) == [conversation_id]
    assert await conversations.load(conversation_id) is not None


async def test_many_senders_share_a_write(owners: Owners, inserts: tuple[InsertCounter, Database]) -> None:
    listener, counted = inserts
    running = await owners.start(database=counted)
    conversation_id = await create_direct(running)
    listener.sizes.clear()

    async def sender() -> None:
        for _ in range(20):
            seq_of(await running.append(draft(conversation_id)))

    await asyncio.gather(*(sender() for _ in range(50)))
    assert sum(listener.sizes) == 1000
    assert len(listener.sizes) < 1000 / 3


async def test_sends_are_not_acknowledged_while_mongod_is_frozen(owners: Owners, mongod: Stack) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    part = mongod.processes["mongod"]
    part.freeze()
    try:
        sends = [asyncio.create_task(running.append(draft(conversation_id, text=str(n)))) for n in range(20)]
        done, _ = await asyncio.wait(sends, timeout=1.5)
        assert not done
    finally:
        part.resume()
    assert sorted(seq_of(answer) for answer in await asyncio.gather(*sends)) == list(range(2, 22))


async def test_two_owners_of_one_conversation_write_one_log(owners: Owners, database: Database) -> None:
    """Both rings say that their server owns the conversation; only the log resolves the conflict."""
    rivals = [await owners.start("east"), await owners.start("west")]
    conversation_id = await create_direct(rivals[0])
    acknowledged: dict[str, int] = {}

    async def sender(number: int) -> None:
        choice = random.Random(number)
        for turn in range(40):
            text = f"{number}/{turn}"
            answer = await choice.choice(rivals).append(draft(conversation_id, choice.choice([ALICE, BOB]), text))
            acknowledged[text] = seq_of(answer)

    await asyncio.gather(*(sender(number) for number in range(12)))
    entries = (await MongoLog(database).read_page(conversation_id, 2, 1000)).entries
    assert [entry.seq for entry in entries] == list(range(2, 2 + 480))
    texts = [entry.change.content.decode() for entry in entries if isinstance(entry.change, Message)]
    assert {text: seq for seq, text in enumerate(texts, 2)} == acknowledged
    for number in range(12):
        turns = [int(text.split("/")[1]) for text in texts if text.startswith(f"{number}/")]
        assert turns == list(range(40))


async def test_refused_attempt_refuses_its_later_sends(owners: Owners) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    running.ring.transfer_to("elsewhere")
    attempt = Attempt("session", 1)
    first = await running.append(draft(conversation_id), attempt)
    assert isinstance(first, OwnerUnavailable)
    assert first.metadata == {"ring_revision": "2"}
    # The ring changes back between two sends: the second must not overtake the first.
    running.ring.ring = running.ring.ring.from_members([running.ring.me], 3)
    assert isinstance(await running.append(draft(conversation_id), attempt), EarlierSendRefused)
    assert seq_of(await running.append(draft(conversation_id), Attempt("session", 2))) == 2
    assert seq_of(await running.append(draft(conversation_id), Attempt("other session", 1))) == 3


async def test_conversation_rate_limit_is_enforced(owners: Owners) -> None:
    clock = ManualClock(time.time_ns() // 1_000_000)
    running = await owners.start(limits=OwnerLimits(entries_per_second=5, entries_burst=5), clock=clock)
    conversation_id = await create_direct(running)
    for seq in range(2, 6):
        assert seq_of(await running.append(draft(conversation_id))) == seq
    refused = await running.append(draft(conversation_id))
    assert isinstance(refused, ConversationBusy)
    assert refused.retry_after == pytest.approx(0.2)
    clock.advance(0.2)
    assert seq_of(await running.append(draft(conversation_id))) == 6


async def test_watermarks_rise_and_are_published_to_members(owners: Owners, database: Database) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    for _ in range(3):
        await running.append(draft(conversation_id, ALICE))
    assert await running.receive(BOB, conversation_id, 4, 3) == Done()
    users, _, marks = running.publisher.watermarks[-1]
    assert users == {ALICE, BOB}
    assert (marks[BOB].delivered_seq, marks[BOB].read_seq, marks[BOB].read_number) == (4, 3, 2)
    # Lower watermarks change nothing, and higher ones are capped at the head.
    assert await running.receive(BOB, conversation_id, 1, 1) == Done()
    assert await running.receive(BOB, conversation_id, 1000, 1000) == Done()
    kept = await MongoConversationStore(database).load(conversation_id)
    assert kept is not None
    mark = kept.members[BOB].watermark
    assert (mark.delivered_seq, mark.read_seq, mark.read_number) == (4, 4, 3)
    assert isinstance(await running.receive(CAROL, conversation_id, 1, 1), ConversationNotFound)


async def test_typing_is_published_to_other_members(owners: Owners) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    for user, typing in ((ALICE, True), (CAROL, True), (ALICE, False)):
        running.owner.publish_typing(user, conversation_id, typing)
    others = frozenset({BOB})
    await eventually(lambda: len(running.publisher.typing) == 2)
    assert running.publisher.typing == [(others, conversation_id, ALICE, True), (others, conversation_id, ALICE, False)]


async def test_sender_has_read_all_earlier_entries(owners: Owners, database: Database) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    await running.append(draft(conversation_id, ALICE))
    conversations = MongoConversationStore(database)

    async def kept() -> bool:
        conversation = await conversations.load(conversation_id)
        return conversation is not None and conversation.members[ALICE].watermark.read_number == 1

    await eventually(kept)


async def test_draining_owner_answers_accepted_sends(owners: Owners) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    answers: list[AppendOutcome] = []
    for _ in range(20):
        running.owner.append_draft(draft(conversation_id), None, answers.append)
    await running.owner.drain()
    assert sorted(seq_of(answer) for answer in answers) == list(range(2, 22))
    late = await running.append(draft(conversation_id))
    assert getattr(late, "reason", "") == "SERVER_DRAINING"


async def test_retry_after_owner_died_before_fan_out_is_published(owners: Owners, index: RedisChangeIndex) -> None:
    first, second = await owners.start(), await owners.start()
    conversation_id = await create_direct(first)
    day_old = day_old_id()
    one = draft(conversation_id, request_id=day_old)
    seq = seq_of(await first.append(one))
    assert seq_of(await second.append(one)) == seq
    assert [entry.seq for entry in second.publisher.entries] == [seq]


async def test_reply_callback_can_send_again_at_once(owners: Owners) -> None:
    first, second = await owners.start(), await owners.start()
    conversation_id = await create_direct(first)
    day_old = day_old_id()
    known, fresh = draft(conversation_id, request_id=day_old), draft(conversation_id, text="fresh")
    await first.append(known)
    late: asyncio.Future[AppendOutcome] = asyncio.get_running_loop().create_future()
    second.owner.append_draft(known, None, lambda _: second.owner.append_draft(fresh, None, late.set_result))
    waits = asyncio.create_task(second.append(draft(conversation_id, text="waits too")))
    assert {seq_of(await waits), seq_of(await late)} == {3, 4}


async def test_receipt_beyond_stale_head_is_stored_whole(owners: Owners, database: Database) -> None:
    stale, other = await owners.start(), await owners.start()
    conversation_id = await create_direct(stale)
    await stale.append(draft(conversation_id))
    for _ in range(3):
        await other.append(draft(conversation_id))
    assert await stale.receive(BOB, conversation_id, 5, 5) == Done()
    kept = await MongoConversationStore(database).load(conversation_id)
    assert kept is not None
    assert kept.members[BOB].watermark.read_seq == 5


async def test_receipt_is_retryable_while_store_is_unavailable(owners: Owners, mongod: Stack) -> None:
    first, second = await owners.start(), await owners.start()
    conversation_id = await create_direct(first)
    mongod.processes["mongod"].freeze()
    try:
        refused = await second.receive(BOB, conversation_id, 1, 1)
    finally:
        mongod.processes["mongod"].resume()
    assert isinstance(refused, StoreUnavailable)
    assert refused.retry_after is not None
    assert await second.receive(BOB, conversation_id, 1, 1) == Done()


async def test_late_refusal_of_earlier_attempt_keeps_later_attempt_refused(owners: Owners, mongod: Stack) -> None:
    first, second = await owners.start(), await owners.start(limits=OwnerLimits(0.001, 1))
    conversation_id = await create_direct(first)
    mongod.processes["mongod"].freeze()
    try:
        waits: asyncio.Future[AppendOutcome] = asyncio.get_running_loop().create_future()
        second.owner.append_draft(draft(conversation_id), Attempt("session", 1), waits.set_result)
        assert isinstance(await second.append(draft(conversation_id), Attempt("session", 2)), ConversationBusy)
        assert isinstance(await waits, StoreUnavailable)
    finally:
        mongod.processes["mongod"].resume()
    assert isinstance(await second.append(draft(conversation_id), Attempt("session", 2)), EarlierSendRefused)


def refused(one: Draft) -> Draft:
    return replace(one, refusal=Failure("media not found", code="NOT_FOUND", reason="MEDIA_NOT_FOUND"))


@pytest.mark.parametrize("old", [False, True])
async def test_refused_file_of_an_appended_send_does_not_change_its_result(owners: Owners, old: bool) -> None:
    first, second = await owners.start(), await owners.start()
    conversation_id = await create_direct(first)
    one = draft(conversation_id, request_id=day_old_id() if old else None)
    seq = seq_of(await first.append(one))
    assert seq_of(await first.append(refused(one))) == seq
    # The other owner has it in no memory, and inserts nothing that would conflict.
    assert seq_of(await second.append(refused(one))) == seq
    other = refused(draft(conversation_id, text="other", request_id=one.request_id))
    assert isinstance(await second.append(other), MessageIdReused)


async def test_refused_file_refuses_a_new_send_alone(owners: Owners, database: Database) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    sends = [draft(conversation_id, text=text) for text in "abc"]
    sends[1] = refused(sends[1])
    attempt = Attempt("session", 1)
    answers = await asyncio.gather(*(running.append(each, attempt) for each in sends))
    assert [answer.reason if isinstance(answer, Failure) else seq_of(answer) for answer in answers] == [
        2,
        "MEDIA_NOT_FOUND",
        3,
    ]
    assert (await MongoLog(database).read_head(conversation_id)).seq == 3


async def test_refused_file_tells_a_stranger_nothing(owners: Owners) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    assert isinstance(await running.append(refused(draft(conversation_id, CAROL))), ConversationNotFound)


async def test_retry_is_recognised_by_what_the_client_sent(owners: Owners) -> None:
    first, second = await owners.start(), await owners.start()
    conversation_id = await create_direct(first)
    sent = draft(conversation_id, text="a reference")
    claimed = replace(sent, change=Message(b"a reference with facts"), fingerprint=sent.change.fingerprint())
    seq = seq_of(await first.append(claimed))
    again = replace(claimed, change=Message(b"a reference with other facts"))
    for running in (first, second):
        assert seq_of(await running.append(again)) == seq
        assert seq_of(await running.append(refused(sent))) == seq
