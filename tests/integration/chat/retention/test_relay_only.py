"""Relay-only retention removes content once all devices have it, or after thirty days."""

from __future__ import annotations

import pytest

from chat_service.model.requests import Done
from chat_service.retention.sweep import SweepResult
from tests.integration.chat.conftest import (
    ALICE,
    BOB,
    Owners,
)
from tests.integration.chat.retention.environment import DAY_S, RELAY, RetentionEnvironment, create_direct, send_texts

pytestmark = pytest.mark.integration


async def test_relay_only_keeps_content_until_last_device_has_it(
    owners: Owners, environment: RetentionEnvironment
) -> None:
    running = await owners.start(terms=RELAY)
    for user, device in ((ALICE, "a1"), (ALICE, "a2"), (BOB, "b1")):
        await environment.sign_in(user, device)
    conversation_id = await create_direct(running)
    seqs = await send_texts(running, conversation_id, "one", "two", "three")
    await environment.sweep_due(RELAY)
    assert await running.receive(ALICE, conversation_id, seqs[2], 0, "a1") == Done()
    assert await running.receive(BOB, conversation_id, seqs[2], seqs[2], "b1") == Done()
    environment.clock.advance(120)
    assert await environment.sweep_due(RELAY) == [SweepResult()]
    assert await environment.bodies(conversation_id) == ["three", "two", "one"]
    # A device that signs in now does not have to receive earlier entries.
    await environment.sign_in(BOB, "b2", since_ms=environment.clock.now_ms())
    assert await running.receive(ALICE, conversation_id, seqs[1], 0, "a2") == Done()
    environment.clock.advance(120)
    await environment.sweep_due(RELAY)
    assert await environment.bodies(conversation_id) == ["three"]
    # A signed-out device is neither waited for nor kept in the marks.
    await environment.sign_out(ALICE, "a2")
    environment.clock.advance(DAY_S)
    await environment.sweep_due(RELAY)
    assert await environment.bodies(conversation_id) == []
    assert set(await environment.store.load_device_marks(conversation_id)) == {"a1", "b1"}


async def test_relay_only_removes_content_after_thirty_days(owners: Owners, environment: RetentionEnvironment) -> None:
    running = await owners.start(terms=RELAY)
    await environment.sign_in(BOB, "b1")
    conversation_id = await create_direct(running)
    await send_texts(running, conversation_id, "one")
    await environment.sweep_due(RELAY)
    environment.clock.advance(29 * DAY_S)
    await environment.sweep_due(RELAY)
    assert await environment.bodies(conversation_id) == ["one"]
    environment.clock.advance(2 * DAY_S)
    await environment.sweep_due(RELAY)
    assert await environment.bodies(conversation_id) == []


async def test_device_marks_are_stored_only_for_relay_only(owners: Owners, environment: RetentionEnvironment) -> None:
    running = await owners.start()
    conversation_id = await create_direct(running)
    [seq] = await send_texts(running, conversation_id, "one")
    assert await running.receive(BOB, conversation_id, seq, seq, "b1") == Done()
    assert await environment.store.load_device_marks(conversation_id) == {}
