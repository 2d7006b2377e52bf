"""The directory while MongoDB is frozen, which it reports, and while its server drains, which it outlasts."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.message import Message

from devstack.services import SERVICES, Services
from parley.internal.v1 import directory_pb2
from tests.eventually import eventually
from tests.raw.directory import Directory
from tests.raw.world import World
from tests.scenarios.test_directory import REQUESTS
from tests.scenarios.test_frozen_store import frozen

pytestmark = [pytest.mark.scenario, pytest.mark.fault]


@pytest.fixture(scope="module")
def fragile_services() -> Services:
    """All services: chat answers some of the calls only if there are media, presence and notify servers."""
    return SERVICES


async def test_calls_during_store_freeze_are_refused_with_retry_delay(fragile_world: World) -> None:
    directory = Directory(fragile_world)
    alice, bob = await fragile_world.users("alice", "bob")
    group = await alice.group("Friday", [bob])
    assert await directory.membership(group, bob) == (True, [(1, 0)])
    async with frozen(fragile_world):
        refusals = await asyncio.gather(*(directory.refusal(request) for request in REQUESTS if needs_store(request)))
    for refusal in refusals:
        assert refusal.code_and_reason == ("UNAVAILABLE", "STORE_UNAVAILABLE")
        assert refusal.retry_after
    await eventually(lambda: is_member(directory, group, bob.user_id))


def needs_store(request: Message) -> bool:
    """Tell whether the answer is read from MongoDB. The devices in the foreground are known to the home alone."""
    return not isinstance(request, directory_pb2.DescribeForegroundRequest)


async def is_member(directory: Directory, conversation_id: str, user_id: str) -> bool:
    request = directory_pb2.CheckMembershipRequest(conversation_id=conversation_id, user_id=user_id)
    return bool((await directory.call(request)).member)


async def test_draining_server_answers_until_it_stops(fragile_world: World) -> None:
    alice, bob = await fragile_world.users("alice", "bob")
    group = await alice.group("Friday", [bob])
    draining, other = Directory(fragile_world), Directory(fragile_world, 1)
    # A device that stays keeps the server draining.
    await alice.connect(at=fragile_world.servers[0])
    server = fragile_world.stack.chat_servers[0]
    server.request_stop()
    await alice.stream.next_frame("drain")
    await asyncio.gather(*(draining.call(request) for request in REQUESTS))
    await asyncio.to_thread(server.wait_exited)
    assert (await draining.refusal(REQUESTS[0])).code == "UNAVAILABLE"
    assert await other.membership(group, bob) == (True, [(1, 0)])
    await fragile_world.forget_channel(server.internal_address)
