"""Pushes that fail, on real stores: jobs that are sent again, and dead letters."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from notify_service.delivery import consumer
from notify_service.delivery.sender import MIN_REFUSED_USERS
from notify_service.model.decision import PushOutcome
from notify_service.model.ports import DeadLetter
from notify_service.model.preferences import PreferencesChange, QuietHours
from notify_service.model.push import (
    Accepted,
    CredentialsRefused,
    FcmToken,
    Outcome,
    Push,
    PushToken,
    Rejected,
    RetryLater,
)
from notify_service.storage.push_queue import JOBS, QUEUE
from notify_service.wire.events import decode_job
from servicekit.clock import SystemClock
from servicekit.errors import ServiceUnavailable, StoreUnavailable
from servicekit.failure import INTERNAL_ERROR
from tests.eventually import eventually
from tests.integration.notify.environment import (
    BOB,
    CAROL,
    CHAT,
    Answers,
    DeliveryEnvironment,
    running_server,
)

pytestmark = pytest.mark.integration

ALWAYS_QUIET = PreferencesChange(quiet_hours=QuietHours(0, 0, "UTC"))
ACCEPTED, RETRYING = PushOutcome.ACCEPTED, PushOutcome.RETRYING


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
        await eventually(lambda: environment.redis.zcard(JOBS))
        [(job, due_ms)] = await environment.redis.zrange(JOBS, 0, -1, withscores=True)
    seconds, _ = await environment.redis.time()
    assert 100 < due_ms / 1000 - seconds < 121
    assert decode_job(job).attempts == 1


async def test_push_that_was_read_before_it_is_sent_again_is_dropped(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "busy", "fine")
    async with running_server(environment, Answers(busy=[RetryLater("503")])) as server:
        await environment.queue_entries(5)
        await eventually(lambda: environment.redis.zcard(JOBS))
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
        await eventually(lambda: environment.redis.zcard(JOBS))
        await environment.queue_entries(6)
        await eventually(environment.is_empty)
    assert server.sent == [("busy", "message", 5), ("busy", "message", 6)]
    assert PushOutcome.SUPERSEDED in await environment.outcomes(BOB)


async def test_push_that_falls_into_quiet_hours_is_not_sent_again(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "busy", "fine")
    async with running_server(environment, Answers(busy=[RetryLater("503")])) as server:
        await environment.queue_entries(5)
        await eventually(lambda: environment.redis.zcard(JOBS))
        await environment.preferences.change(BOB, ALWAYS_QUIET)
        await eventually(environment.is_empty)
    assert Counter(server.sent) == {("busy", "message", 5): 1, ("fine", "message", 5): 1}
    assert (await environment.outcomes(BOB))[-1] is PushOutcome.QUIET_HOURS


async def test_rejected_push_is_a_dead_letter(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "bad", "fine")
    async with running_server(environment, Answers(bad=[Rejected("PayloadTooLarge")])):
        await environment.queue_entries(5)
        await eventually(environment.is_empty)
    [letter] = await environment.queue.list_dead_letters("", 10)
    assert letter.reason == "PayloadTooLarge"
    job = decode_job(letter.payload)
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
    [letter] = await environment.queue.list_dead_letters("", 10)
    assert letter.reason == INTERNAL_ERROR


async def test_push_that_is_too_old_is_a_dead_letter(environment: DeliveryEnvironment) -> None:
    await environment.register(BOB, "busy")
    week_ms = 7 * 86_400_000
    async with running_server(environment, Answers(busy=[RetryLater("503")])):
        await environment.queue_entries(5, queued_ms=SystemClock().now_ms() - week_ms)
        await eventually(environment.is_empty)
    [letter] = await environment.queue.list_dead_letters("", 10)
    assert letter.reason == "not accepted in time: 503"


async def test_refused_credentials_suspend_the_provider_and_lose_nothing(environment: DeliveryEnvironment) -> None:
    refused = [f"{number:032}" for number in range(MIN_REFUSED_USERS)]
    for user in refused:
        [device] = await environment.register(user, user)
        await environment.tokens.note_pushes({device.token_id: 1})
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
    return bool(await environment.redis.zcard(JOBS) == jobs)


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
    [letter] = await environment.queue.list_dead_letters("", 10)
    assert replace(letter, letter_id="") == DeadLetter(b"\xff\xff", "the bytes are not a valid QueuedPush", True)


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
    [letter] = await environment.queue.list_dead_letters("", 10)
    assert (letter.is_event, letter.reason) == (True, "not processed in 10 attempts")
    assert environment.chat.calls == 10
