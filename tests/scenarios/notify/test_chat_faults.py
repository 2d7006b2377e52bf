"""Pushes of acknowledged messages survive the death of the chat servers that were about to queue them, and of Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.eventually import eventually
from tests.raw.pushes import Pushes
from tests.raw.world import World
from tests.scenarios.conftest import repair

pytestmark = [pytest.mark.scenario, pytest.mark.fault]

# The lease of a dead server, the time for which homes hold pushes after a change of the ring, and a margin.
PUSHED_S = 60.0


@pytest.fixture
async def pushes(fragile_world: World) -> AsyncIterator[Pushes]:
    async with Pushes(fragile_world) as pushes:
        yield pushes


@pytest.mark.parametrize("owner_dies", [False, True], ids=["home dies", "home and owner die"])
async def test_pushes_that_a_killed_home_held_are_queued_by_others(
    fragile_world: World, pushes: Pushes, owner_dies: bool
) -> None:
    world = fragile_world
    first, home, third = world.servers
    alice, bob = await world.pair(home if owner_dies else third, home)
    await pushes.register(bob)
    await alice.connect(at=third)
    conversation = await alice.direct(bob)
    kill(world, first)
    await world.wait_ring_settled()
    # The ring has just changed, so the home holds pushes for a moment.
    seq = await alice.sent(conversation, "see you at 8")
    kill(world, home)
    await eventually(lambda: ("message", seq) in pushes.kinds(bob), PUSHED_S)
    await pushes.wait_drained()
    assert pushes.kinds(bob) == [("message", seq)]


def kill(world: World, address: str) -> None:
    next(each for each in world.stack.chat_servers if each.address == address).kill()


async def test_pushes_that_redis_lost_are_queued_again(fragile_world: World, pushes: Pushes) -> None:
    alice, bob = await fragile_world.users("alice", "bob")
    await pushes.register(bob)
    await alice.connect()
    conversation = await alice.direct(bob)
    for server in pushes.servers:
        server.kill()
    seq = await alice.sent(conversation, "see you at 8")
    await pushes.wait_queued(1)
    await pushes.flush()
    await asyncio.to_thread(repair, fragile_world.stack)
    await eventually(lambda: ("message", seq) in pushes.kinds(bob), PUSHED_S)
