"""Account deletion: the account ends at once, and its messages stay with their recipients."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import grpc
import pytest
from redis.asyncio import Redis

from devstack.services import CHAT, NOTIFY, PRESENCE
from devstack.stack import Stack
from notify_service.storage.preferences import PREFERENCES
from notify_service.storage.tokens import TOKENS
from parley.chat.v1 import account_pb2, conversation_pb2, entry_pb2
from parley.notify.v1 import notify_pb2
from parley.presence.v1 import presence_pb2
from presence_service.storage.last_seen import LAST_SEEN
from presence_service.storage.visibility import VISIBILITY
from tests.eventually import eventually
from tests.raw import calls
from tests.raw.device import RawDevice, new_id
from tests.raw.presence import show
from tests.raw.pushes import Pushes
from tests.raw.world import PASSWORD, World
from tests.scans import no_scans
from tests.scenarios.conftest import ENVIRONMENT, repair

pytestmark = pytest.mark.scenario

OUT = ("UNAUTHENTICATED", "DEVICE_REVOKED")
NOBODY = ("NOT_FOUND", "USER_NOT_FOUND")
MARGIN = {"PARLEY_DELETION_MARGIN_SECONDS": "1"}


@pytest.fixture(scope="module")
def quick_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system that purges deleted accounts after one second."""
    folder, environment = tmp_path_factory.mktemp("quick"), {**ENVIRONMENT, **MARGIN}
    with (
        Stack(folder, chat_servers=3, services=(CHAT, PRESENCE, NOTIFY), environment=environment) as stack,
        no_scans(stack.mongo_uri),
    ):
        yield stack


@pytest.fixture
async def world(quick_stack: Stack) -> AsyncIterator[World]:
    async with World(quick_stack) as world:
        try:
            yield world
        finally:
            await asyncio.to_thread(repair, quick_stack)


def delete(password: str = PASSWORD) -> account_pb2.DeleteAccountRequest:
    return account_pb2.DeleteAccountRequest(password=password)


def profile_of(user: RawDevice) -> account_pb2.GetProfileRequest:
    return account_pb2.GetProfileRequest(user_id=user.user_id)


async def members(viewer: RawDevice, conversation: str) -> dict[str, int]:
    request = conversation_pb2.GetConversationRequest(conversation_id=conversation)
    found = (await viewer.call(request)).conversation.members
    return {each.user_id: each.role for each in found}


async def alone(viewer: RawDevice, group: str) -> bool:
    """Return True if the viewer is the only member of a group, and its admin."""
    return await members(viewer, group) == {viewer.user_id: entry_pb2.ROLE_ADMIN}


async def index_keys(stack: Stack, user: RawDevice) -> dict[str, int]:
    """Return the keys of a user in Redis, and their time to live in seconds; -1: no expiry."""
    redis = Redis.from_url(stack.redis_url)
    keys = [key async for key in redis.scan_iter(f"*{user.user_id}*")]
    lifetimes = {key.decode(): await redis.ttl(key) for key in keys}
    await redis.aclose()
    return lifetimes


async def wait_purged(world: World, user: RawDevice) -> None:
    """Wait until only the tombstone of a user is stored."""

    async def buried() -> bool:
        found = await world._store["users"].find_one({"_id": bytes.fromhex(user.user_id)})
        return found is not None and found.keys() == {"_id", "gone"}

    await eventually(buried, timeout=20)
    assert await world._store["devices"].find_one({"_id": bytes.fromhex(user.user_id)}) is None


async def test_deleted_account_ends_at_once_and_peers_keep_their_messages(world: World) -> None:
    alice, bob = await world.register("alice"), await world.user("bob")
    tablet = await world.login(alice)
    name = (await alice.call(account_pb2.GetProfileRequest())).profile.login_name
    direct, group = await bob.direct(alice), await alice.group("Friday", [bob])
    for device in (alice, tablet, bob):
        await device.connect()
    await alice.sent(direct, "between us")
    await alice.sent(group, "to all")
    assert (await alice.refusal(delete("a guess"))).code_and_reason == ("UNAUTHENTICATED", "CREDENTIALS_INVALID")
    await alice.call(delete())
    for device in (alice, tablet):
        assert (await device.stream.wait_ended()).code_and_reason == OUT
        assert (await device.refusal(account_pb2.GetProfileRequest())).code_and_reason == OUT
    login = account_pb2.LoginRequest(login_name=name, password=PASSWORD)
    refused = await calls.refused(world.channel(world.stack.door), login)
    assert refused.code_and_reason == ("UNAUTHENTICATED", "CREDENTIALS_INVALID")

    gone = account_pb2.Profile(user_id=alice.user_id, deleted=True)
    assert (await bob.call(profile_of(alice))).profile == gone
    assert not (await bob.call(account_pb2.SearchUsersRequest(query=name))).profiles
    assert (
        await bob.refusal(conversation_pb2.GetOrCreateDirectRequest(peer_id=alice.user_id))
    ).code_and_reason == NOBODY
    assert (await bob.refusal(account_pb2.BlockUserRequest(user_id=alice.user_id))).code_and_reason == NOBODY
    await eventually(lambda: alone(bob, group))
    assert alice.user_id in await members(bob, direct)
    await bob.has(direct, "between us")
    await bob.has(group, "to all")
    said, left = (each for _, each in sorted(bob.logs[group].items()))
    assert said.actor_id == left.actor_id == alice.user_id
    assert left.membership_changed.kind == entry_pb2.MembershipChanged.KIND_LEFT
    await wait_purged(world, alice)
    # The answer may have been lost.
    await alice.call(delete())
    assert (await bob.call(profile_of(alice))).profile == gone
    # Nothing in Redis names the user, and what a later message adds expires.
    assert await index_keys(world.stack, alice) == {}
    await bob.sent(direct, "are you there?")
    assert all(lifetime > 0 for lifetime in (await index_keys(world.stack, alice)).values())


async def test_presence_of_deleted_account_is_erased(world: World) -> None:
    alice = await world.register("alice")
    await show(alice)
    await alice.connect()
    await alice.close()

    async def stored() -> list[str]:
        key = {"_id": bytes.fromhex(alice.user_id)}
        return [name for name in (VISIBILITY, LAST_SEEN) if await world._store[name].find_one(key) is not None]

    async def all_stored() -> bool:
        return await stored() == [VISIBILITY, LAST_SEEN]

    await eventually(all_stored)
    await alice.call(delete())
    await wait_purged(world, alice)
    assert await stored() == []
    assert await index_keys(world.stack, alice) == {}
    # To others the user looks like one who never was there.
    bob, unknown = await world.user("bob"), uuid.uuid4().hex
    found = await bob.call(presence_pb2.GetPresenceRequest(user_ids=[alice.user_id, unknown]))
    looks = [each.SerializeToString().replace(each.user_id.encode(), b"") for each in found.presences]
    assert looks[0] == looks[1]


async def test_push_tokens_and_preferences_of_deleted_account_are_erased(world: World) -> None:
    alice = await world.register("alice")
    async with Pushes(world) as pushes:
        await pushes.register(alice)
    preferences = notify_pb2.Preferences(scope=notify_pb2.NOTIFICATION_SCOPE_NONE)
    await alice.call(notify_pb2.SetPreferencesRequest(preferences=preferences))

    async def stored() -> list[str]:
        keys = {TOKENS: {"u": bytes.fromhex(alice.user_id)}, PREFERENCES: {"_id": bytes.fromhex(alice.user_id)}}
        return [name for name, key in keys.items() if await world._store[name].find_one(key) is not None]

    assert await stored() == [TOKENS, PREFERENCES]
    await alice.call(delete())
    await wait_purged(world, alice)
    assert await stored() == []


async def test_sole_member_of_groups_can_delete_account(world: World) -> None:
    alice, bob = await world.register("alice"), await world.user("bob")
    group = await alice.group("Friday", [bob])
    await bob.call(conversation_pb2.LeaveGroupRequest(request_id=new_id(), conversation_id=group))
    await alice.call(delete())
    await wait_purged(world, alice)


async def test_deletion_interrupted_by_crash_is_completed_by_other_servers(world: World) -> None:
    doomed, other, _ = world.servers
    alice, bob = await world.register("alice"), await world.user("bob")
    groups = [await alice.group(f"group {number}", [bob]) for number in range(30)]
    asking = asyncio.create_task(alice.call(delete(), at=doomed))

    async def decided() -> bool:
        return bool((await bob.call(profile_of(alice), at=other)).profile.deleted)

    await eventually(decided)
    next(each for each in world.stack.chat_servers if each.address == doomed).kill()
    # It may have been quick enough all the same.
    with suppress(grpc.aio.AioRpcError):
        await asking
    await wait_purged(world, alice)
    for group in groups:
        assert await members(bob, group) == {bob.user_id: entry_pb2.ROLE_ADMIN}
