"""Devices that connect at once: some begin, some wait for their turn in order, and the rest is sent away."""

from __future__ import annotations

import asyncio

import pytest

from chat_service.errors import ServerBusy
from chat_service.stream import handshakes
from chat_service.stream.handshakes import WAIT_S, WAITING, Handshake, Handshakes
from parley_client.link import WELCOME_SECONDS
from tests.eventually import run_ready


async def waiting(door: Handshakes, count: int) -> list[asyncio.Task[Handshake]]:
    tasks = [asyncio.create_task(door.begin()) for _ in range(count)]
    await run_ready()
    return tasks


async def test_who_waits_begins_in_order_as_others_end() -> None:
    door = Handshakes(1)
    first = await door.begin()
    second, third = await waiting(door, 2)
    assert not second.done()
    first.end()
    again = await second
    await run_ready()
    assert not third.done()
    # Once over, over.
    first.end()
    await run_ready()
    assert not third.done()
    again.end()
    (await third).end()


async def test_only_so_many_wait() -> None:
    door = Handshakes(2)
    begun = [await door.begin() for _ in range(2)]
    tasks = await waiting(door, 2 * WAITING)
    with pytest.raises(ServerBusy) as refused:
        await door.begin()
    assert refused.value.retry_after
    for each in begun:
        each.end()
    for task in tasks:
        (await task).end()


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "WAIT_S", 0.01)
    door = Handshakes(1)
    first = await door.begin()
    with pytest.raises(ServerBusy):
        await door.begin()
    first.end()
    (await door.begin()).end()


async def test_who_goes_away_while_waiting_takes_no_place() -> None:
    door = Handshakes(1)
    first = await door.begin()
    gone, stays = await waiting(door, 2)
    gone.cancel()
    first.end()
    (await stays).end()
    (await door.begin()).end()


def test_devices_wait_longer_for_their_welcome() -> None:
    assert WAIT_S < WELCOME_SECONDS
