"""Content goes when its time is over, for everybody and for good; seqs, answers to retries and readers do not suffer.

The clock of the looks is moved by hand; what is looked at was written just now.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import uuid_utils

from chat_service.accounts.device import Device, Platform
from chat_service.accounts.refresh import Chain
from chat_service.errors import MessageNotFound, StoreUnavailable
from chat_service.history.history import History, Span
from chat_service.model.answer import Appended
from chat_service.model.creation import Creation
from chat_service.model.entry import (
    Change,
    ConversationUpdated,
    Draft,
    Entry,
    MembershipChanged,
    MembershipKind,
    Message,
    MessageEdited,
    ReactionChanged,
    Role,
)
from chat_service.model.ids import group_id
from chat_service.model.retention import FOREVER, Retention, RetentionRule, Terms
from chat_service.retention import look
from chat_service.retention.job import RetentionJob
from chat_service.retention.look import DAY_MS, Looks, Removed
from chat_service.storage.conversations import MongoConversations
from chat_service.storage.devices import MongoDevices
from chat_service.storage.index import RedisIndex
from chat_service.storage.log import MongoLog
from chat_service.storage.memberships import MongoMemberships
from chat_service.storage.mongo import Database
from chat_service.storage.retention import MongoRetention
from servicekit.clock import ManualClock
from servicekit.failure import Failure
from tests.integration.chat.conftest import ALICE, BOB, CAROL, Owners, Running, direct, draft, made_at, place

pytestmark = pytest.mark.integration

DAY_S = DAY_MS // 1000
A_DAY = Terms(Retention(RetentionRule.MAX_AGE, DAY_S))
RELAY = Terms(Retention(RetentionRule.RELAY_ONLY))


def mine(_: str) -> bool:
    return True


async def no_owner(_: str) -> None:
    """Nobody has it in memory."""


@dataclass
class House:
    """The stores, and looks at them by a clock of their own."""

    database: Database
    history: History
    clock: ManualClock = field(default_factory=lambda: ManualClock(time.time_ns() // 1_000_000))

    @property
    def store(self) -> MongoRetention:
        return MongoRetention(self.database)

    def looks(self, terms: Terms, reload: Callable[[str], Awaitable[None]] = no_owner) -> Looks:
        return Looks(self.store, MongoDevices(self.database), terms, self.clock, reload)

    async def look(self, terms: Terms, reload: Callable[[str], Awaitable[None]] = no_owner) -> list[Removed]:
        """Look at all that is due."""
        due = await self.store.due(self.clock.now_ms(), terms.default, mine, 100)
        looked = [await self.looks(terms, reload).look(each) for each in due]
        return [each for each in looked if each is not None]

    async def next_days(self, conversation_id: str) -> float | None:
        """In how many days the next look is due."""
        document = await self.database["conversations"].find_one({"_id": bytes.fromhex(conversation_id)})
        due_ms = (document or {}).get("due")
        return None if due_ms is None else (due_ms - self.clock.now_ms()) / DAY_MS

    async def bodies(self, conversation_id: str, user: str = ALICE, before: int = 0, limit: int = 100) -> list[str]:
        found = await self.history.messages(user, conversation_id, before_seq=before, after_seq=0, limit=limit)
        return [each.change.content.decode() for each in found if isinstance(each.change, Message)]

    async def entries(self, conversation_id: str) -> list[Entry]:
        return list((await MongoLog(self.database).read(conversation_id, 1, 1000)).entries)

    async def contents(self, conversation_id: str) -> list[bytes]:
        changes = [each.change for each in await self.entries(conversation_id)]
        return [each.content for each in changes if isinstance(each, Message | MessageEdited) and each.content]

    async def sign_in(self, user: str, device: str, since_ms: int = 0) -> None:
        devices = await MongoDevices(self.database).devices_of(user)
        chain, _ = Chain.start(user, device)
        new = Device(device, "test", Platform.UNSPECIFIED, since_ms, since_ms, chain)
        assert await MongoDevices(self.database).replace(devices.signed_in(new, limit=10))

    async def sign_out(self, user: str, device: str) -> None:
        devices = await MongoDevices(self.database).devices_of(user)
        assert await MongoDevices(self.database).replace(devices.signed_out(device))


@pytest.fixture
async def house(database: Database, index: RedisIndex) -> House:
    memberships = MongoMemberships(database)
    house = House(database, History(MongoLog(database), MongoConversations(database), memberships, index))
    await house.store.ensure_indexes()
    return house


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "PORTION", 3)


async def made(running: Running) -> str:
    creation = direct()
    assert isinstance(await running.create(creation), Appended)
    return creation.conversation_id


async def say(running: Running, conversation_id: str, *bodies: str, sender: str = ALICE) -> list[int]:
    return [place(await running.append(draft(conversation_id, sender, body))) for body in bodies]


def change(conversation_id: str, changed: Change, actor: str = ALICE) -> Draft:
    request_id = uuid_utils.uuid7().bytes
    return Draft(conversation_id, actor, request_id, changed, made_at(request_id))


async def test_what_is_over_goes_for_everybody_and_seqs_go_on(owners: Owners, house: House) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    seqs = await say(running, conversation_id, *"abcdefgh")
    assert await house.look(A_DAY) == [Removed()]
    assert await house.next_days(conversation_id) == pytest.approx(1, abs=0.01)
    house.clock.advance(DAY_S - 60)
    assert await house.look(A_DAY) == []
    house.clock.advance(120)
    [removed] = await house.look(A_DAY)
    assert (removed.contents, removed.stubs, removed.first_seq) == (9, 0, seqs[-1] + 1)
    for user in (ALICE, BOB):
        assert await house.bodies(conversation_id, user) == []
        [found] = await house.history.ranges(user, [Span(conversation_id, 0, 100)])
        assert not isinstance(found, Failure)
        assert [each.seq for each in found.entries] == [1, *seqs]
        assert found.sight.conversation.first_seq == seqs[-1] + 1
        assert found.unread_count == 0
        with pytest.raises(MessageNotFound):
            await house.history.message(user, conversation_id, seqs[-1])
    assert await house.contents(conversation_id) == []
    assert await say(running, conversation_id, "next") == [seqs[-1] + 1]
    assert await house.bodies(conversation_id, BOB) == ["next"]
    assert (await house.history.overview(BOB, conversation_id)).unread_count == 1


async def test_a_retry_against_retention_gets_its_first_answer(owners: Owners, house: House) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    sent = draft(conversation_id)
    seq = place(await running.append(sent))
    await say(running, conversation_id, "later")
    await house.look(A_DAY)
    house.clock.advance(2 * DAY_S)
    await house.look(A_DAY)
    assert await house.contents(conversation_id) == []
    # An owner that knows it from the log alone.
    another = await owners.start()
    assert place(await another.append(sent)) == seq
    assert await house.contents(conversation_id) == []


async def test_stubs_go_after_thirty_days_and_the_highest_never(owners: Owners, house: House) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    seqs = await say(running, conversation_id, *"abcde")
    await house.look(A_DAY)
    house.clock.advance(2 * DAY_S)
    await house.look(A_DAY)
    # For what comes next, which nobody tells it of.
    assert await house.next_days(conversation_id) == pytest.approx(1, abs=0.01)
    house.clock.advance(30 * DAY_S)
    [removed] = await house.look(A_DAY)
    assert (removed.contents, removed.stubs) == (0, 5)
    assert [each.seq for each in await house.entries(conversation_id)] == [seqs[-1]]
    another = await owners.start()
    assert await say(another, conversation_id, "next") == [seqs[-1] + 1]
    overview = await house.history.overview(BOB, conversation_id)
    assert (overview.head_seq, overview.unread_count) == (seqs[-1] + 1, 1)
    assert set(overview.sight.conversation.members) == {ALICE, BOB}
    # What is read below all that is left counts as all that was there.
    assert await another.receive(BOB, conversation_id, 2, 2) is None
    assert (await house.history.overview(BOB, conversation_id)).unread_count == 1


async def test_an_edit_against_retention_brings_no_content_back(owners: Owners, house: House) -> None:
    stale = await owners.start()
    conversation_id = await made(stale)
    [seq] = await say(stale, conversation_id, "gone")
    await house.look(A_DAY)
    house.clock.advance(2 * DAY_S)
    # An owner that is not told, as in the moment between.
    await house.look(A_DAY)
    for late in (MessageEdited(seq, b"back"), ReactionChanged(seq, "!")):
        assert isinstance(await stale.append(change(conversation_id, late)), Appended)
    document = await house.database["entries"].find_one({"c": bytes.fromhex(conversation_id), "y": 10})
    assert document is not None
    assert not {"b", "w", "r", "e"} & document.keys()
    assert await house.bodies(conversation_id) == []


async def test_the_owner_learns_of_it_before_content_goes(owners: Owners, house: House) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    [seq] = await say(running, conversation_id, "gone")
    contents = list[list[bytes]]()

    async def reload(name: str) -> None:
        contents.append(await house.contents(name))
        running.owner.reload(name)

    await house.look(A_DAY)
    house.clock.advance(2 * DAY_S)
    await house.look(A_DAY, reload)
    assert contents[0] == [b"gone"]
    for late in (MessageEdited(seq, b"back"), ReactionChanged(seq, "!")):
        assert isinstance(await running.append(change(conversation_id, late)), MessageNotFound)


async def test_what_edits_said_goes_with_their_message(owners: Owners, house: House) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    [seq] = await say(running, conversation_id, "first")
    await house.look(A_DAY)
    house.clock.advance(DAY_S)
    edited = MessageEdited(seq, b"second")
    log = MongoLog(house.database)
    late = Entry(conversation_id, 3, 1, house.clock.now_ms(), ALICE, b"e" * 16, edited, edited.fingerprint())
    await log.append([late])
    await log.retouch([late])
    await MongoConversations(house.database).applied(conversation_id, 3)
    assert await house.bodies(conversation_id) == ["second"]
    house.clock.advance(60)
    [removed] = await house.look(A_DAY)
    assert removed.first_seq == 3
    assert await house.contents(conversation_id) == []


async def test_a_reader_in_the_middle_of_paging_goes_on_with_what_is_left(owners: Owners, house: House) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    seqs = await say(running, conversation_id, *"abcd")
    await house.look(A_DAY)
    house.clock.advance(DAY_S + 60)
    log = MongoLog(house.database)
    for seq in range(seqs[-1] + 1, seqs[-1] + 5):
        message = Message(f"new {seq}".encode())
        request_id = seq.to_bytes(16, "big")
        entry = Entry(
            conversation_id, seq, seq - 1, house.clock.now_ms(), BOB, request_id, message, message.fingerprint()
        )
        await log.append([entry])
    first = await house.bodies(conversation_id, limit=2)
    [found] = await house.history.ranges(ALICE, [Span(conversation_id, 0, 3)])
    await house.look(A_DAY)
    assert first + await house.bodies(conversation_id, before=8, limit=100) == ["new 9", "new 8", "new 7", "new 6"]
    assert not isinstance(found, Failure)
    [rest] = await house.history.ranges(ALICE, [Span(conversation_id, found.entries[-1].seq, 100)])
    assert not isinstance(rest, Failure)
    assert [each.seq for each in (*found.entries, *rest.entries)] == list(range(1, 10))
    assert rest.complete


class Failing(MongoRetention):
    """A store that goes silent before it removes content."""

    async def remove_content(self, conversation_id: str, first: int, last: int) -> None:
        raise StoreUnavailable("now")


async def test_whoever_comes_after_a_crash_goes_on_where_it_stopped(owners: Owners, house: House) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    await say(running, conversation_id, *"abcdef")
    await house.look(A_DAY)
    house.clock.advance(2 * DAY_S)
    store = Failing(house.database)
    looks = Looks(store, MongoDevices(house.database), A_DAY, house.clock, no_owner)
    [due] = await store.due(house.clock.now_ms(), A_DAY.default, mine, 10)
    with pytest.raises(StoreUnavailable):
        await looks.look(due)
    # What is below `first_seq` is shown to nobody, whether it is removed yet or not.
    assert await house.bodies(conversation_id) == ["f", "e", "d", "c"]
    assert await house.look(A_DAY) == []
    house.clock.advance(look.HELD_MS / 1000 + 1)
    # Also when everything is to be kept by now.
    running_on = await house.look(Terms(FOREVER))
    assert [each.first_seq for each in running_on] == [4]
    assert await house.contents(conversation_id) == [b"c", b"d", b"e", b"f"]


async def test_of_two_who_look_one_does(owners: Owners, house: House) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    [due] = await house.store.due(house.clock.now_ms(), A_DAY.default, mine, 10)
    held = await house.store.hold(due, house.clock.now_ms() + 1000)
    assert held is not None
    assert await house.looks(A_DAY).look(due) is None
    # Whoever changes something meanwhile has it looked at again.
    update = ConversationUpdated(retention=FOREVER)
    assert isinstance(await running.append(change(conversation_id, update)), Appended)
    await house.store.settle(held, None, None)
    assert await house.look(A_DAY) == [Removed()]
    assert await house.next_days(conversation_id) is None


async def test_ones_own_rule_counts_before_the_default_and_a_new_default_is_followed(
    owners: Owners, house: House
) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    creation = Creation(group_id(ALICE, "0" * 32), ALICE, uuid_utils.uuid7().bytes, (ALICE, BOB, CAROL), "Group")
    await running.create(creation)
    own = ConversationUpdated(retention=Retention(RetentionRule.MAX_AGE, 2 * DAY_S))
    assert isinstance(await running.append(change(creation.conversation_id, own)), Appended)
    assert len(await house.look(Terms(FOREVER))) == 2
    assert await house.next_days(conversation_id) is None
    assert await house.next_days(creation.conversation_id) == pytest.approx(2, abs=0.01)
    assert await house.look(Terms(FOREVER)) == []
    assert await house.look(A_DAY) == [Removed()]
    assert await house.next_days(conversation_id) == pytest.approx(1, abs=0.01)
    assert await house.look(A_DAY) == []


async def test_what_is_nowhere_but_in_the_log_stays(owners: Owners, house: House) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    seqs = await say(running, conversation_id, *"ab")
    await house.look(A_DAY)
    # An owner that died before it told anybody.
    title = ConversationUpdated(retention=A_DAY.default)
    now_ms = time.time_ns() // 1_000_000
    lost = Entry(conversation_id, seqs[-1] + 1, 2, now_ms, ALICE, b"t" * 16, title, title.fingerprint())
    await MongoLog(house.database).append([lost])
    house.clock.advance(2 * DAY_S)
    [removed] = await house.look(A_DAY)
    assert removed.first_seq == lost.seq
    another = await owners.start()
    await say(another, conversation_id, "c")
    house.clock.advance(DAY_S)
    [removed] = await house.look(A_DAY)
    assert removed.first_seq == lost.seq + 2


async def test_who_left_still_lists_what_is_removed_by_now(owners: Owners, house: House) -> None:
    running = await owners.start()
    creation = Creation(group_id(ALICE, "0" * 32), ALICE, uuid_utils.uuid7().bytes, (ALICE, BOB), "Group")
    await running.create(creation)
    group = creation.conversation_id
    await say(running, group, "a")
    left = MembershipChanged(MembershipKind.LEFT, ((BOB, Role.MEMBER),))
    last = place(await running.append(change(group, left, BOB)))
    await say(running, group, "b", "c")
    for days in (2, 32):
        await house.look(A_DAY)
        house.clock.advance(days * DAY_S)
    await house.look(A_DAY)
    overview = await house.history.overview(BOB, group)
    assert (overview.head_seq, overview.head, overview.unread_count) == (last, None, 0)
    assert await house.bodies(group, BOB) == []
    assert [each.sight.conversation.conversation_id for each in (await house.history.overviews(BOB, "", 10))[0]]


async def test_relay_only_keeps_until_the_last_device_has_it(owners: Owners, house: House) -> None:
    running = await owners.start(terms=RELAY)
    for user, device in ((ALICE, "a1"), (ALICE, "a2"), (BOB, "b1")):
        await house.sign_in(user, device)
    conversation_id = await made(running)
    seqs = await say(running, conversation_id, "one", "two", "three")
    await house.look(RELAY)
    assert await running.receive(ALICE, conversation_id, seqs[2], 0, "a1") is None
    assert await running.receive(BOB, conversation_id, seqs[2], seqs[2], "b1") is None
    house.clock.advance(120)
    assert await house.look(RELAY) == [Removed()]
    assert await house.bodies(conversation_id) == ["three", "two", "one"]
    # One that is signed in only now was not meant.
    await house.sign_in(BOB, "b2", since_ms=house.clock.now_ms())
    assert await running.receive(ALICE, conversation_id, seqs[1], 0, "a2") is None
    house.clock.advance(120)
    await house.look(RELAY)
    assert await house.bodies(conversation_id) == ["three"]
    # One that is signed out is not waited for, nor remembered.
    await house.sign_out(ALICE, "a2")
    house.clock.advance(DAY_S)
    await house.look(RELAY)
    assert await house.bodies(conversation_id) == []
    assert set(await house.store.device_marks(conversation_id)) == {"a1", "b1"}


async def test_relay_only_keeps_thirty_days_at_most(owners: Owners, house: House) -> None:
    running = await owners.start(terms=RELAY)
    await house.sign_in(BOB, "b1")
    conversation_id = await made(running)
    await say(running, conversation_id, "one")
    await house.look(RELAY)
    house.clock.advance(29 * DAY_S)
    await house.look(RELAY)
    assert await house.bodies(conversation_id) == ["one"]
    house.clock.advance(2 * DAY_S)
    await house.look(RELAY)
    assert await house.bodies(conversation_id) == []


async def test_devices_are_counted_only_where_it_matters(owners: Owners, house: House) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    [seq] = await say(running, conversation_id, "one")
    assert await running.receive(BOB, conversation_id, seq, seq, "b1") is None
    assert await house.store.device_marks(conversation_id) == {}


async def test_a_round_takes_only_what_the_ring_gives(owners: Owners, house: House) -> None:
    running = await owners.start()
    conversation_id = await made(running)
    for owned, looked in ((False, 0), (True, 1), (True, 0)):
        job = RetentionJob(house.store, house.looks(A_DAY), A_DAY, house.clock, lambda _, owned=owned: owned)  # type: ignore[misc]
        assert await job.round() == looked
    assert await house.next_days(conversation_id) is not None
