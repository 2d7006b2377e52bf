"""Nobody can tell a hidden user from one who never was there: the answers are the same bytes."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from random import Random

import pytest

from parley.chat.v1 import account_pb2, chat_pb2
from parley.presence.v1 import presence_pb2
from tests.eventually import eventually
from tests.raw.device import RawDevice
from tests.raw.presence import NOBODY, show
from tests.raw.watcher import DirectWatcher, beating
from tests.raw.world import World

pytestmark = pytest.mark.scenario

ROUNDS = 25
MAX_ASKED = 40


def stripped(answer: bytes) -> bytes:
    """Return an answer with every user id replaced by zeros."""
    return re.sub(rb"[0-9a-f]{32}", b"0" * 32, answer)


async def hide_all(world: World, viewer: RawDevice) -> list[RawDevice]:
    """Return users of whom the viewer may see nothing: some of them online, one seen before, two who never were."""
    hidden, blocking, blocked, stranger, gone, *never = await world.users(*["somebody"] * 7)
    seen = (hidden, blocking, blocked, stranger, gone)
    await show(hidden, gone, online=NOBODY)
    await show(blocking, blocked)
    for each in (hidden, blocking, blocked, gone):
        await each.direct(viewer)
    for each in seen:
        await each.connect()
    await gone.close()
    await eventually(lambda: _was_seen(gone))
    await blocking.call(account_pb2.BlockUserRequest(user_id=viewer.user_id))
    await viewer.call(account_pb2.BlockUserRequest(user_id=blocked.user_id))
    return [*seen, *never]


async def _was_seen(device: RawDevice) -> bool:
    found = await device.call(presence_pb2.GetPresenceRequest(user_ids=[device.user_id]))
    return bool(found.presences[0].HasField("last_seen_time"))


async def answers(world: World, viewer: RawDevice, ids: list[str]) -> Iterator[bytes]:
    """Return the answers about these users by every way of asking, without the ids."""
    found = await viewer.call(presence_pb2.GetPresenceRequest(user_ids=ids))
    await viewer.stream.send_frame(watch_presence=chat_pb2.WatchPresenceRequest(user_ids=ids))
    watched = await viewer.stream.next_frame("presence")
    by_call = await viewer.call(chat_pb2.WatchPresenceRequest(user_ids=ids), at=world.servers[0])
    direct = await DirectWatcher.open(world, viewer, *(RawDevice(each, "", "", "", world.channel) for each in ids))
    await direct.close()
    assert direct.snapshot is not None
    given = (found, watched, by_call, direct.snapshot)
    for answer, presences in ((found, found.presences), (watched, watched.users)):
        assert [each.user_id for each in presences] == ids, answer
    return iter([stripped(each.SerializeToString(deterministic=True)) for each in given])


async def test_users_who_show_nothing_are_answered_with_the_same_bytes(world: World) -> None:
    viewer, random = await world.user("viewer"), Random(20)
    users = await hide_all(world, viewer)
    async with beating([viewer, *users]):
        await viewer.connect()
        for _ in range(ROUNDS):
            known = random.sample(users, random.randint(0, len(users)))
            unknown = [uuid.uuid4().hex for _ in range(random.randint(0 if known else 1, MAX_ASKED))]
            ids = [each.user_id for each in known] + unknown
            random.shuffle(ids)
            nobody = [uuid.uuid4().hex for _ in ids]
            told = list(await answers(world, viewer, ids))
            assert told == list(await answers(world, viewer, nobody)), [users.index(each) for each in known]


async def test_hidden_user_who_comes_and_goes_is_not_told(world: World) -> None:
    viewer, bob = await world.users("viewer", "bob")
    users = await hide_all(world, viewer)
    hidden, _, _, stranger, *_ = users
    await show(bob)
    async with beating([viewer, bob]):
        await viewer.connect()
        direct = await DirectWatcher.open(world, viewer, bob, *users)
        for device in (hidden, stranger):
            await device.close()
            await device.connect()
            await device.close()
        # Bob, who is seen, comes last, and what is told of the others would be told before.
        await bob.connect()
        await direct.wait_state(bob, "online")
        await bob.close()
        await direct.wait_state(bob, "offline")
        assert {each.user_id for each in direct.history[1 + len(users) :]} == {bob.user_id}
        await direct.close()
