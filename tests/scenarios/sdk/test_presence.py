"""Presence over the SDK: what a device tells of its own, what it is told of others, and who may see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import pytest

from parley.chat.v1 import chat_pb2
from parley_client import Audience, Device, PresenceChanged, PresenceState, Superseded, UserPresence, Visibility
from servicekit.errors import ServerDraining
from servicekit.status import to_proto
from tests.eventually import eventually
from tests.proxy.frame_faults import Caller, Filter
from tests.proxy.rpc import ProxiedStream, Proxy
from tests.scenarios.sdk.people import Pair, People, until

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]

ONLINE, BACKGROUND, OFFLINE = PresenceState.ONLINE, PresenceState.BACKGROUND, PresenceState.OFFLINE
TIMEOUT_S = 20.0


class Beating(Filter):
    """A rule that shortens the heartbeat intervals of each welcome, in milliseconds."""

    def __init__(self, foreground_ms: int, background_ms: int) -> None:
        def passed(_: Caller, frame: chat_pb2.ConnectResponse) -> chat_pb2.ConnectResponse:
            if frame.HasField("welcome"):
                frame.welcome.heartbeat_interval.FromMilliseconds(foreground_ms)
                frame.welcome.background_heartbeat_interval.FromMilliseconds(background_ms)
            return frame

        super().__init__(passed)


@pytest.fixture
async def pair(people: People) -> Pair:
    """Alice and bob, who have written to each other and so see each other's presence."""
    pair = await people.pair()
    await pair.bob.messages.send(pair.chat, "hello")
    return pair


async def next_presence(device: Device) -> PresenceChanged:
    async with asyncio.timeout(TIMEOUT_S):
        return await until(device, PresenceChanged)


def activities(stream: ProxiedStream) -> list[chat_pb2.Activity.ValueType]:
    """Return what each heartbeat of a stream said."""
    return [each.heartbeat.activity for each in stream.requests if each.HasField("heartbeat")]


async def test_watcher_is_told_states_of_peer_and_when_peer_was_seen(people: People, pair: Pair) -> None:
    alices = await people.device(pair.alice)
    alices.watch_presence([pair.bob_id, pair.bob_id])
    assert await next_presence(alices) == PresenceChanged(pair.bob_id, False, None, OFFLINE)
    async with pair.bob.connect() as bobs:
        assert await next_presence(alices) == PresenceChanged(pair.bob_id, True, None, ONLINE)
        bobs.set_foreground(False)
        away = await next_presence(alices)
        assert (away.state, away.online) == (BACKGROUND, False)
    gone = await next_presence(alices)
    assert (gone.state, gone.online) == (OFFLINE, False)
    assert gone.last_seen is not None
    assert abs(datetime.now(UTC) - gone.last_seen) < timedelta(minutes=1)
    assert gone.last_seen.microsecond == 0


async def test_watched_presence_survives_reconnects(people: People, proxy: Proxy, pair: Pair) -> None:
    alices = await people.device(pair.alice)
    alices.watch_presence([pair.bob_id])
    assert (await next_presence(alices)).state is OFFLINE
    await proxy.end_all(to_proto(ServerDraining("leave", retry_after=0.0)))
    assert (await next_presence(alices)).state is OFFLINE, "the next stream tells it again"
    await people.device(pair.bob)
    assert (await next_presence(alices)).state is ONLINE


async def test_device_in_the_background_stays_there_over_a_reconnect(people: People, proxy: Proxy, pair: Pair) -> None:
    alices, bobs = await people.device(pair.alice), await people.device(pair.bob)
    bobs.set_foreground(False)
    alices.watch_presence([pair.bob_id])
    while (await next_presence(alices)).state is not BACKGROUND:
        pass
    await proxy.streams[1].end(to_proto(ServerDraining("leave", retry_after=0.0)))
    await eventually(lambda: len(proxy.streams) == 3)
    await bobs.wait_connected()
    bobs.set_foreground(True)
    # Were bob online in between, or offline, that would come first.
    assert (await next_presence(alices)).state is ONLINE
    assert proxy.streams[2].requests[0].hello.activity == chat_pb2.ACTIVITY_BACKGROUND


async def test_device_that_begins_in_the_background_never_makes_the_user_online(people: People, pair: Pair) -> None:
    alices, bobs = await people.device(pair.alice), pair.bob.connect()
    bobs.set_foreground(False)
    alices.watch_presence([pair.bob_id])
    assert (await next_presence(alices)).state is OFFLINE
    async with bobs:
        assert (await next_presence(alices)).state is BACKGROUND
    gone = await next_presence(alices)
    assert (gone.state, gone.last_seen) == (OFFLINE, None)


async def test_device_beats_at_the_interval_of_its_state(people: People, proxy: Proxy, pair: Pair) -> None:
    proxy.rule = Beating(foreground_ms=60_000, background_ms=100)
    bobs = await people.device(pair.bob)
    [stream] = proxy.streams
    bobs.set_foreground(False)
    await eventually(lambda: len(activities(stream)) >= 4)
    assert set(activities(stream)) == {chat_pb2.ACTIVITY_BACKGROUND}
    bobs.set_foreground(True)
    await eventually(lambda: activities(stream)[-1] == chat_pb2.ACTIVITY_FOREGROUND)
    # The beats have ended: the frames of another device, sent later, are all that comes.
    count = len(activities(stream))
    proxy.rule = Beating(foreground_ms=100, background_ms=60_000)
    other = await people.device(await people.client("bob"))
    await eventually(lambda: len(activities(proxy.streams[-1])) >= 4)
    assert len(activities(stream)) == count
    assert other.connected


async def test_device_that_comes_back_after_a_long_silence_is_not_taken_for_dead(
    people: People, proxy: Proxy, pair: Pair
) -> None:
    proxy.rule = Beating(foreground_ms=100, background_ms=60_000)
    bobs, alices = await people.device(pair.bob), await people.device(pair.alice)
    bobs.set_foreground(False)
    await eventually(lambda: chat_pb2.ACTIVITY_BACKGROUND in activities(proxy.streams[0]))
    beats = len(activities(proxy.streams[0]))
    # More intervals of the foreground pass than a server may stay silent there.
    await eventually(lambda: len(activities(proxy.streams[1])) >= 8)
    assert len(activities(proxy.streams[0])) <= beats + 1
    assert bobs.silent_for_s == 0.0
    bobs.set_foreground(True)
    await eventually(lambda: len(activities(proxy.streams[0])) >= beats + 4)
    assert len(proxy.streams) == 2
    assert alices.connected


async def test_device_that_only_types_hears_that_the_server_is_there(people: People, proxy: Proxy, pair: Pair) -> None:
    proxy.rule = Beating(foreground_ms=200, background_ms=60_000)
    bobs = await people.device(pair.bob)
    typing = False

    def type_and_count() -> bool:
        nonlocal typing
        typing = not typing
        bobs.set_typing(pair.chat, typing)
        return len(activities(proxy.streams[0])) >= 6

    await eventually(type_and_count)
    assert sum(each.HasField("typing") for each in proxy.requests) > 6
    assert len(proxy.streams) == 1


async def test_presence_is_read_and_watched_without_being_online(people: People, pair: Pair) -> None:
    assert (await pair.alice.presence.get([pair.bob_id]))[pair.bob_id].state is OFFLINE
    presences = pair.alice.presence.watch([pair.bob_id])
    assert (await anext(presences)).state is OFFLINE
    bobs = await people.device(pair.bob)
    assert (await anext(presences)).state is ONLINE
    assert (await pair.alice.presence.get([pair.bob_id]))[pair.bob_id].state is ONLINE
    assert (await pair.bob.presence.get([pair.alice_id]))[pair.alice_id].state is OFFLINE
    bobs.set_foreground(False)
    away = await anext(presences)
    assert (away.user_id, away.state) == (pair.bob_id, BACKGROUND)
    await presences.aclose()


async def test_newer_watch_of_a_device_ends_the_older_one(pair: Pair) -> None:
    # A replica of the service knows the watches that it serves itself, so that some more may have to come.
    first = pair.alice.presence.watch([pair.bob_id])
    await anext(first)
    ended = asyncio.ensure_future(anext(first))
    later: list[AsyncGenerator[UserPresence, None]] = []
    while not ended.done() and len(later) < 10:
        later.append(pair.alice.presence.watch([pair.bob_id]))
        await anext(later[-1])
        await asyncio.wait([ended], timeout=1.0)
    with pytest.raises(Superseded):
        await ended
    for each in later:
        await each.aclose()


async def test_visibility_is_set_by_parts_and_takes_effect(people: People, pair: Pair) -> None:
    assert await pair.bob.presence.get_visibility() == Visibility(Audience.ACQUAINTED, Audience.ACQUAINTED)
    carol = await people.client("carol")
    await people.device(pair.bob)
    presences = carol.presence.watch([pair.bob_id])
    assert (await anext(presences)).state is OFFLINE, "she has nothing to do with him"
    shown = await pair.bob.presence.set_visibility(online=Audience.EVERYONE)
    assert shown == Visibility(Audience.EVERYONE, Audience.ACQUAINTED)
    assert (await anext(presences)).state is ONLINE
    await pair.bob.presence.set_visibility(online=Audience.NOBODY, last_seen=Audience.NOBODY)
    hidden = await anext(presences)
    assert (hidden.state, hidden.last_seen) == (OFFLINE, None)
    assert await pair.bob.presence.get_visibility() == Visibility(Audience.NOBODY, Audience.NOBODY)
    await presences.aclose()
