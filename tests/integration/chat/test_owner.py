"""An owner keeps a gapless log in which everything that was acknowledged stands once, in order."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from chat_service.errors import (
    ConversationBusy,
    ConversationNotFound,
    EarlierSendRefused,
    MessageIdReused,
    OwnerUnavailable,
    RequestIdReused,
    StoreUnavailable,
)
from chat_service.model.entry import Message
from chat_service.model.ids import group_id
from chat_service.model.requests import AppendOutcome, Attempt, Creation, Done
from chat_service.owner.owner import OwnerLimits
from chat_service.storage.change_index import RedisChangeIndex
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.log import MongoLog
from chat_service.storage.memberships import MongoMembershipStore
from chat_service.storage.mongo import Database
from devstack.stack import Stack
from tests.clock import ManualClock
from tests.eventually import eventually
from tests.integration.chat.conftest import (
    ALICE,
    BOB,
    CAROL,
    Inserts,
    Owners,
    Running,
    day_old_id,
    direct,
    draft,
    place,
)

pytestmark = pytest.mark.integration


async def made(running: Running) -> str:
    creation = direct()
    assert await running.create(creation) == Done()
    return creation.conversation_id


async def test_a_log_begins_with_its_members_and_has_no_gaps(owners: Owners, database: Database) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    seqs = [place(await running.append(draft(conversation_id))) for _ in range(5)]
    assert seqs == [2, 3, 4, 5, 6]
    page = await MongoLog(database).read_page(conversation_id, 1, 100)
    assert [entry.seq for entry in page.entries] == [1, 2, 3, 4, 5, 6]
    assert [entry.message_number for entry in page.entries] == [0, 1, 2, 3, 4, 5]
    assert page.reaches_head


async def test_times_never_go_backwards(owners: Owners, database: Database) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    await asyncio.gather(*(running.append(draft(conversation_id)) for _ in range(50)))
    times = [entry.time_ms for entry in (await MongoLog(database).read_page(conversation_id, 1, 100)).entries]
    assert times == sorted(times)


async def test_a_repeat_gets_the_first_answer_and_is_appended_once(owners: Owners) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    one = draft(conversation_id)
    answers = await asyncio.gather(*(running.append(one) for _ in range(5)))
    assert len({place(answer) for answer in answers}) == 1
    assert place(await running.append(one)) == place(answers[0])
    assert place(await running.append(draft(conversation_id))) == place(answers[0]) + 1


async def test_a_repeat_to_another_owner_gets_the_first_answer(owners: Owners) -> None:
    first, second = await owners.start(), await owners.start()
    conversation_id = await made(first)
    sent = [draft(conversation_id, text=str(number)) for number in range(10)]
    seqs = [place(await first.append(each)) for each in sent]
    # Repeats in the midst of new ones: each repeat gets its first seq, each new one the next.
    fresh = [draft(conversation_id, text=f"new {number}") for number in range(10)]
    answers = await asyncio.gather(*(second.append(each) for pair in zip(sent, fresh, strict=True) for each in pair))
    assert [place(answer) for answer in answers[::2]] == seqs
    assert [place(answer) for answer in answers[1::2]] == list(range(12, 22))


async def test_an_old_id_is_looked_up_and_takes_no_conflict(owners: Owners) -> None:
    first, second = await owners.start(), await owners.start()
    conversation_id = await made(first)
    day_old = day_old_id()
    one = draft(conversation_id, request_id=day_old)
    seq = place(await first.append(one))
    assert place(await second.append(one)) == seq


async def test_the_same_id_with_other_content_is_refused(owners: Owners) -> None:
    first, second = await owners.start(), await owners.start()
    conversation_id = await made(first)
    one = draft(conversation_id, text="one thing")
    other = draft(conversation_id, text="another", request_id=one.request_id)
    await first.append(one)
    assert isinstance(await first.append(other), MessageIdReused)
    assert isinstance(await second.append(other), MessageIdReused)
    assert place(await second.append(one)) == 2


async def test_two_users_may_use_the_same_id(owners: Owners) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    one = draft(conversation_id, ALICE)
    assert place(await running.append(one)) == 2
    assert place(await running.append(draft(conversation_id, BOB, request_id=one.request_id))) == 3


@pytest.mark.parametrize("sender", [ALICE, CAROL])
async def test_who_is_not_a_member_and_what_does_not_exist_look_the_same(owners: Owners, sender: str) -> None:
    running = await owners.start()
    conversation_id = await made(running) if sender == CAROL else "0" * 32
    answer = await running.append(draft(conversation_id, sender))
    assert isinstance(answer, ConversationNotFound)
    assert "conversation not found" in answer.message


async def test_both_sides_make_one_direct_conversation(owners: Owners, database: Database) -> None:
    first, second = await owners.start(), await owners.start()
    answers = await asyncio.gather(first.create(direct(ALICE, BOB)), second.create(direct(BOB, ALICE)))
    assert list(answers) == [Done(), Done()]
    page = await MongoLog(database).read_page(direct().conversation_id, 1, 10)
    assert len(page.entries) == 1


async def test_a_group_is_made_once_and_its_request_means_one_thing(owners: Owners, database: Database) -> None:
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


async def test_an_owner_mends_what_its_predecessor_left_undone(owners: Owners, database: Database) -> None:
    first, second = await owners.start(), await owners.start()
    conversation_id = await made(first)
    # As if the first owner had died after it wrote the log and before it wrote what follows from it.
    await database["conversations"].delete_one({})
    await database["memberships"].delete_many({})
    assert place(await second.append(draft(conversation_id, BOB))) == 2
    conversations = MongoConversationStore(database)
    assert await MongoMembershipStore(database).list_conversations(BOB) == [conversation_id]
    assert await conversations.load(conversation_id) is not None


async def test_many_senders_share_a_write(owners: Owners, inserts: tuple[Inserts, Database]) -> None:
    listener, counted = inserts
    running = await owners.start(database=counted)
    conversation_id = await made(running)
    listener.sizes.clear()

    async def sender() -> None:
        for _ in range(20):
            place(await running.append(draft(conversation_id)))

    await asyncio.gather(*(sender() for _ in range(50)))
    assert sum(listener.sizes) == 1000
    assert len(listener.sizes) < 1000 / 3


async def test_nothing_is_acknowledged_while_mongod_is_frozen(owners: Owners, mongod: Stack) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    part = mongod.processes["mongod"]
    part.freeze()
    try:
        sends = [asyncio.create_task(running.append(draft(conversation_id, text=str(n)))) for n in range(20)]
        done, _ = await asyncio.wait(sends, timeout=1.5)
        assert not done
    finally:
        part.resume()
    assert sorted(place(answer) for answer in await asyncio.gather(*sends)) == list(range(2, 22))


async def test_two_owners_of_one_conversation_end_with_one_log(owners: Owners, database: Database) -> None:
    """Each is told by its own ring that it owns everything; only the log keeps them apart."""
    rivals = [await owners.start("east"), await owners.start("west")]
    conversation_id = await made(rivals[0])
    acknowledged: dict[str, int] = {}

    async def sender(number: int) -> None:
        choice = random.Random(number)
        for turn in range(40):
            text = f"{number}/{turn}"
            answer = await choice.choice(rivals).append(draft(conversation_id, choice.choice([ALICE, BOB]), text))
            acknowledged[text] = place(answer)

    await asyncio.gather(*(sender(number) for number in range(12)))
    entries = (await MongoLog(database).read_page(conversation_id, 2, 1000)).entries
    assert [entry.seq for entry in entries] == list(range(2, 2 + 480))
    texts = [entry.change.content.decode() for entry in entries if isinstance(entry.change, Message)]
    assert {text: seq for seq, text in enumerate(texts, 2)} == acknowledged
    for number in range(12):
        turns = [int(text.split("/")[1]) for text in texts if text.startswith(f"{number}/")]
        assert turns == list(range(40))


async def test_an_attempt_is_refused_as_a_whole(owners: Owners) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    running.ring.give_to("elsewhere")
    attempt = Attempt("session", 1)
    first = await running.append(draft(conversation_id), attempt)
    assert isinstance(first, OwnerUnavailable)
    assert first.metadata == {"ring_revision": "2"}
    # The ring comes back between two sends: the second must not overtake the first.
    running.ring.ring = running.ring.ring.from_members([running.ring.me], 3)
    assert isinstance(await running.append(draft(conversation_id), attempt), EarlierSendRefused)
    assert place(await running.append(draft(conversation_id), Attempt("session", 2))) == 2
    assert place(await running.append(draft(conversation_id), Attempt("other session", 1))) == 3


async def test_a_conversation_takes_in_no_more_than_it_may(owners: Owners) -> None:
    clock = ManualClock(time.time_ns() // 1_000_000)
    running = await owners.start(limits=OwnerLimits(entries_per_second=5, entries_burst=5), clock=clock)
    conversation_id = await made(running)
    for seq in range(2, 6):
        assert place(await running.append(draft(conversation_id))) == seq
    refused = await running.append(draft(conversation_id))
    assert isinstance(refused, ConversationBusy)
    assert refused.retry_after == pytest.approx(0.2)
    clock.advance(0.2)
    assert place(await running.append(draft(conversation_id))) == 6


async def test_watermarks_rise_and_are_told_to_whom_they_concern(owners: Owners, database: Database) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    for _ in range(3):
        await running.append(draft(conversation_id, ALICE))
    assert await running.receive(BOB, conversation_id, 4, 3) == Done()
    users, _, marks = running.heard.watermarks[-1]
    assert users == {ALICE, BOB}
    assert (marks[BOB].delivered_seq, marks[BOB].read_seq, marks[BOB].read_number) == (4, 3, 2)
    # Lower ones change nothing, higher ones count as the head.
    assert await running.receive(BOB, conversation_id, 1, 1) == Done()
    assert await running.receive(BOB, conversation_id, 1000, 1000) == Done()
    kept = await MongoConversationStore(database).load(conversation_id)
    assert kept is not None
    mark = kept.members[BOB].watermark
    assert (mark.delivered_seq, mark.read_seq, mark.read_number) == (4, 4, 3)
    assert isinstance(await running.receive(CAROL, conversation_id, 1, 1), ConversationNotFound)


async def test_typing_is_told_to_the_other_members(owners: Owners) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    for user, typing in ((ALICE, True), (CAROL, True), (ALICE, False)):
        running.owner.publish_typing(user, conversation_id, typing)
    others = frozenset({BOB})
    await eventually(lambda: len(running.heard.typing) == 2)
    assert running.heard.typing == [(others, conversation_id, ALICE, True), (others, conversation_id, ALICE, False)]


async def test_who_sends_has_read_what_came_before(owners: Owners, database: Database) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    await running.append(draft(conversation_id, ALICE))
    conversations = MongoConversationStore(database)

    async def kept() -> bool:
        conversation = await conversations.load(conversation_id)
        return conversation is not None and conversation.members[ALICE].watermark.read_number == 1

    await eventually(kept)


async def test_an_owner_that_drains_answers_what_it_took(owners: Owners) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    answers: list[AppendOutcome] = []
    for _ in range(20):
        running.owner.append_draft(draft(conversation_id), None, answers.append)
    await running.owner.drain()
    assert sorted(place(answer) for answer in answers) == list(range(2, 22))
    late = await running.append(draft(conversation_id))
    assert getattr(late, "reason", "") == "SERVER_DRAINING"


async def test_a_retry_whose_first_owner_died_before_the_fan_out_is_told_to_all(
    owners: Owners, index: RedisChangeIndex
) -> None:
    first, second = await owners.start(), await owners.start()
    conversation_id = await made(first)
    day_old = day_old_id()
    one = draft(conversation_id, request_id=day_old)
    seq = place(await first.append(one))
    assert place(await second.append(one)) == seq
    assert [entry.seq for entry in second.heard.entries] == [seq]


async def test_who_is_answered_may_send_again_at_once(owners: Owners) -> None:
    first, second = await owners.start(), await owners.start()
    conversation_id = await made(first)
    day_old = day_old_id()
    known, fresh = draft(conversation_id, request_id=day_old), draft(conversation_id, text="fresh")
    await first.append(known)
    late: asyncio.Future[AppendOutcome] = asyncio.get_running_loop().create_future()
    second.owner.append_draft(known, None, lambda _: second.owner.append_draft(fresh, None, late.set_result))
    waits = asyncio.create_task(second.append(draft(conversation_id, text="waits too")))
    assert {place(await waits), place(await late)} == {3, 4}


async def test_a_receipt_from_beyond_a_stale_head_is_kept_whole(owners: Owners, database: Database) -> None:
    stale, other = await owners.start(), await owners.start()
    conversation_id = await made(stale)
    await stale.append(draft(conversation_id))
    for _ in range(3):
        await other.append(draft(conversation_id))
    assert await stale.receive(BOB, conversation_id, 5, 5) == Done()
    kept = await MongoConversationStore(database).load(conversation_id)
    assert kept is not None
    assert kept.members[BOB].watermark.read_seq == 5


async def test_a_receipt_for_what_cannot_be_loaded_now_comes_again_later(owners: Owners, mongod: Stack) -> None:
    first, second = await owners.start(), await owners.start()
    conversation_id = await made(first)
    mongod.processes["mongod"].freeze()
    try:
        refused = await second.receive(BOB, conversation_id, 1, 1)
    finally:
        mongod.processes["mongod"].resume()
    assert isinstance(refused, StoreUnavailable)
    assert refused.retry_after is not None
    assert await second.receive(BOB, conversation_id, 1, 1) == Done()


async def test_a_late_refusal_of_an_earlier_attempt_opens_no_later_one(owners: Owners, mongod: Stack) -> None:
    first, second = await owners.start(), await owners.start(limits=OwnerLimits(0.001, 1))
    conversation_id = await made(first)
    mongod.processes["mongod"].freeze()
    try:
        waits: asyncio.Future[AppendOutcome] = asyncio.get_running_loop().create_future()
        second.owner.append_draft(draft(conversation_id), Attempt("session", 1), waits.set_result)
        assert isinstance(await second.append(draft(conversation_id), Attempt("session", 2)), ConversationBusy)
        assert isinstance(await waits, StoreUnavailable)
    finally:
        mongod.processes["mongod"].resume()
    assert isinstance(await second.append(draft(conversation_id), Attempt("session", 2)), EarlierSendRefused)
