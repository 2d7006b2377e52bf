"""Watermarks never go backwards, neither for their readers nor after the death of an owner."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

import pytest

from chat_service.model.conversation import Watermark
from chat_service.model.requests import Done
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.log import MongoLog
from servicekit.mongo import Database
from tests.eventually import eventually
from tests.integration.chat.conftest import ALICE, BOB, Owners, RunningOwner, direct, draft, seq_of

pytestmark = pytest.mark.integration

CONVERSATION = direct().conversation_id


@pytest.fixture
async def running(owners: Owners) -> RunningOwner:
    running = await owners.start()
    assert await running.create(direct()) == Done()
    return running


async def load_watermark(database: Database, user: str) -> Watermark:
    conversation = await MongoConversationStore(database).load(CONVERSATION)
    assert conversation is not None
    return conversation.members[user].watermark


async def test_published_watermarks_are_stored(
    running: RunningOwner, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    raise_watermarks, begun, may_go_on = MongoConversationStore.raise_watermarks, asyncio.Event(), asyncio.Event()

    async def slow(
        store: MongoConversationStore, marks: Mapping[str, Mapping[str, Watermark]], hidden: Collection[str]
    ) -> None:
        begun.set()
        await may_go_on.wait()
        await raise_watermarks(store, marks, hidden)

    await running.append(draft(CONVERSATION, ALICE))
    await eventually(lambda: _has_read(database, ALICE, 2))
    monkeypatch.setattr(MongoConversationStore, "raise_watermarks", slow)
    receipt = asyncio.ensure_future(running.receive(BOB, CONVERSATION, 2, 2))
    await begun.wait()
    # Bob sends while the receipt is written; the read mark of his sends is not stored yet.
    for _ in range(3):
        seq_of(await running.append(draft(CONVERSATION, BOB)))
    may_go_on.set()
    assert await receipt == Done()
    _, _, published = running.publisher.watermarks[-1]
    assert published[BOB].read_seq == 2
    await eventually(lambda: _has_read(database, BOB, 5))


async def _has_read(database: Database, user: str, seq: int) -> bool:
    return (await load_watermark(database, user)).read_seq == seq


async def test_next_owner_restores_read_marks_of_senders(
    owners: Owners, running: RunningOwner, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as died:
        # The first owner writes the log and dies before it writes any other store.
        died.setattr(MongoConversationStore, "raise_watermarks", never)
        last = seq_of(await running.append(draft(CONVERSATION, BOB)))
        assert (await load_watermark(database, BOB)).read_seq < last
    second = await owners.start()
    seq_of(await second.append(draft(CONVERSATION, ALICE)))
    await eventually(lambda: _has_read(database, BOB, last))
    assert (await load_watermark(database, BOB)).read_number == (
        await MongoLog(database).count_messages(CONVERSATION, last)
    )
    assert not [marks for _, _, marks in second.publisher.watermarks if BOB in marks], (
        "the entry already implies the watermark"
    )
