"""The delivery of queued events on real stores: which devices get a push, and why others get none."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from notify_service.model.decision import PushOutcome
from notify_service.model.preferences import PreferencesChange, QuietHours, Scope
from notify_service.model.push import (
    FcmToken,
    Notification,
    RetryLater,
    TokenGone,
)
from notify_service.storage.push_queue import JOBS
from tests.eventually import eventually
from tests.integration.notify.environment import (
    ALICE,
    BOB,
    CAROL,
    CHAT,
    Answers,
    DeliveryEnvironment,
    running_server,
)

pytestmark = pytest.mark.integration

ALWAYS_QUIET = PreferencesChange(quiet_hours=QuietHours(0, 0, "UTC"))
ACCEPTED = PushOutcome.ACCEPTED


async def test_each_token_gets_one_push_and_the_queue_is_empty(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "phone", "laptop", "tablet")
    await environment.register(CAROL, "carol")
    async with running_server(environment) as server:
        await environment.queue_entries(5, users=[BOB, ALICE])
        await eventually(environment.is_empty)

        async def is_noted() -> bool:
            return all(each.last_push_ms for each in (await environment.tokens.find_all([BOB]))[BOB])

        await eventually(is_noted)
    assert sorted(server.sent) == [(name, "message", 5) for name in ("laptop", "phone", "tablet")]
    [push, *_] = [each.push for each in server.provider.pushes]
    assert isinstance(push, Notification)
    assert (push.title, push.body, push.collapse_id, push.badge) == ("Friday", "Alice: message 5", CHAT, 1)
    assert await environment.outcomes(BOB) == [ACCEPTED] * 3
    assert await environment.outcomes(ALICE) == []


async def test_user_without_a_token_costs_no_call_and_is_traced_once(environment: DeliveryEnvironment) -> None:
    async with running_server(environment) as server:
        for seq in range(1, 6):
            await environment.queue_entries(seq, users=[BOB, CAROL, ALICE])
        await eventually(environment.is_empty)
    assert (server.sent, environment.chat.calls) == ([], 0)
    for user in (BOB, CAROL):
        assert await environment.outcomes(user) == [PushOutcome.NO_TOKEN]
    assert await environment.outcomes(ALICE) == []


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"is_member": False}, PushOutcome.NOT_A_MEMBER),
        ({"is_muted": True}, PushOutcome.MUTED),
        ({"blocks_author": True}, PushOutcome.BLOCKED),
        ({"read_seq": 5}, PushOutcome.READ),
    ],
)
async def test_what_chat_says_keeps_a_push_back(
    environment: DeliveryEnvironment, changes: dict[str, Any], outcome: PushOutcome
) -> None:
    await environment.register(BOB, "bob")
    await environment.register(CAROL, "carol")
    environment.chat.change(BOB, **changes)
    async with running_server(environment) as server:
        await environment.queue_entries(5, users=[BOB, CAROL])
        await eventually(environment.is_empty)
    assert server.sent == [("carol", "message", 5)]
    assert await environment.outcomes(BOB) == [outcome]


async def test_message_that_was_deleted_meanwhile_is_not_pushed(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "busy")
    async with running_server(environment, Answers(busy=[RetryLater("503")])) as server:
        await environment.queue_entries(5)
        await eventually(lambda: environment.redis.zcard(JOBS))
        environment.chat.deleted = frozenset({5})
        await environment.queue_entries(5)
        await eventually(environment.is_empty)
    assert server.sent == [("busy", "message", 5)], "it was sent before the deletion"
    assert (await environment.outcomes(BOB))[-1] is PushOutcome.DELETED


async def test_entry_that_is_queued_twice_is_pushed_once(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "bob")
    async with running_server(environment) as server:
        for _ in range(3):
            await environment.queue_entries(5)
        await eventually(environment.is_empty)
    assert server.sent == [("bob", "message", 5)]
    assert await environment.outcomes(BOB) == [PushOutcome.ACCEPTED]


async def test_preferences_are_kept(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "bob")
    await environment.register(CAROL, "carol")
    await environment.preferences.change(BOB, PreferencesChange(Scope.MENTIONS))
    await environment.preferences.change(CAROL, ALWAYS_QUIET)
    async with running_server(environment) as server:
        await environment.queue_entries(5, users=[BOB, CAROL])
        await eventually(environment.is_empty)
    assert server.sent == []
    assert await environment.outcomes(BOB) == [PushOutcome.EXCLUDED]
    assert await environment.outcomes(CAROL) == [PushOutcome.QUIET_HOURS]


async def test_device_that_is_signed_out_gets_nothing_and_loses_its_token(environment: DeliveryEnvironment) -> None:
    phone, _ = await environment.register(BOB, "phone", "laptop")
    environment.chat.signed_out.add(phone.device_id)
    async with running_server(environment) as server:
        await environment.queue_entries(5)
        await eventually(environment.is_empty)
    assert server.sent == [("laptop", "message", 5)]
    assert len((await environment.tokens.find_all([BOB]))[BOB]) == 1
    assert sorted(await environment.outcomes(BOB)) == [ACCEPTED, PushOutcome.SIGNED_OUT]


async def test_token_that_is_gone_is_removed(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "gone", "fine")
    async with running_server(environment, Answers(gone=[TokenGone("UNREGISTERED")])) as server:
        await environment.queue_entries(5)
        await eventually(environment.is_empty)
        await environment.queue_entries(6)
        await eventually(environment.is_empty)
    assert Counter(token for token, _, _ in server.sent) == {"gone": 1, "fine": 2}
    assert [each.token for each in (await environment.tokens.find_all([BOB]))[BOB]] == [FcmToken("fine")]
    assert PushOutcome.TOKEN_GONE in await environment.outcomes(BOB)


async def test_many_events_of_one_conversation_end_with_the_newest(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "bob")
    async with running_server(environment) as server:
        for seq in range(1, 201):
            await environment.queue_entries(seq)
        await eventually(environment.is_empty)
    seqs = [seq for _, _, seq in server.sent]
    assert seqs == sorted(set(seqs))
    assert seqs[-1] == 200
