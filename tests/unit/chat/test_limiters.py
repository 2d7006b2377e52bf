"""Concurrent handshakes: a limited number run, a limited number wait in order, and the rest are refused."""

from __future__ import annotations

import asyncio

import pytest

from chat_service.stream import limiters
from chat_service.stream.limiters import SLOT_TIMEOUT_S, WAITING_PER_SLOT, Handshake, HandshakeLimiter
from parley_client.connect_stream import WELCOME_TIMEOUT_S
from servicekit.errors import ServerBusy
from tests.eventually import run_ready


async def start_waiting(limiter: HandshakeLimiter, count: int) -> list[asyncio.Task[Handshake]]:
    tasks = [asyncio.create_task(limiter.acquire()) for _ in range(count)]
    await run_ready()
    return tasks


async def test_waiting_handshakes_start_in_order() -> None:
    limiter = HandshakeLimiter(1)
    first = await limiter.acquire()
    second, third = await start_waiting(limiter, 2)
    assert not second.done()
    first.release()
    again = await second
    await run_ready()
    assert not third.done()
    # A second release has no effect.
    first.release()
    await run_ready()
    assert not third.done()
    again.release()
    (await third).release()


async def test_handshake_queue_is_bounded() -> None:
    limiter = HandshakeLimiter(2)
    begun = [await limiter.acquire() for _ in range(2)]
    tasks = await start_waiting(limiter, 2 * WAITING_PER_SLOT)
    with pytest.raises(ServerBusy) as refused:
        await limiter.acquire()
    assert refused.value.retry_after
    for each in begun:
        each.release()
    for task in tasks:
        (await task).release()


async def test_waiting_handshake_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiters, "SLOT_TIMEOUT_S", 0.01)
    limiter = HandshakeLimiter(1)
    first = await limiter.acquire()
    with pytest.raises(ServerBusy):
        await limiter.acquire()
    first.release()
    (await limiter.acquire()).release()


async def test_cancelled_waiter_takes_no_slot() -> None:
    limiter = HandshakeLimiter(1)
    first = await limiter.acquire()
    gone, stays = await start_waiting(limiter, 2)
    gone.cancel()
    first.release()
    (await stays).release()
    (await limiter.acquire()).release()


def test_slot_timeout_is_shorter_than_client_timeout() -> None:
    assert SLOT_TIMEOUT_S < WELCOME_TIMEOUT_S
