"""A frozen owner is replaced by another: after it resumes, the log decides, not its memory."""

from __future__ import annotations

import asyncio

import pytest

from parley.chat.v1 import conversation_pb2
from tests.eventually import eventually
from tests.raw.device import RawDevice, new_id
from tests.raw.world import World

pytestmark = [pytest.mark.scenario, pytest.mark.fault]


async def group_owned_by(world: World, server: str, admin: RawDevice, others: list[RawDevice]) -> str:
    while world.owner_of(group := await admin.group("Weather", others)) != server:
        pass
    return group


async def test_member_removed_during_owner_freeze_appends_no_later_message(fragile_world: World) -> None:
    world = fragile_world
    frozen, edge, _ = world.servers
    [alice, bob] = await world.users_where([edge, edge])
    for device in (alice, bob):
        await device.connect(at=edge)
    group = await group_owned_by(world, frozen, alice, [bob])
    assert await bob.sent(group, "before") == 3
    part = next(each for each in world.stack.chat_servers if each.address == frozen)
    part.freeze()
    key = await bob.send(group, "while the owner hangs")
    removal = conversation_pb2.RemoveMemberRequest(request_id=new_id(), conversation_id=group, user_id=bob.user_id)
    # It waits until the lease of the hanging one is over, and another owner decides.
    await alice.call(removal, at=edge)
    part.resume()
    answer = await bob.next_result(key, timeout=20)
    assert answer.HasField("appended") or "CONVERSATION_NOT_FOUND" in str(answer.refused)
    await eventually(lambda: part.running)
    await asyncio.to_thread(part.wait_healthy)
    fetched = await alice.fetch(group, limit=500)
    said = [entry for entry in fetched.entries if entry.actor_id == bob.user_id]
    gone = next(
        entry.seq
        for entry in fetched.entries
        if entry.membership_changed.kind == 3 and entry.HasField("membership_changed")
    )
    assert all(entry.seq < gone for entry in said)
    assert fetched.seqs == list(range(1, len(fetched.seqs) + 1))
    # If it was taken after all, then before he was removed, and it is there.
    if answer.HasField("appended"):
        assert answer.appended.seq in [entry.seq for entry in said]
