"""Retention concurrent with retries, edits, readers, owners, crashes and sweeps: no content returns or is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

import pytest

from chat_service.errors import MessageNotFound
from chat_service.history.history import RangeRequest
from chat_service.model.conversation import Conversation
from chat_service.model.entry import (
    ConversationUpdated,
    Entry,
    Message,
    MessageEdited,
    ReactionChanged,
)
from chat_service.model.requests import Appended, Done
from chat_service.model.retention import FOREVER, RetentionPolicy
from chat_service.owner.owner import Owner
from chat_service.retention import sweep
from chat_service.retention.sweep import RetentionSweep, SweepResult
from chat_service.storage.change_index import RedisChangeIndex
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.devices import MongoDeviceStore
from chat_service.storage.log import MongoLog
from chat_service.storage.retention import MongoRetentionStore
from servicekit.clock import SystemClock
from servicekit.errors import StoreUnavailable
from servicekit.failure import Failure
from servicekit.mongo import Database
from tests.integration.chat.conftest import (
    ALICE,
    BOB,
    UNLIMITED,
    FixedRing,
    Owners,
    RecordedPublisher,
    RunningOwner,
    draft,
    seq_of,
)
from tests.integration.chat.retention.environment import (
    A_DAY,
    DAY_S,
    RetentionEnvironment,
    change,
    create_direct,
    owns_all,
    send_texts,
    skip_reload,
    skip_touch,
)

pytestmark = pytest.mark.integration


async def test_retry_after_retention_gets_its_first_outcome(owners: Owners, environment: RetentionEnvironment) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    sent = draft(conversation_id)
    seq = seq_of(await running.append(sent))
    await send_texts(running, conversation_id, "later")
    await environment.sweep_due(A_DAY)
    environment.clock.advance(2 * DAY_S)
    await environment.sweep_due(A_DAY)
    assert await environment.contents(conversation_id) == []
    # An owner that finds the send only in the log.
    another = await owners.start()
    assert seq_of(await another.append(sent)) == seq
    assert await environment.contents(conversation_id) == []


async def test_sweep_that_dies_after_a_removal_has_told_the_index(
    owners: Owners, environment: RetentionEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation_id = await create_direct(running := await owners.start())
    await send_texts(running, conversation_id, "gone")
    await environment.sweep_due(A_DAY)
    environment.clock.advance(2 * DAY_S)
    remove_content, touched = MongoRetentionStore.remove_content, dict[str, Collection[str]]()

    async def remove_and_die(store: MongoRetentionStore, conversation: str, first: int, last: int) -> None:
        await remove_content(store, conversation, first, last)
        raise StoreUnavailable("the server died")

    async def touch(users: Mapping[str, Collection[str]]) -> None:
        touched.update(users)

    devices, store = MongoDeviceStore(environment.database), environment.store
    dying = RetentionSweep(store, devices, A_DAY, environment.clock, skip_reload, touch)
    [due] = await store.list_due(environment.clock.now_ms(), A_DAY.default, owns_all, 10)
    monkeypatch.setattr(MongoRetentionStore, "remove_content", remove_and_die)
    with pytest.raises(StoreUnavailable):
        await dying.sweep(due)
    assert await environment.contents(conversation_id) == []
    assert set(touched[conversation_id]) == {ALICE, BOB}, "the next sweep has nothing to remove"


async def test_edit_by_stale_owner_does_not_restore_content(owners: Owners, environment: RetentionEnvironment) -> None:
    stale = await owners.start()
    conversation_id = await create_direct(stale)
    [seq] = await send_texts(stale, conversation_id, "gone")
    await environment.sweep_due(A_DAY)
    environment.clock.advance(2 * DAY_S)
    # The owner is not reloaded, as between the removal and its notification.
    await environment.sweep_due(A_DAY)
    for late in (MessageEdited(seq, b"back"), ReactionChanged(seq, "!")):
        assert isinstance(await stale.append(change(conversation_id, late)), Appended)
    document = await environment.database["entries"].find_one({"c": bytes.fromhex(conversation_id), "y": 10})
    assert document is not None
    assert not {"b", "w", "r", "e"} & document.keys()
    assert await environment.bodies(conversation_id) == []


async def test_owner_is_reloaded_before_content_is_removed(owners: Owners, environment: RetentionEnvironment) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    [seq] = await send_texts(running, conversation_id, "gone")
    contents = list[list[bytes]]()

    async def reload(name: str) -> None:
        contents.append(await environment.contents(name))
        await running.reload(name)

    await environment.sweep_due(A_DAY)
    environment.clock.advance(2 * DAY_S)
    await environment.sweep_due(A_DAY, reload)
    assert contents[0] == [b"gone"]
    for late in (MessageEdited(seq, b"back"), ReactionChanged(seq, "!")):
        assert isinstance(await running.append(change(conversation_id, late)), MessageNotFound)


async def test_paging_continues_with_remaining_entries_after_removal(
    owners: Owners, environment: RetentionEnvironment
) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    seqs = await send_texts(running, conversation_id, *"abcd")
    await environment.sweep_due(A_DAY)
    environment.clock.advance(DAY_S + 60)
    log = MongoLog(environment.database)
    for seq in range(seqs[-1] + 1, seqs[-1] + 5):
        message = Message(f"new {seq}".encode())
        request_id = seq.to_bytes(16, "big")
        entry = Entry(
            conversation_id, seq, seq - 1, environment.clock.now_ms(), BOB, request_id, message, message.fingerprint()
        )
        await log.append_batch([entry])
    first = await environment.bodies(conversation_id, limit=2)
    [found] = await environment.history.read_ranges(ALICE, [RangeRequest(conversation_id, 0, 3)])
    await environment.sweep_due(A_DAY)
    assert first + await environment.bodies(conversation_id, before=8, limit=100) == [
        "new 9",
        "new 8",
        "new 7",
        "new 6",
    ]
    assert not isinstance(found, Failure)
    [rest] = await environment.history.read_ranges(ALICE, [RangeRequest(conversation_id, found.entries[-1].seq, 100)])
    assert not isinstance(rest, Failure)
    assert [each.seq for each in (*found.entries, *rest.entries)] == list(range(1, 10))
    assert rest.complete


class FailingRetentionStore(MongoRetentionStore):
    """A store that becomes unavailable before it removes content."""

    async def remove_content(self, conversation_id: str, first: int, last: int) -> None:
        raise StoreUnavailable("now")


async def test_next_sweep_completes_interrupted_removal(owners: Owners, environment: RetentionEnvironment) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    await send_texts(running, conversation_id, *"abcdef")
    await environment.sweep_due(A_DAY)
    environment.clock.advance(2 * DAY_S)
    store = FailingRetentionStore(environment.database)
    devices = MongoDeviceStore(environment.database)
    failing_sweep = RetentionSweep(store, devices, A_DAY, environment.clock, skip_reload, skip_touch)
    [due] = await store.list_due(environment.clock.now_ms(), A_DAY.default, owns_all, 10)
    with pytest.raises(StoreUnavailable):
        await failing_sweep.sweep(due)
    # Entries below `first_seq` are hidden from all members, removed or not.
    assert await environment.bodies(conversation_id) == ["f", "e", "d", "c"]
    assert await environment.sweep_due(A_DAY) == []
    environment.clock.advance(sweep.CLAIM_MS / 1000 + 1)
    # The removal is completed even if the policy keeps everything by now.
    running_on = await environment.sweep_due(RetentionPolicy(FOREVER))
    assert [each.first_seq for each in running_on] == [4]
    assert await environment.contents(conversation_id) == [b"c", b"d", b"e", b"f"]


async def test_one_of_two_concurrent_sweeps_acquires_conversation(
    owners: Owners, environment: RetentionEnvironment
) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    [due] = await environment.store.list_due(environment.clock.now_ms(), A_DAY.default, owns_all, 10)
    held = await environment.store.claim(due, environment.clock.now_ms() + 1000)
    assert held is not None
    assert await environment.new_sweep(A_DAY).sweep(due) is None
    # A change during a sweep makes the conversation due again.
    update = ConversationUpdated(retention=FOREVER)
    assert isinstance(await running.append(change(conversation_id, update)), Appended)
    await environment.store.release(held, None, None)
    assert await environment.sweep_due(A_DAY) == [SweepResult()]
    assert await environment.days_until_due(conversation_id) is None


class GatedConversationStore(MongoConversationStore):
    """A conversation store that reads at once and returns the result later."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.read = asyncio.Event()
        self.proceed = asyncio.Event()

    async def load(self, conversation_id: str) -> Conversation | None:
        kept = await super().load(conversation_id)
        self.read.set()
        await self.proceed.wait()
        return kept


async def test_owner_loading_during_removal_loads_again(
    owners: Owners, environment: RetentionEnvironment, index: RedisChangeIndex
) -> None:
    writer = await owners.start()
    conversation_id = await create_direct(writer)
    [seq] = await send_texts(writer, conversation_id, "gone")
    gated, publisher, ring = GatedConversationStore(environment.database), RecordedPublisher(), FixedRing.of_one("slow")
    slow = RunningOwner(
        Owner(MongoLog(environment.database), gated, index, publisher, ring, SystemClock(), UNLIMITED), publisher, ring
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(slow.owner.run())
        edit = group.create_task(slow.append(change(conversation_id, MessageEdited(seq, b"back"))))
        await gated.read.wait()

        async def reload(name: str) -> None:
            assert await slow.reload(name) == Done()

        await environment.sweep_due(A_DAY)
        environment.clock.advance(2 * DAY_S)
        await environment.sweep_due(A_DAY, reload)
        gated.proceed.set()
        assert isinstance(await edit, MessageNotFound)
        running.cancel()
