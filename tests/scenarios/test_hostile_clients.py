"""Clients that use calls against the servers or other users: what they take is bounded, and others are served."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from statistics import median
from typing import Any, Final

import grpc
import pytest

from devstack.services import CHAT
from devstack.stack import Stack
from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2
from tests.eventually import eventually
from tests.raw import calls
from tests.raw.device import RawDevice, new_id
from tests.raw.refusal import of_error
from tests.raw.world import PASSWORD, World
from tests.scenarios.test_hostile_devices import MB, TOLERANCE, growth_below, neighbours_unaffected, running, write

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(240)]

# Answers of ListEntries: each of one range, about 1 MiB.
CALLS, MESSAGES, SIZE = 500, 65, 16_000
# Answers that one device has not read, and those that are being made for it, each with a copy that gRPC sends.
UNREAD: Final = 4 * MB
MADE: Final = 2 * 16 * 2 * MB
HALF_SENT: Final = 1000
REACHED: Final = 5
# Sign-ins during a flood, and guesses of the flood that are checked before they end.
SIGN_INS: Final = 3
GUESSES: Final = 20


@pytest.fixture(scope="module")
def attacked_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system that refuses no sign-in for its rate, and lets few strangers reach a user."""
    environment = {
        "PARLEY_SIGN_IN_RATE": "1000000",
        "PARLEY_SIGN_IN_BURST": "1000000",
        "PARLEY_REACHED_BY_STRANGERS_PER_HOUR": str(REACHED),
        "PARLEY_SENDS_BURST": "1000",
    }
    with Stack(tmp_path_factory.mktemp("attacked"), chat_servers=2, services=(CHAT,), environment=environment) as stack:
        yield stack


@pytest.fixture
async def attacked_world(attacked_stack: Stack) -> AsyncIterator[World]:
    async with World(attacked_stack) as world:
        yield world


async def test_client_that_reads_no_answers_costs_bounded_memory(attacked_world: World) -> None:
    world, edge = attacked_world, attacked_world.servers[0]
    most = UNREAD + MADE + TOLERANCE
    assert 3 * most < CALLS * MESSAGES * SIZE
    alice, mallory = await world.users("alice", "mallory")
    await alice.connect()
    group = await alice.group("Much to read", [mallory])
    await write(alice, group, MESSAGES, SIZE)
    request = chat_pb2.ListEntriesRequest(
        fetch=chat_pb2.Fetch(ranges=[chat_pb2.EntryRange(conversation_id=group, limit=500)])
    )
    list_entries: Any = world.channel(world.stack.door).unary_stream("/parley.chat.v1.ChatService/ListEntries")
    metadata = (*mallory.metadata, ("x-chat-server", edge))
    async with growth_below(world.stack, most, also=["envoy"]), neighbours_unaffected(world, edge):
        unread = []
        for _ in range(CALLS // 50):
            unread += [list_entries(request.SerializeToString(), metadata=metadata) for _ in range(50)]
            # As fast as the rate limit allows, once its burst is used up.
            await asyncio.sleep(0.5)
        await eventually(lambda: sum(not call.done() for call in unread) < 30)
    ends = Counter([(await end_of(call)) for call in unread if call.done()])
    assert ends.keys() == {("RESOURCE_EXHAUSTED", "RATE_LIMITED")}
    # The others are not affected, and neither is another device of the same user.
    assert await (await world.add_device(mallory)).call(request)
    for call in unread:
        call.cancel()


async def end_of(call: Any) -> tuple[str, str]:
    """Return code and reason of a call that failed before it had an answer."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call.read()
    return of_error(failed.value).code_and_reason


async def test_half_sent_calls_cost_little_memory(attacked_world: World) -> None:
    world, edge = attacked_world, attacked_world.servers[0]
    login: Any = world.channel(world.stack.door).stream_stream("/parley.chat.v1.AccountService/Login")
    async with growth_below(world.stack, TOLERANCE, also=["envoy"]), neighbours_unaffected(world, edge):
        half_sent = [login(metadata=(("x-chat-server", edge),)) for _ in range(HALF_SENT)]
        await asyncio.sleep(2.0)
    assert not any(call.done() for call in half_sent)
    for call in half_sent:
        call.cancel()


async def test_flood_of_sign_ins_from_one_address_delays_no_others(attacked_world: World) -> None:
    world, edge = attacked_world, attacked_world.servers[0]
    alice = await world.listed_user(f"alice-{new_id()}", "Alice")
    name = (await alice.call(account_pb2.GetProfileRequest())).profile.login_name
    refusals: Counter[tuple[str, str]] = Counter()
    guesses: list[float] = []

    async def guess() -> None:
        while True:
            began = time.monotonic()
            request = account_pb2.LoginRequest(login_name=f"nobody-{new_id()}", password="a guess")
            refusal = await calls.refused(world.channel(edge), request, (("x-envoy-external-address", "203.0.113.1"),))
            refusals[refusal.code_and_reason] += 1
            if refusal.reason == "CREDENTIALS_INVALID":
                guesses.append(time.monotonic() - began)
            if refusal.reason == "SERVER_BUSY":
                assert refusal.retry_after
                await asyncio.sleep(0.1)

    async def guess_often() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(80):
                group.create_task(guess())

    took: list[float] = []
    async with neighbours_unaffected(world, edge), running(guess_often()):
        await eventually(lambda: refusals["UNAVAILABLE", "SERVER_BUSY"] > 0)
        while len(took) < SIGN_INS or len(guesses) < GUESSES:
            began = time.monotonic()
            login = account_pb2.LoginRequest(login_name=name, password=PASSWORD)
            session = (
                await calls.call(world.channel(edge), login, (("x-envoy-external-address", "203.0.113.2"),))
            ).session
            took.append(time.monotonic() - began)
            await calls.call(
                world.channel(edge),
                account_pb2.LogoutRequest(),
                (("authorization", f"Bearer {session.access_token}"),),
            )
    # A guess waits for those of its own address, and a sign-in from another one for a guess or two. Without turns both
    # would wait equally long.
    assert median(took) < max(guesses) / 2, f"sign-ins took {took} s, guesses up to {max(guesses):.1f} s"


async def test_strangers_put_a_user_into_few_groups(attacked_world: World) -> None:
    world = attacked_world
    alice, friend, *strangers = await world.users("alice", "friend", *["stranger"] * (REACHED + 1))
    await alice.direct(friend)
    theirs = await strangers[0].direct(alice)
    for stranger in strangers[1:REACHED]:
        await stranger.group("Win a prize", [alice])
    for stranger in strangers:
        for request in (to_group(alice), conversation_pb2.GetOrCreateDirectRequest(peer_id=alice.user_id)):
            if stranger is not strangers[0] or isinstance(request, conversation_pb2.CreateGroupRequest):
                refusal = await stranger.refusal(request)
                assert refusal.code_and_reason == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
                assert refusal.retry_after
    # A conversation that exists is returned, and the user's own contacts are not limited.
    assert await strangers[0].direct(alice) == theirs
    for _ in range(2 * REACHED):
        await friend.group("Friday", [alice])
    assert await alice.direct(strangers[-1])


def to_group(user: RawDevice) -> conversation_pb2.CreateGroupRequest:
    return conversation_pb2.CreateGroupRequest(request_id=new_id(), title="Win a prize", member_ids=[user.user_id])
