"""Servers of notify that die, and Redis that freezes: each push is sent, and sent again only if it must."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from devstack.stack import Stack
from notify_service.delivery import consumer, job_loop
from notify_service.model.ports import DeadLetter, DelayedJob
from notify_service.model.push import (
    RetryLater,
)
from notify_service.storage.push_queue import JOBS, RedisPushQueue
from tests.eventually import eventually
from tests.integration.notify.environment import (
    BOB,
    CHAT,
    Answers,
    DeliveryEnvironment,
    SlowProvider,
    running_server,
)

pytestmark = pytest.mark.integration


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


class UnacknowledgedQueue(RedisPushQueue):
    """A queue whose server dies before it acknowledges an event: `reached` is set when it was about to."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.reached = asyncio.Event()

    async def acknowledge(
        self, event_id: str, jobs: Sequence[DelayedJob] = (), dead_letters: Sequence[DeadLetter] = ()
    ) -> None:
        self.reached.set()
        await asyncio.Event().wait()


async def test_server_killed_between_send_and_acknowledgement_repeats_with_the_same_collapse_id(
    environment: DeliveryEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "IDLE_S", 0.3)
    monkeypatch.setattr(consumer, "CLAIM_INTERVAL_S", 0.05)
    await environment.register(BOB, "one", "two")
    unacknowledged = UnacknowledgedQueue(environment.redis)
    async with running_server(environment, name="notify-1", queue=unacknowledged) as first:
        await environment.queue_entries(5)
        await unacknowledged.reached.wait()
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
    assert await environment.queue.list_dead_letters("", 10) == []


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
    monkeypatch.setattr(job_loop, "LEASE_S", 0.5)
    await environment.register(BOB, "bob")
    async with running_server(environment, Answers(bob=[RetryLater("503")])):
        await environment.queue_entries(5)
        await eventually(lambda: environment.redis.zcard(JOBS))
    slow = SlowProvider()
    async with running_server(environment, name="notify-2", provider=slow) as second:
        await eventually(lambda: slow.started == 1)
        await second.kill()
    async with running_server(environment, name="notify-3") as third:
        await eventually(environment.is_empty)
    assert third.sent == [("bob", "message", 5)]
