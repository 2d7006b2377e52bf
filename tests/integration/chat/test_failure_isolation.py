"""A failure in one conversation or one draft affects neither the owner nor other conversations."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NoReturn

import pytest

from chat_service.model.conversation import Conversation
from chat_service.model.entry import Entry
from chat_service.model.requests import AppendOutcome, Done, DoneOutcome
from chat_service.model.stores import Conflict
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.log import MongoLog
from servicekit.failure import Failure
from servicekit.mongo import Database
from tests.integration.chat.conftest import ALICE, BOB, CAROL, Owners, RunningOwner, direct, draft, seq_of

pytestmark = pytest.mark.integration

GOOD, BAD = direct(ALICE, BOB), direct(ALICE, CAROL)


@pytest.fixture
async def running(owners: Owners) -> RunningOwner:
    running = await owners.start()
    for creation in (GOOD, BAD):
        assert await running.create(creation) == Done()
    return running


class Fault:
    """A callable that always raises, and counts its calls so that a test recognises this failure."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *_: object) -> NoReturn:
        self.calls += 1
        raise ZeroDivisionError


def assert_internal_failure(answer: AppendOutcome | DoneOutcome) -> None:
    assert isinstance(answer, Failure), answer
    assert answer.reason == "INTERNAL"


async def append_to_both(running: RunningOwner, text: str) -> tuple[AppendOutcome, AppendOutcome]:
    good = running.append(draft(GOOD.conversation_id, ALICE, text))
    bad = running.append(draft(BAD.conversation_id, ALICE, text))
    async with asyncio.timeout(20):
        return await asyncio.gather(good, bad)


async def test_failed_write_is_reported_and_found_by_retry(
    running: RunningOwner, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    append, sent, fault = MongoLog.append_batch, draft(BAD.conversation_id), Fault()

    async def appended_and_broken(log: MongoLog, entries: Sequence[Entry]) -> Conflict | None:
        await append(log, entries)
        fault()

    with monkeypatch.context() as broken:
        broken.setattr(MongoLog, "append_batch", appended_and_broken)
        assert_internal_failure(await running.append(sent))
    assert fault.calls == 1
    first = seq_of(await running.append(sent))
    assert seq_of(await running.append(draft(BAD.conversation_id))) == first + 1
    assert sent.key in {entry.key for entry in running.publisher.entries}


async def test_load_failure_refuses_only_its_conversation(
    owners: Owners, running: RunningOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, other, fault = MongoConversationStore.load, await owners.start(), Fault()

    async def broken_for_one(store: MongoConversationStore, conversation_id: str) -> Conversation | None:
        if conversation_id == BAD.conversation_id:
            fault()
        return await load(store, conversation_id)

    with monkeypatch.context() as broken:
        broken.setattr(MongoConversationStore, "load", broken_for_one)
        good, bad = await append_to_both(other, "one")
        seq_of(good)
        assert_internal_failure(bad)
        assert fault.calls == 1
        assert_internal_failure(await other.receive(ALICE, BAD.conversation_id, 1, 1))
        assert fault.calls == 2
    for answer in await append_to_both(other, "two"):
        seq_of(answer)


async def test_failing_callback_does_not_affect_other_conversations_of_the_write(running: RunningOwner) -> None:
    fault = Fault()
    # All three sends are in one write.
    sends = [draft(GOOD.conversation_id), draft(BAD.conversation_id)]
    answers: list[asyncio.Future[AppendOutcome]] = [asyncio.get_running_loop().create_future() for _ in sends]
    running.owner.append_draft(draft(BAD.conversation_id), None, fault)
    for sent, answer in zip(sends, answers, strict=True):
        running.owner.append_draft(sent, None, answer.set_result)
    async with asyncio.timeout(20):
        good, bad = await asyncio.gather(*answers)
    assert fault.calls == 1
    seq_of(good)
    assert_internal_failure(bad)
    assert seq_of(await running.append(sends[1])) == 3, "a retry finds the send in the log"
    for after in await append_to_both(running, "after"):
        seq_of(after)


async def test_failed_receipt_is_reported_and_accepted_on_retry(
    running: RunningOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Fault()
    with monkeypatch.context() as broken:
        broken.setattr(MongoConversationStore, "raise_watermarks", fault)
        assert_internal_failure(await running.receive(BOB, GOOD.conversation_id, 1, 1))
    assert fault.calls == 1
    async with asyncio.timeout(20):
        assert await running.receive(BOB, GOOD.conversation_id, 1, 1) == Done()


async def test_authorization_failure_refuses_only_its_draft(
    running: RunningOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Fault()
    with monkeypatch.context() as broken:
        broken.setattr("chat_service.owner.owned_conversation.authorize", fault)
        assert_internal_failure(await running.append(draft(GOOD.conversation_id)))
    assert fault.calls == 1
    seq_of(await running.append(draft(GOOD.conversation_id)))
