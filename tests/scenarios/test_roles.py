"""Edge, home and owner on three different servers: messages and receipts arrive in both directions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import permutations

import pytest

from parley.chat.v1 import chat_pb2
from tests.raw.device import RawDevice
from tests.raw.world import World

pytestmark = pytest.mark.scenario


@dataclass(frozen=True, slots=True)
class Cast:
    """A direct conversation whose roles are on three servers: bob's edge, bob's home, and the owner."""

    alice: RawDevice
    bob: RawDevice
    conversation: str
    edge: str
    home: str
    owner: str


async def cast_on(world: World, edge: str, home: str, owner: str) -> Cast:
    alice, bob = await world.pair(owner, home)
    conversation = await alice.direct(bob)
    assert world.owner_of(conversation) == owner
    return Cast(alice, bob, conversation, edge, home, owner)


@pytest.fixture
async def cast(world: World) -> Cast:
    edge, home, owner = world.servers
    return await cast_on(world, edge, home, owner)


Way = Callable[[RawDevice, str], Awaitable[chat_pb2.Welcome]]


async def straight(device: RawDevice, server: str) -> chat_pb2.Welcome:
    return await device.connect(at=server)


async def through_the_door(device: RawDevice, server: str) -> chat_pb2.Welcome:
    return await device.connect(home=server)


@pytest.mark.parametrize("way", [straight, through_the_door])
async def test_messages_arrive_both_ways_for_any_role_placement(world: World, way: Way) -> None:
    for edge, home, owner in permutations(world.servers):
        cast = await cast_on(world, edge, home, owner)
        welcome = await way(cast.bob, edge)
        assert welcome.home == home
        await way(cast.alice, home)
        await cast.alice.sent(cast.conversation, "to bob")
        await cast.bob.has(cast.conversation, "to bob")
        await cast.bob.sent(cast.conversation, "to alice")
        for each in (cast.alice, cast.bob):
            await each.has(cast.conversation, "to bob", "to alice")


async def test_every_server_names_same_home(world: World, cast: Cast) -> None:
    for server in (*world.servers, world.stack.door):
        assert (await cast.bob.call(chat_pb2.LocateRequest(), at=server)).home == cast.home


async def test_receipts_arrive_for_any_role_placement(cast: Cast) -> None:
    alice, bob, conversation = cast.alice, cast.bob, cast.conversation
    await alice.connect(at=cast.home)
    await bob.connect(at=cast.edge)
    seq = await alice.sent(conversation, "seen?")
    await bob.has(conversation, "seen?")
    await bob.receipt(conversation, delivered=seq)
    await alice.has_receipts(conversation, bob, delivered=seq, read=0)
    await bob.receipt(conversation, read=seq)
    for each in (alice, bob):
        await each.has_receipts(conversation, bob, delivered=seq, read=seq)


async def test_messages_keep_order_across_three_servers(cast: Cast) -> None:
    alice, bob, conversation = cast.alice, cast.bob, cast.conversation
    await alice.connect(at=cast.edge)
    await bob.connect(at=cast.home)
    bodies = [str(number) for number in range(50)]
    keys = [await alice.send(conversation, body) for body in bodies]
    seqs = [(await alice.next_result(key)).appended.seq for key in keys]
    assert seqs == list(range(2, 52))
    await bob.has(conversation, *bodies)
    assert bob.live_seqs(conversation) == seqs, "in order, and each once"


async def test_concurrent_senders_see_same_log(cast: Cast) -> None:
    alice, bob, conversation = cast.alice, cast.bob, cast.conversation
    await alice.connect(at=cast.edge)
    await bob.connect(at=cast.home)
    for number in range(25):
        await alice.send(conversation, f"alice {number}")
        await bob.send(conversation, f"bob {number}")
    for each in (alice, bob):
        await each.has_all(conversation, 51)
        assert each.live_seqs(conversation) == list(range(2, 52))
    assert alice.bodies(conversation) == bob.bodies(conversation)
    for name in ("alice", "bob"):
        own = [body for body in bob.bodies(conversation) if body.startswith(name)]
        assert own == [f"{name} {number}" for number in range(25)]


async def test_concurrent_creation_makes_one_conversation(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    made = await asyncio.gather(alice.direct(bob), bob.direct(alice), alice.direct(bob))
    assert len(set(made)) == 1
    assert await opened(alice, made[0]) == [1]


async def opened(device: RawDevice, conversation: str) -> list[int]:
    await device.connect()
    return (await device.fetch(conversation)).seqs
