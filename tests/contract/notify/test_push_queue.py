"""The queue of pushes in a real Valkey: events, jobs that are due later, dead letters."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from notify_service.model.ports import DeadLetter, DelayedJob, QueuedPayload
from notify_service.storage import push_queue
from notify_service.storage.push_queue import DEAD_LETTERS, GROUP, JOBS, QUEUE, RedisPushQueue
from tests.eventually import eventually

pytestmark = pytest.mark.integration


@pytest.fixture
async def queue(redis: Redis) -> RedisPushQueue:
    queue = RedisPushQueue(redis)
    assert await queue.read("one", 10, 0.01) == []
    return queue


async def add(redis: Any, *payloads: bytes) -> list[str]:
    return [(await redis.xadd(QUEUE, {"event": each})).decode() for each in payloads]


def payloads(events: list[QueuedPayload]) -> list[bytes]:
    return [each.payload for each in events]


async def test_event_is_read_by_one_consumer_and_gone_once_acknowledged(queue: RedisPushQueue, redis: Redis) -> None:
    [first, second] = await add(redis, b"a\x00", b"b")
    assert await queue.read("one", 1, 0.01) == [QueuedPayload(first, b"a\x00")]
    assert await queue.read("two", 10, 0.01) == [QueuedPayload(second, b"b")]
    await queue.acknowledge(first)
    assert await redis.xlen(QUEUE) == 1
    assert await queue.read_own("one", 10) == []
    assert payloads(await queue.read_own("two", 10)) == [b"b"]


async def test_events_queued_before_the_group_exists_are_read(redis: Redis) -> None:
    await add(redis, b"early")
    queue = RedisPushQueue(redis)
    assert await queue.read("one", 10, 0.01) == []
    assert payloads(await queue.read("one", 10, 0.01)) == [b"early"]


async def test_group_is_created_again_after_redis_lost_it(queue: RedisPushQueue, redis: Redis) -> None:
    await redis.flushall()
    assert await queue.claim("one", 0, 10) == []
    await redis.flushall()
    await queue.renew("one", [])
    assert await queue.read_own("one", 10) == []
    await add(redis, b"after")
    assert payloads(await queue.read("one", 10, 0.01)) == [b"after"]


async def test_abandoned_event_is_claimed_and_a_renewed_one_is_not(queue: RedisPushQueue, redis: Redis) -> None:
    [kept, abandoned] = await add(redis, b"kept", b"abandoned")
    await queue.read("one", 10, 0.01)

    async def claimed() -> bool:
        await queue.renew("one", [kept])
        return payloads(await queue.claim("two", 0.3, 10)) == [b"abandoned"]

    await eventually(claimed)
    # The consumer from which it was claimed cannot renew it.
    await queue.renew("one", [abandoned])
    pending: Any = await redis.xpending_range(QUEUE, GROUP, "-", "+", 9)
    owners = {each["message_id"].decode(): each["consumer"] for each in pending}
    assert owners == {kept: b"one", abandoned: b"two"}


async def test_consumer_without_events_is_removed_once_it_was_idle(queue: RedisPushQueue, redis: Redis) -> None:
    await add(redis, b"pending")
    await queue.read("busy", 10, 0.01)
    await queue.read("idle", 10, 0.01)
    await queue.remove_consumers(60.0)

    async def names() -> set[bytes]:
        found: Any = await redis.xinfo_consumers(QUEUE, GROUP)
        return {each["name"] for each in found}

    assert await names() == {b"busy", b"idle"}
    await queue.remove_consumers(0.0)
    assert await names() == {b"busy"}
    assert payloads(await queue.read_own("busy", 10)) == [b"pending"]


async def test_claim_says_how_often_an_event_was_delivered(queue: RedisPushQueue, redis: Redis) -> None:
    await add(redis, b"poison")
    await queue.read("one", 10, 0.01)
    [second] = await queue.claim("two", 0, 10)
    [third] = await queue.claim("one", 0, 10)
    assert (second.deliveries, third.deliveries) == (2, 3)


async def test_claim_finds_abandoned_events_behind_many_others(queue: RedisPushQueue, redis: Redis) -> None:
    ids = await add(redis, *[b"%d" % each for each in range(60)])
    await queue.read("one", 59, 0.01)
    await queue.read("dead", 1, 0.01)

    async def claimed() -> bool:
        await queue.renew("one", ids[:59])
        return payloads(await queue.claim("two", 0.3, 1)) == [b"59"]

    await eventually(claimed)


async def test_old_dead_letters_are_removed(queue: RedisPushQueue, redis: Redis) -> None:
    for number in range(2):
        [event] = await add(redis, b"%d" % number)
        await queue.read("one", 10, 0.01)
        await queue.acknowledge(event, [], [DeadLetter(b"%d" % number, "unreadable", True)])
    await queue.trim_dead_letters(60.0)
    assert len(await queue.list_dead_letters("", 10)) == 2
    await queue.trim_dead_letters(-60.0)
    assert await queue.list_dead_letters("", 10) == []


async def test_acknowledged_event_leaves_its_jobs_and_dead_letters_once(queue: RedisPushQueue, redis: Redis) -> None:
    [event] = await add(redis, b"event")
    await queue.read("one", 10, 0.01)
    for _ in range(2):
        await queue.acknowledge(
            event, [DelayedJob(b"later", 60.0), DelayedJob(b"now", 0.0)], [DeadLetter(b"\xff", "unreadable", True)]
        )
    assert await queue.take_due(10, 60) == [b"now"]
    assert await redis.zcard(JOBS) == 2
    [letter] = await queue.list_dead_letters("", 10)
    assert replace(letter, letter_id="") == DeadLetter(b"\xff", "unreadable", True)
    assert (await queue.measure()).dead_letters == 1


async def test_due_job_is_taken_again_only_after_its_lease(queue: RedisPushQueue, redis: Redis) -> None:
    await store_job(queue, redis, DelayedJob(b"job", 0.0))
    assert await queue.take_due(10, 0.3) == [b"job"]
    assert await queue.take_due(10, 0.3) == []
    await eventually(lambda: take(queue, b"job"))


async def test_acknowledged_job_is_replaced_by_what_is_left_of_it(queue: RedisPushQueue, redis: Redis) -> None:
    await store_job(queue, redis, DelayedJob(b"first", 0.0))
    await queue.acknowledge_job(b"first", [DelayedJob(b"second", 0.0)])
    # Another server that had it as well changes nothing any more.
    await queue.acknowledge_job(b"first", [DelayedJob(b"other", 0.0)], [DeadLetter(b"first", "late")])
    assert await queue.take_due(10, 60) == [b"second"]
    await queue.acknowledge_job(b"second", dead_letters=[DeadLetter(b"second", "too old")])
    assert await redis.zcard(JOBS) == 0
    assert [(each.payload, each.reason) for each in await queue.list_dead_letters("", 10)] == [(b"second", "too old")]


async def test_dead_letters_are_paged_and_requeued_once(queue: RedisPushQueue, redis: Redis) -> None:
    [event] = await add(redis, b"x")
    await queue.read("one", 10, 0.01)
    await queue.acknowledge(
        event, dead_letters=[DeadLetter(b"job", "old"), DeadLetter(b"event", "bad", True), DeadLetter(b"kept", "old")]
    )
    [first] = await queue.list_dead_letters("", 1)
    [second, third] = await queue.list_dead_letters(first.letter_id, 10)
    assert [each.payload for each in (first, second, third)] == [b"job", b"event", b"kept"]
    found = await queue.find_dead_letters([first.letter_id, second.letter_id, "1-1"])
    assert found == [first, second]
    renewed = [DeadLetter(b"renewed", "", letter_id=first.letter_id), second]
    assert await queue.requeue(renewed) == 2
    assert await queue.requeue(renewed) == 0
    assert await queue.take_due(10, 60) == [b"renewed"]
    assert payloads(await queue.read("one", 10, 0.01)) == [b"event"]
    assert await redis.xlen(DEAD_LETTERS) == 1


async def test_dead_letters_that_name_a_user_are_deleted(
    queue: RedisPushQueue, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_queue, "_LETTERS_PER_PAGE", 2)
    [event] = await add(redis, b"x")
    await queue.read("one", 10, 0.01)
    user_ids = ["a" * 32, "b" * 32, "a" * 32, "a" * 32, "c" * 32]
    letters = [
        DeadLetter(b"to " + user_id.encode() + bytes([number]), "old") for number, user_id in enumerate(user_ids)
    ]
    await queue.acknowledge(event, dead_letters=letters)
    await queue.delete_dead_letters_of("a" * 32)
    assert [each.payload for each in await queue.list_dead_letters("", 10)] == [letters[1].payload, letters[4].payload]


async def test_depth_counts_what_waits(queue: RedisPushQueue, redis: Redis) -> None:
    assert await queue.measure() == type(await queue.measure())(0, 0.0, 0, 0)
    await store_job(queue, redis, DelayedJob(b"job", 60.0))
    await redis.xadd(QUEUE, {"event": b"old"}, id=f"{(time.time_ns() // 1_000_000 + 1_000_000_000)}-0")
    await add(redis, b"new")
    depth = await queue.measure()
    assert (depth.events, depth.jobs, depth.dead_letters) == (2, 1, 0)


def test_keys_are_in_one_slot_of_a_cluster() -> None:
    assert len({key_slot(key.encode()) for key in (QUEUE, JOBS, DEAD_LETTERS)}) == 1


async def store_job(queue: RedisPushQueue, redis: Redis, job: DelayedJob) -> None:
    [event] = await add(redis, b"event")
    await queue.read("one", 10, 0.01)
    await queue.acknowledge(event, [job])


async def take(queue: RedisPushQueue, job: bytes) -> bool:
    return await queue.take_due(10, 60) == [job]


async def test_consumers_are_listed_with_their_events(queue: RedisPushQueue, redis: Redis) -> None:
    assert await queue.read("one", 10, 0.01) == []
    await add(redis, b"a", b"b", b"c")
    await queue.read("two", 2, 0.01)
    consumers = await queue.list_consumers()
    assert [(each.name, each.taken_events) for each in consumers] == [("one", 0), ("two", 2)]
    assert all(0 <= each.idle_s < 10 for each in consumers)


async def test_queue_that_never_had_an_event_has_no_consumers(redis: Redis) -> None:
    assert await RedisPushQueue(redis).list_consumers() == []
    await add(redis, b"early")
    assert await RedisPushQueue(redis).list_consumers() == []


async def test_deleted_dead_letters_are_gone(queue: RedisPushQueue, redis: Redis) -> None:
    [event] = await add(redis, b"a")
    await queue.read("one", 10, 0.01)
    letters = [DeadLetter(each, "refused") for each in (b"one", b"two", b"three")]
    await queue.acknowledge(event, dead_letters=letters)
    first, second, third = await queue.list_dead_letters("", 10)
    assert await queue.delete_dead_letters([first.letter_id, third.letter_id, "1-0"]) == 2
    assert await queue.list_dead_letters("", 10) == [second]
    assert await queue.delete_dead_letters([]) == 0
