"""The delivery of queued events on real stores: what is sent, to whom, how often, and what is left."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from devstack.stack import Stack
from notify_service.delivery import consumer, retry_loop
from notify_service.delivery.sender import MIN_REFUSED_USERS
from notify_service.model.decision import PushOutcome
from notify_service.model.ports import Dead, Retry
from notify_service.model.preferences import Preferences, QuietHours, Scope
from notify_service.model.push import (
    Accepted,
    CredentialsRefused,
    FcmToken,
    Notification,
    Outcome,
    Push,
    PushToken,
    Rejected,
    RetryLater,
    TokenGone,
)
from notify_service.providers.recording import RecordingProvider
from notify_service.storage.push_queue import QUEUE, RedisPushQueue
from notify_service.wire.events import decode_job
from servicekit.clock import SystemClock
from servicekit.errors import ServiceUnavailable, StoreUnavailable
from tests.eventually import eventually
from tests.integration.notify.environment import ALICE, BOB, CAROL, CHAT, DeliveryEnvironment, running_server

pytestmark = pytest.mark.integration

ALWAYS_QUIET = Preferences(quiet_hours=QuietHours(0, 0, "UTC"))
ACCEPTED, RETRYING, FAILED = PushOutcome.ACCEPTED, PushOutcome.RETRYING, PushOutcome.FAILED


class Answers:
    """Answers of a provider by token, in order; then it accepts everything."""

    def __init__(self, **answers: list[Outcome]) -> None:
        self.answers = answers

    def __call__(self, token: PushToken, push: Push) -> Outcome:
        assert isinstance(token, FcmToken)
        left = self.answers.get(token.token)
        return left.pop(0) if left else Accepted()


class SlowProvider(RecordingProvider):
    """A provider that answers once `gate` is set; `started` counts the calls."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.gate = asyncio.Event()
        self.started = 0

    async def send(self, token: PushToken, push: Push) -> Outcome:
        self.started += 1
        await self.gate.wait()
        return await super().send(token, push)


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
        await eventually(lambda: environment.redis.zcard("{notify:queue}:retry"))
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
    await environment.preferences.put(BOB, Preferences(Scope.MENTIONS))
    await environment.preferences.put(CAROL, ALWAYS_QUIET)
    async with running_server(environment) as server:
        await environment.queue_entries(5, users=[BOB, CAROL])
        await eventually(environment.is_empty)
    assert server.sent == []
    assert await environment.outcomes(BOB) == [PushOutcome.EXCLUDED]
    assert await environment.outcomes(CAROL) == [PushOutcome.QUIET_HOURS]


async def test_push_that_falls_into_quiet_hours_is_not_sent_again(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "busy", "fine")
    async with running_server(environment, Answers(busy=[RetryLater("503")])) as server:
        await environment.queue_entries(5)
        await eventually(lambda: environment.redis.zcard("{notify:queue}:retry"))
        await environment.preferences.put(BOB, ALWAYS_QUIET)
        await eventually(environment.is_empty)
    assert Counter(server.sent) == {("busy", "message", 5): 1, ("fine", "message", 5): 1}
    assert (await environment.outcomes(BOB))[-1] is PushOutcome.QUIET_HOURS


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


async def test_push_that_failed_for_now_is_sent_again_to_that_device_alone(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "busy", "fine")
    async with running_server(environment, Answers(busy=[RetryLater("503"), RetryLater("429", 0.1)])) as server:
        await environment.queue_entries(5)
        await eventually(environment.is_empty)
    assert Counter(server.sent) == {("busy", "message", 5): 3, ("fine", "message", 5): 1}
    assert Counter(await environment.outcomes(BOB)) == {ACCEPTED: 2, RETRYING: 1}


async def test_delay_of_the_provider_is_kept_if_it_is_longer(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "busy")
    async with running_server(environment, Answers(busy=[RetryLater("429", 120.0)])):
        await environment.queue_entries(5)
        await eventually(lambda: environment.redis.zcard("{notify:queue}:retry"))
        [(job, due_ms)] = await environment.redis.zrange("{notify:queue}:retry", 0, -1, withscores=True)
    seconds, _ = await environment.redis.time()
    assert 100 < due_ms / 1000 - seconds < 121
    assert decode_job(job).attempts == 1


async def test_push_that_was_read_before_it_is_sent_again_is_dropped(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "busy", "fine")
    async with running_server(environment, Answers(busy=[RetryLater("503")])) as server:
        await environment.queue_entries(5)
        await eventually(lambda: environment.redis.zcard("{notify:queue}:retry"))
        environment.chat.change(BOB, read_seq=5)
        await eventually(environment.is_empty)
    # The other device shows it: it is withdrawn there.
    assert Counter(server.sent) == {
        ("busy", "message", 5): 1,
        ("fine", "message", 5): 1,
        ("busy", "read", 5): 1,
        ("fine", "read", 5): 1,
    }


async def test_push_that_a_newer_one_replaced_is_not_sent_again(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "busy")
    async with running_server(environment, Answers(busy=[RetryLater("503")])) as server:
        await environment.queue_entries(5)
        await eventually(lambda: environment.redis.zcard("{notify:queue}:retry"))
        await environment.queue_entries(6)
        await eventually(environment.is_empty)
    assert server.sent == [("busy", "message", 5), ("busy", "message", 6)]
    assert PushOutcome.SUPERSEDED in await environment.outcomes(BOB)


async def test_rejected_push_is_a_dead_letter(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "bad", "fine")
    async with running_server(environment, Answers(bad=[Rejected("PayloadTooLarge")])):
        await environment.queue_entries(5)
        await eventually(environment.is_empty)
    [letter] = await environment.queue.list_dead("", 10)
    assert letter.dead.reason == "PayloadTooLarge"
    job = decode_job(letter.dead.payload)
    assert (job.user_id, job.attempts, job.event.conversation_id) == (BOB, 1, CHAT)


async def test_fault_of_one_push_repeats_no_other(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "bad", "fine")

    def respond(token: PushToken, push: Push) -> Outcome:
        if token == FcmToken("bad"):
            raise RuntimeError("a fault")
        return Accepted()

    async with running_server(environment, respond) as server:
        await environment.queue_entries(5)
        await eventually(environment.is_empty)
    assert server.sent == [("fine", "message", 5)]
    [letter] = await environment.queue.list_dead("", 10)
    assert letter.dead.reason == "internal error; see the server's log"


async def test_push_that_is_too_old_is_a_dead_letter(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "busy")
    week_ms = 7 * 86_400_000
    async with running_server(environment, Answers(busy=[RetryLater("503")])):
        await environment.queue_entries(5, queued_ms=SystemClock().now_ms() - week_ms)
        await eventually(environment.is_empty)
    [letter] = await environment.queue.list_dead("", 10)
    assert letter.dead.reason == "not accepted in time: 503"


async def test_refused_credentials_suspend_the_provider_and_lose_nothing(environment: DeliveryEnvironment) -> None:
    refused = [f"{number:032}" for number in range(MIN_REFUSED_USERS)]
    for user in refused:
        await environment.register(user, user)
    await environment.register(CAROL, "carol")
    answers: dict[str, list[Outcome]] = {user: [CredentialsRefused("InvalidProviderToken")] for user in refused}
    async with running_server(environment, Answers(**answers)) as server:
        await environment.queue_entries(5, users=refused)
        await eventually(lambda: are_waiting(environment, MIN_REFUSED_USERS))
        await environment.queue_entries(6, users=[CAROL])
        await eventually(lambda: are_waiting(environment, MIN_REFUSED_USERS + 1))
    assert sorted(server.sent) == [(user, "message", 5) for user in refused], "a suspended provider is not called"
    assert await environment.outcomes(CAROL) == [RETRYING]


async def are_waiting(environment: DeliveryEnvironment, jobs: int) -> bool:
    return bool(await environment.redis.zcard("{notify:queue}:retry") == jobs)


async def test_event_waits_while_chat_does_not_answer(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "bob")
    environment.chat.failures = [ServiceUnavailable("no chat server"), StoreUnavailable("no database")]
    async with running_server(environment) as server:
        await environment.queue_entries(5)
        await eventually(environment.is_empty)
    assert server.sent == [("bob", "message", 5)]


async def test_bytes_that_are_no_event_are_a_dead_letter(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "bob")
    async with running_server(environment) as server:
        await environment.redis.xadd(QUEUE, {"event": b"\xff\xff"})
        await environment.redis.xadd(QUEUE, {"other": b"nothing"})
        await environment.queue_entries(5)
        await eventually(environment.is_empty)
    assert server.sent == [("bob", "message", 5)]
    [letter] = await environment.queue.list_dead("", 10)
    assert letter.dead == Dead(b"\xff\xff", "the bytes are not a valid QueuedPush", True)


async def test_event_that_makes_servers_fail_is_a_dead_letter_in_the_end(
    environment: DeliveryEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "IDLE_S", 0.0)
    monkeypatch.setattr(consumer, "CLAIM_INTERVAL_S", 0.01)
    await environment.register(BOB, "bob")
    environment.chat.failures = [RuntimeError("a fault") for _ in range(100)]
    async with running_server(environment) as server:
        await environment.queue_entries(5)
        # Each failure is logged with its stack, which takes long in a test.
        await eventually(environment.is_empty, 60)
    assert server.sent == []
    [letter] = await environment.queue.list_dead("", 10)
    assert (letter.dead.is_event, letter.dead.reason) == (True, "not processed in 10 attempts")
    assert environment.chat.calls == 10


async def test_many_events_of_one_conversation_end_with_the_newest(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "bob")
    async with running_server(environment) as server:
        for seq in range(1, 201):
            await environment.queue_entries(seq)
        await eventually(environment.is_empty)
    seqs = [seq for _, _, seq in server.sent]
    assert seqs == sorted(set(seqs))
    assert seqs[-1] == 200


async def test_server_killed_before_the_send_leaves_one_push_for_the_other(
    environment: DeliveryEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "IDLE_S", 0.3)
    monkeypatch.setattr(consumer, "CLAIM_INTERVAL_S", 0.05)
    monkeypatch.setattr(consumer, "RENEW_INTERVAL_S", 0.05)
    await environment.register(BOB, "one", "two", "three")
    slow = SlowProvider()
    async with running_server(environment, name="notify-1", provider=slow) as first:
        await environment.queue_entries(5)
        await eventually(lambda: slow.started == 3)
        await first.kill()
        async with running_server(environment, name="notify-2") as second:
            await eventually(environment.is_empty)
    assert (slow.pushes, Counter(second.sent)) == (
        (),
        {(name, "message", 5): 1 for name in ("one", "two", "three")},
    )


class UnsettledQueue(RedisPushQueue):
    """A queue whose server dies before it acknowledges an event: `reached` is set when it was about to."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.reached = asyncio.Event()

    async def settle(self, event_id: str, retries: Sequence[Retry] = (), dead: Sequence[Dead] = ()) -> None:
        self.reached.set()
        await asyncio.Event().wait()


async def test_server_killed_between_send_and_acknowledgement_repeats_with_the_same_collapse_id(
    environment: DeliveryEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "IDLE_S", 0.3)
    monkeypatch.setattr(consumer, "CLAIM_INTERVAL_S", 0.05)
    await environment.register(BOB, "one", "two")
    unsettled = UnsettledQueue(environment.redis)
    async with running_server(environment, name="notify-1", queue=unsettled) as first:
        await environment.queue_entries(5)
        await unsettled.reached.wait()
        await first.kill()
        async with running_server(environment, name="notify-2") as second:
            await eventually(environment.is_empty)
    both = [("one", "message", 5), ("two", "message", 5)]
    assert (sorted(first.sent), sorted(second.sent)) == (both, both)
    assert {each.push.collapse_id for each in (*first.provider.pushes, *second.provider.pushes)} == {CHAT}


async def test_event_in_flight_is_not_claimed_however_long_it_takes(
    environment: DeliveryEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "IDLE_S", 0.3)
    monkeypatch.setattr(consumer, "CLAIM_INTERVAL_S", 0.05)
    monkeypatch.setattr(consumer, "RENEW_INTERVAL_S", 0.05)
    await environment.register(BOB, "bob")
    slow = SlowProvider()
    async with running_server(environment, name="notify-1", provider=slow) as first:
        await environment.queue_entries(5)
        await eventually(lambda: slow.started == 1)
        async with running_server(environment, name="notify-2") as second:
            loop = asyncio.get_running_loop()
            until = loop.time() + 1.0
            await eventually(lambda: loop.time() > until)
            slow.gate.set()
            await eventually(environment.is_empty)
    assert (first.sent, second.sent) == ([("bob", "message", 5)], [])


async def test_redis_that_freezes_after_the_send_makes_no_push_repeat(
    environment: DeliveryEnvironment, valkey: Stack
) -> None:
    await environment.register(BOB, "bob")
    slow = SlowProvider()
    async with running_server(environment, provider=slow):
        await environment.queue_entries(5)
        await eventually(lambda: slow.started == 1)
        valkey.processes["valkey"].freeze()
        try:
            slow.gate.set()
            await eventually(lambda: slow.pushes)
            # Longer than a client waits for Redis.
            until = asyncio.get_running_loop().time() + 3.0
            await eventually(lambda: asyncio.get_running_loop().time() > until)
        finally:
            valkey.processes["valkey"].resume()
        await eventually(environment.is_empty, timeout=20.0)
    assert slow.started == 1
    assert await environment.queue.list_dead("", 10) == []


async def test_restarted_server_goes_on_with_its_own_events_at_once(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "bob")
    slow = SlowProvider()
    async with running_server(environment, provider=slow) as first:
        await environment.queue_entries(5)
        await eventually(lambda: slow.started == 1)
        await first.kill()
    async with running_server(environment) as again:
        await eventually(environment.is_empty, timeout=5.0)
    assert again.sent == [("bob", "message", 5)]


async def test_job_of_a_server_that_died_is_repeated_after_its_lease(
    environment: DeliveryEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_loop, "LEASE_S", 0.5)
    await environment.register(BOB, "bob")
    async with running_server(environment, Answers(bob=[RetryLater("503")])):
        await environment.queue_entries(5)
        await eventually(lambda: environment.redis.zcard("{notify:queue}:retry"))
    slow = SlowProvider()
    async with running_server(environment, name="notify-2", provider=slow) as second:
        await eventually(lambda: slow.started == 1)
        await second.kill()
    async with running_server(environment, name="notify-3") as third:
        await eventually(environment.is_empty)
    assert third.sent == [("bob", "message", 5)]
