"""What goes wrong with one conversation, or with one draft, ends neither the owner nor the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from chat_service.model.conversation import Conversation
from chat_service.model.entry import Entry
from chat_service.model.requests import AppendOutcome, Creation
from chat_service.model.stores import Conflict
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.log import MongoLog
from chat_service.storage.mongo import Database
from servicekit.failure import Failure
from tests.integration.chat.conftest import ALICE, BOB, CAROL, Owners, Running, direct, draft, place

pytestmark = pytest.mark.integration

GOOD, BAD = direct(ALICE, BOB), direct(ALICE, CAROL)


@pytest.fixture
async def running(owners: Owners) -> Running:
    running = await owners.start()
    for creation in (GOOD, BAD):
        place(await running.create(creation))
    return running


def failed(answer: AppendOutcome | Failure | None) -> None:
    assert isinstance(answer, Failure), answer
    assert answer.reason == "INTERNAL"


async def both(running: Running, text: str) -> tuple[AppendOutcome, AppendOutcome]:
    good = running.append(draft(GOOD.conversation_id, ALICE, text))
    bad = running.append(draft(BAD.conversation_id, ALICE, text))
    async with asyncio.timeout(5):
        return await asyncio.gather(good, bad)


async def test_a_write_that_fails_of_a_fault_is_told_and_found_by_a_retry(
    running: Running, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    append, sent = MongoLog.append_batch, draft(BAD.conversation_id)

    async def appended_and_broken(log: MongoLog, entries: Sequence[Entry]) -> Conflict | None:
        await append(log, entries)
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(MongoLog, "append_batch", appended_and_broken)
        failed(await running.append(sent))
    first = place(await running.append(sent))
    assert place(await running.append(draft(BAD.conversation_id))) == first + 1
    assert sent.key in {entry.key for entry in running.heard.entries}


async def test_a_conversation_that_cannot_be_loaded_is_refused_alone(
    owners: Owners, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, other = MongoConversationStore.load, await owners.start()

    async def broken_for_one(store: MongoConversationStore, conversation_id: str) -> Conversation | None:
        if conversation_id == BAD.conversation_id:
            raise ZeroDivisionError
        return await load(store, conversation_id)

    with monkeypatch.context() as broken:
        broken.setattr(MongoConversationStore, "load", broken_for_one)
        good, bad = await both(other, "one")
        place(good)
        failed(bad)
        failed(await other.receive(ALICE, BAD.conversation_id, 1, 1))
    for answer in await both(other, "two"):
        place(answer)


async def test_an_answer_that_nobody_can_take_leaves_the_others_of_its_write_alone(running: Running) -> None:
    def break_down(_: AppendOutcome) -> None:
        raise ZeroDivisionError

    running.owner.append_draft(draft(BAD.conversation_id), None, break_down)
    good, bad = await both(running, "beside")
    place(good)
    assert isinstance(bad, Failure) or place(bad)
    for answer in await both(running, "after"):
        place(answer)


async def test_receipts_that_cannot_be_kept_are_told_and_taken_again(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken_down(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(MongoConversationStore, "raise_watermarks", broken_down)
        failed(await running.receive(BOB, GOOD.conversation_id, 1, 1))
    async with asyncio.timeout(5):
        assert await running.receive(BOB, GOOD.conversation_id, 1, 1) is None


async def test_a_draft_that_cannot_be_decided_is_refused_alone(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    creation: Creation = GOOD

    def broken_down(_: object) -> bytes:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr("chat_service.owner.owned_conversation.authorize", broken_down)
        failed(await running.append(draft(creation.conversation_id)))
    place(await running.append(draft(creation.conversation_id)))
